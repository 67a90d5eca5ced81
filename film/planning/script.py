"""The scenes that the user wrote: their prompts, lengths, seeds and seams as they stand."""

from __future__ import annotations

from fractions import Fraction

from film.errors import InputError
from film.models import ModelSpec
from film.timeline import frame_count, share_frames
from film.types import FilmRequest, Scene, SceneRequest

DEFAULT_SCENE_SECONDS = Fraction(4)
"""Length of a scene where neither it nor its film has one."""


def plan_by_script(request: FilmRequest, spec: ModelSpec) -> tuple[Scene, ...]:
    """The scenes of `request.scenes`.

    Raises `InputError` where the scenes' lengths contradict the film's.
    """
    return tuple(
        Scene(
            index=index,
            prompt=scene.prompt,
            num_frames=num_frames,
            seed=request.settings.seed if scene.seed is None else scene.seed,
            seam=scene.seam,
            continuity=scene.continuity or request.settings.continuity or spec.continuity[0],
            image=scene.image or (request.image if index == 0 else ""),
            last_image=scene.last_image
            or (request.last_image if index == len(request.scenes) - 1 else ""),
        )
        for index, (scene, num_frames) in enumerate(
            zip(request.scenes, _lengths(request), strict=True)
        )
    )


def _lengths(request: FilmRequest) -> list[int]:
    """Frames of each scene. Scenes without seconds share what is left of the film's equally."""
    own = [_own_frames(scene, request.fps) for scene in request.scenes]
    fixed = sum(frames for frames in own if frames is not None)
    open_scenes = own.count(None)
    if request.seconds is None:
        default = frame_count(DEFAULT_SCENE_SECONDS, request.fps)
        return [default if frames is None else frames for frames in own]
    total = frame_count(request.seconds, request.fps)
    left = total - fixed
    if (open_scenes == 0 and left != 0) or left < open_scenes:
        raise InputError(
            f"The scenes of {request.title!r} fill {float(fixed / request.fps):g} s, which does "
            f"not fit its {float(request.seconds):g} s; change one of them, or leave out "
            f"the film's seconds."
        )
    shares = iter(share_frames(left, open_scenes)) if open_scenes else iter(())
    return [next(shares) if frames is None else frames for frames in own]


def _own_frames(scene: SceneRequest, fps: Fraction) -> int | None:
    return None if scene.seconds is None else frame_count(scene.seconds, fps)
