"""Exact frame arithmetic: seconds to frames, frames to scenes, scenes to segments."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction

from film.errors import InputError
from film.models import ModelSpec
from film.types import Continuity, Struct


class Span(Struct, frozen=True, kw_only=True):
    """How one segment fills its part of a scene; see `Segment` for the fields."""

    num_frames: int
    overlap_frames: int
    keep_frames: int
    keyframes: tuple[int, ...] = ()
    keyframe: int | None = None


def frame_count(seconds: Fraction, fps: Fraction) -> int:
    """Frames in `seconds`, to the nearest frame (halves up), at least 1."""
    return max(1, _nearest(seconds * fps))


def _nearest(frames: Fraction) -> int:
    """The nearest whole number to `frames`, which is not negative (halves up)."""
    return math.floor(frames + Fraction(1, 2))


def whole_runs(lengths: Sequence[Fraction], allowed: Sequence[int]) -> list[int] | None:
    """Whole frames for runs of exact `lengths` in frames that follow one another.

    The positions at which runs meet are rounded, not the lengths: each run is within a frame of its
    length, and so are all of them together. Positions go to the nearest frame, or all of them down
    or all up, if only then the sum is in `allowed` and no run is empty. Runs shorter than a frame
    may still be empty. None if no sum is in `allowed`.
    """
    ways: tuple[Callable[[Fraction], int], ...] = (_nearest, math.floor, math.ceil)
    fitting = [runs for runs in (_rounded(lengths, way) for way in ways) if sum(runs) in allowed]
    return next((runs for runs in fitting if all(runs)), fitting[0] if fitting else None)


def _rounded(lengths: Sequence[Fraction], way: Callable[[Fraction], int]) -> list[int]:
    marks = [way(mark) for mark in itertools.accumulate(lengths, initial=Fraction(0))]
    return [end - start for start, end in itertools.pairwise(marks)]


def sample_at(frame: int, fps: Fraction, rate: int) -> int:
    """The sample of sound, of `rate` a second, with which `frame` begins: the nearest (halves up).

    Lengths of sound are differences of such places, never rounded themselves, so that runs of
    frames that follow one another have sound that adds up to that of all of them.
    """
    return int(frame * rate / fps + Fraction(1, 2))


def sample_runs(frames_each: Sequence[int], fps: Fraction, rate: int) -> list[int]:
    """Samples of each run of frames, for runs that follow one another from frame 0 on."""
    marks = [sample_at(n, fps, rate) for n in itertools.accumulate(frames_each, initial=0)]
    return [end - start for start, end in itertools.pairwise(marks)]


def share_frames(total: int, parts: int) -> list[int]:
    """`total` frames in `parts` runs whose lengths differ by at most one, longer ones first.

    Equal shares, whatever the prompts are: a changed sentence then changes its own scene only.
    """
    base, longer = divmod(total, parts)
    return [base + (index < longer) for index in range(parts)]


def group_evenly(items: Sequence[str], groups: int) -> list[list[str]]:
    """`items` in order, in `groups` runs of nearly equal count."""
    bounds = [0]
    for size in share_frames(len(items), groups):
        bounds.append(bounds[-1] + size)
    return [list(items[a:b]) for a, b in itertools.pairwise(bounds)]


def split_scene(num_frames: int, spec: ModelSpec, tail_before: int = 0) -> list[Span]:
    """The segments that fill `num_frames` of a scene: as few as the model's length allows.

    `tail_before` is the number of frames of the scene before that it continues from (0 for a cut).
    The segments have nearly equal lengths, rather than full ones and a short rest, because a short
    one has too few frames of its own to condition the next.
    """
    # The true count, or just below it if early overlaps are shorter than usual.
    echo = spec.overlap_frames if spec.echoes else 0
    new_frames = spec.max_frames - echo
    count = max(1, -(-(num_frames - echo) // new_frames) - 1)
    while True:
        spans = _fill(num_frames, count, spec, tail_before)
        if spans is not None:
            return spans
        count += 1


def _fill(num_frames: int, count: int, spec: ModelSpec, tail: int) -> list[Span] | None:
    """`num_frames` in `count` segments, or None if they do not fit."""
    echo = spec.overlap_frames if spec.echoes else 0
    repeated = (count - 1 if tail == 0 else count) * echo
    length = min(spec.max_frames, -(-(num_frames + repeated) // count))
    spans: list[Span] = []
    left = num_frames
    while left and len(spans) < count:
        overlap = conditioning_frames(tail, spec)
        echo = overlap if spec.echoes else 0
        keep = min(left, max(1, length - echo))
        spans.append(
            Span(num_frames=spec.snap_up(echo + keep), overlap_frames=overlap, keep_frames=keep)
        )
        left -= keep
        tail += keep
    return spans if left == 0 else None


def conditioning_frames(available: int, spec: ModelSpec) -> int:
    """How many of `available` frames before a seam condition the segment after it."""
    possible = min(available, spec.overlap_frames)
    return spec.snap_down(possible) if possible else 0


def following(spec: ModelSpec, continuity: Continuity) -> ModelSpec:
    """`spec` as segments see it that follow one another by `continuity`.

    Raises `InputError` if the model cannot do that.
    """
    if continuity not in spec.continuity:
        can = ", ".join(spec.continuity)
        raise InputError(
            f"The model {spec.name!r} cannot follow on by {continuity}; it can by: {can}."
        )
    if continuity is Continuity.CUT:
        return spec.replace(overlap_frames=0)
    if continuity in (Continuity.LAST_FRAME, Continuity.KEYFRAMES):
        return spec.replace(overlap_frames=1)
    if continuity is Continuity.NATIVE_LONG:
        return spec.replace(max_frames=spec.long_frames)
    return spec
