"""From a film as asked for to a film as it will be rendered: scenes, segments, addresses."""

from __future__ import annotations

from fractions import Fraction

from film.demo_world import read_prompt
from film.errors import InputError
from film.families.lookup import find_model
from film.flags import bucketed, require_flags
from film.identity import address, called, identity
from film.keyframes import ending_exactly, frames_behind, keyframe_spans
from film.loras import lora_notices, settled
from film.models import ModelSpec
from film.planning import draft_scenes
from film.sizes import rendered_size, require_size, size_notice
from film.timeline import Span, following, split_scene
from film.types import Continuity, FilmRequest, Plan, Scene, Seam, Segment, counted


def plan_film(request: FilmRequest, revision: str, max_seconds: float) -> Plan:
    """The plan of `request` with weights of `revision`; pure, and the same every time.

    Raises `InputError` if the model cannot render the request, or if the film is longer than
    `max_seconds`.
    """
    spec = find_model(request.settings.model)
    asked_loras = request.settings.loras
    loras = settled(spec, asked_loras)
    settings = request.settings.replace(loras=loras)
    request = request.replace(settings=settings)
    require_size(request.width, request.height)
    spec = bucketed(spec, request.settings.flags)
    asked = request.width, request.height
    size = rendered_size(spec, *asked)
    require_flags(spec, request.settings, size)
    scenes = draft_scenes(request, spec)
    num_frames = sum(scene.num_frames for scene in scenes)
    # Half a frame is rounding: an hour at 24000/1001 is a whole number of frames, just over it.
    if (num_frames - Fraction(1, 2)) / request.fps > max_seconds:
        seconds = float(num_frames / request.fps)
        raise InputError(
            f"{request.title!r} is {seconds:g} s long, and films of up to {max_seconds:g} s are "
            f"accepted; shorten it, or raise LONGREEL_MAX_FILM_SECONDS."
        )
    prompts, world_notices = _prompts(spec, scenes)
    size_notices = [notice] if (notice := size_notice(spec, size, asked)) else []
    segments: list[Segment] = []
    chain = 0  # frames rendered since the last cut
    for scene, prompt in zip(scenes, prompts, strict=True):
        if scene.seam is Seam.CUT:
            chain = 0
        made = _segments(request, spec, revision, size, scene, prompt, segments, chain)
        for segment in made:
            chain = _chain(segment, chain)
        segments += made
    return Plan(
        model=spec.name,
        revision=revision,
        width=request.width,
        height=request.height,
        fps=request.fps,
        scenes=scenes,
        segments=tuple(segments),
        model_size=None if size == asked else size,
        loras=loras,
        notices=(
            *request.notices,
            *size_notices,
            *_rate_notices(request, spec),
            *_cut_notices(spec, segments),
            *lora_notices(spec, asked_loras),
            *_end_notices(spec, segments, scenes),
            *world_notices,
        ),
        sound=spec.sound and request.sound,
    )


def _chain(segment: Segment, before: int) -> int:
    """Number of frames that a segment after this one could continue, given the number `before`
    it."""
    if segment.keyframe is not None:  # its tail reaches back to the keyframe and no further
        return segment.overlap_frames + segment.keep_frames
    return segment.keep_frames + (before if segment.overlap_frames else 0)


def _segments(
    request: FilmRequest,
    spec: ModelSpec,
    revision: str,
    size: tuple[int, int],
    scene: Scene,
    prompt: str,
    before: list[Segment],
    chain: int,
) -> list[Segment]:
    """The segments of `scene`, rendered from `prompt`, `chain` frames after the last cut."""
    made: list[Segment] = []
    if scene.seam is Seam.CONTINUE and scene.continuity is Continuity.CUT:
        raise InputError(
            f"Scene {scene.index + 1} of {request.title!r} is to continue the one before it, but "
            f"its continuity is cut: choose another continuity, or the seam cut."
        )
    if scene.seam is Seam.CONTINUE and scene.image:
        raise InputError(
            f"Scene {scene.index + 1} of {request.title!r} is to continue the one before it and "
            f"begin with a picture: leave out the image, or choose the seam cut."
        )
    spans = _spans(request, spec, scene, chain)
    for step, span in enumerate(spans):
        previous = (before + made)[-1] if span.overlap_frames else None
        image = scene.image if step == 0 and span.keyframe is None else ""
        last_image = ""
        given = span.overlap_frames or bool(image)
        if span.keyframe is None:
            last_image = scene.last_image if span.keyframes or step == len(spans) - 1 else ""
            _require_mode(request, spec, scene, given, image, last_image)
        else:  # the scene's pictures are keyframes, which are in the anchor's tail
            previous = made[0]
        # The first segment takes the scene's seed as it is, as a plain pipeline call would.
        seed = (scene.seed + step) % 2**32
        mode = spec.mode(given, last=bool(last_image) or span.keyframe is not None)
        parts = identity(
            request.settings,
            revision=revision,
            calling=called(spec, mode),
            prompt=prompt,
            seed=seed,
            rendered_size=size,
            film_size=(request.width, request.height),
            fps=request.fps,
            num_frames=span.num_frames,
            overlap_frames=span.overlap_frames,
            keep_frames=span.keep_frames,
            tail_frames=spec.overlap_frames,
            continues=previous.address if previous else None,
            image=image,
            last_image=last_image,
            keyframes=span.keyframes,
            keyframe=span.keyframe,
        )
        made.append(
            Segment(
                index=len(before) + len(made),
                scene=scene.index,
                prompt=prompt,
                seed=seed,
                num_frames=span.num_frames,
                overlap_frames=span.overlap_frames,
                keep_frames=span.keep_frames,
                continues=previous.index if previous else None,
                address=address(parts),
                image=image,
                last_image=last_image,
                keyframes=span.keyframes,
                keyframe=span.keyframe,
            )
        )
    return made


def _spans(request: FilmRequest, spec: ModelSpec, scene: Scene, chain: int) -> list[Span]:
    """The segments that fill `scene`. Raises `InputError` if none can."""
    seen = following(spec, scene.continuity)
    if scene.continuity is not Continuity.KEYFRAMES:
        spans = split_scene(scene.num_frames, seen, chain)
        return ending_exactly(spans, seen) if scene.last_image else spans
    spans = keyframe_spans(scene.num_frames, seen, continued=scene.seam is Seam.CONTINUE)
    if len(spans) > spec.max_frames:
        longest = (spec.max_frames - 1) ** 2 / request.fps
        raise InputError(
            f"Scene {scene.index + 1} of {request.title!r} is too long for the continuity "
            f"keyframes, which {spec.name!r} takes from one rendering of {spec.max_frames} frames: "
            f"let it be at most {float(longest):.4g} s, or choose another continuity."
        )
    return spans


def _require_mode(
    request: FilmRequest, spec: ModelSpec, scene: Scene, given: int, image: str, last_image: str
) -> None:
    """Raises `InputError` if the model cannot render from the inputs of a segment: `given` frames
    at the beginning, of which one may be `image`."""
    if spec.takes(given, last=bool(last_image)):
        return
    where = f"scene {scene.index + 1} of {request.title!r}"
    if last_image and (given or not spec.needs_image):
        why = "takes no last picture" if spec.takes(given, last=False) else "takes none such"
        raise InputError(f"The model {spec.name!r} {why}: leave out the last_image of {where}.")
    if image and not spec.needs_image:
        raise InputError(f"The model {spec.name!r} takes no picture: leave out {where}'s image.")
    both = "image" not in spec.calling.pipelines
    needs, give = "a picture", "an image"
    if both:
        needs = "a first and a last picture"
        give = "a last_image" if given else "image and last_image"
    do = f"give it {give}"
    if scene.image and not image:  # a later segment, to which nothing can be given
        do = "let it have a continuity other than cut, or be shorter"
    raise InputError(
        f"The model {spec.name!r} renders from {needs}, and a segment of {where} has none: {do}."
    )


def _rate_notices(request: FilmRequest, spec: ModelSpec) -> tuple[str, ...]:
    if request.fps == spec.native_fps:
        return ()
    speed = Fraction(request.fps / spec.native_fps)
    return (
        f"The model {spec.name!r} was trained at {spec.native_fps} frames a second; at "
        f"{request.fps} its motion plays {float(speed):.3g} times as fast.",
    )


def _cut_notices(spec: ModelSpec, segments: list[Segment]) -> tuple[str, ...]:
    """The place in a scene at which a model that cannot continue a picture must start again."""
    if spec.continuity[0] is not Continuity.CUT:
        return ()
    shown = [segment for segment in segments if not segment.is_anchor]
    cuts = [segment for segment in shown if segment.keyframe is None]
    number = len(cuts) - len({segment.scene for segment in cuts})
    if not number:
        return ()
    return (
        f"The model {spec.name!r} cannot continue a picture: within scenes the picture changes "
        f"{counted(number, 'time')}, because it renders at most "
        f"{float(spec.max_frames / spec.native_fps):.3g} s at once.",
    )


def _end_notices(
    spec: ModelSpec, segments: list[Segment], scenes: tuple[Scene, ...]
) -> tuple[str, ...]:
    """The notice that a scene ends before the picture that it is to end with."""
    last_of = {segment.scene: segment for segment in segments}
    behind = {
        scene.index: frames_behind(last_of[scene.index], spec)
        for scene in scenes
        if scene.last_image
    }
    return tuple(
        f"Scene {index + 1} ends {counted(number, 'frame')} before its last picture, because the "
        f"model {spec.name!r} renders lengths of {spec.frame_step}k+{spec.frame_offset} frames: "
        f"with {scenes[index].num_frames + number} frames it would end with it."
        for index, number in behind.items()
        if number
    )


def _prompts(spec: ModelSpec, scenes: tuple[Scene, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The prompt that the model receives for each scene, and notices of how it differs from the
    request."""
    if not spec.closed_world:
        return tuple(scene.prompt for scene in scenes), ()
    read = [read_prompt(scene.prompt) for scene in scenes]
    lost = [number for number, r in enumerate(read, 1) if not r.understood]
    changed = [
        f"Scene {number} is {r.notice}."
        for number, r in enumerate(read, 1)
        if r.notice and r.understood
    ]
    notices = []
    if lost:
        notices.append(
            f"The model {spec.name!r} understood no word of {_scenes(lost)}, and shows its default "
            f"picture; docs/demo-model.md has its words."
        )
    if changed:
        notices.append(
            f"The model {spec.name!r} knows only the words of docs/demo-model.md; the nearest are "
            f"used."
        )
    return tuple(r.prompt for r in read), (*notices, *changed)


def _scenes(numbers: list[int]) -> str:
    """Scenes by their numbers, in words."""
    first, last = numbers[0], numbers[-1]
    if first == last:
        return f"scene {first}"
    if numbers == list(range(first, last + 1)):
        return f"scenes {first} to {last}"
    return f"scenes {', '.join(map(str, numbers[:-1]))} and {last}"
