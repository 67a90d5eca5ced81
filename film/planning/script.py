"""The scenes that the user wrote: their prompts, lengths, seeds and seams as they stand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from film.errors import InputError
from film.models import ModelSpec
from film.timeline import frame_count, share_frames, whole_runs
from film.types import FilmRequest, Scene

DEFAULT_SCENE_SECONDS = Fraction(4)
"""Length of a scene if neither it nor its film has one, in seconds."""


def plan_by_script(request: FilmRequest, spec: ModelSpec) -> tuple[Scene, ...]:
    """The scenes of `request.scenes`.

    Raises `InputError` if the scenes' lengths contradict the film's by a frame or more, or if a
    scene is too short for a frame.
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
    own = [scene.seconds for scene in request.scenes if scene.seconds is not None]
    others = len(request.scenes) - len(own)
    if request.seconds is None:
        runs = [frame_count(seconds, request.fps) for seconds in own]
        shares = [frame_count(DEFAULT_SCENE_SECONDS, request.fps)] * others
    else:
        total = frame_count(request.seconds, request.fps)
        runs = _filling(request, own, range(total - others + 1) if others else [total])
        shares = share_frames(total - sum(runs), others) if others else []
    given, shared = iter(runs), iter(shares)
    return [next(shared if scene.seconds is None else given) for scene in request.scenes]


def _filling(request: FilmRequest, own: list[Fraction], sums: Sequence[int]) -> list[int]:
    """Frames of scenes that last `own` seconds each and must have one of `sums` together."""
    # Each scene by itself if that fits: then no scene depends on the length of another.
    alone = [frame_count(seconds, request.fps) for seconds in own]
    if sum(alone) in sums:
        return alone
    exact = [seconds * request.fps for seconds in own]
    least = math.floor(sum(exact, Fraction(0)))
    runs = whole_runs(exact, [total for total in sums if least <= total])
    if runs is None:
        raise _contradiction(request)
    if 0 in runs:
        raise _no_frame(request, own[runs.index(0)])
    return runs


def _contradiction(request: FilmRequest) -> InputError:
    assert request.seconds is not None
    filled = sum((scene.seconds or Fraction(0) for scene in request.scenes), Fraction(0))
    return InputError(
        f"The scenes of {request.title!r} fill {float(filled):.9g} s, which does not fit its "
        f"{float(request.seconds):.9g} s; change one of them, or leave out the film's seconds."
    )


def _no_frame(request: FilmRequest, seconds: Fraction) -> InputError:
    return InputError(
        f"A scene of {request.title!r} is {float(seconds):.4g} s long, too short for a frame at "
        f"{request.fps} frames a second; let it be at least {1 / request.fps} s."
    )
