"""Frame arithmetic of scenes that end with a picture, and of those rendered between keyframes.

Most models put a last picture at the last frame that they render, and render certain lengths only.
So lengths are chosen that end exactly there, as far as the length of the scene lets them.
"""

from __future__ import annotations

import itertools

from film.models import ModelSpec
from film.timeline import Span, split_scene
from film.types import Segment


def keyframe_spans(num_frames: int, spec: ModelSpec, *, continued: bool) -> list[Span]:
    """The segments that fill `num_frames` of a scene between keyframes, after the scene's anchor.

    If one segment is enough, it is alone. `continued`: the first keyframe is the last frame of the
    scene before, and is not shown again. Neighbours share a keyframe, which the film shows once:
    all segments but the first drop their first frame. Each renders as many frames as it is long, so
    that its end is the next keyframe; only the last one may have to end after the scene. `spec` is
    as its segments see it (`following`).
    """
    first = 1 if continued else 0
    steps = num_frames - 1 + first
    """From the first keyframe to the last frame of the scene."""
    longest = spec.max_frames - 1
    if steps <= longest:
        return split_scene(num_frames, spec, first)
    count = -(-steps // longest)
    marks = _marks(steps, count, spec)
    spans = [
        Span(
            num_frames=spec.snap_up(min(end, steps) - begin + 1),
            overlap_frames=1 if number or continued else 0,
            keep_frames=min(end, steps) - begin + (0 if number or continued else 1),
            keyframe=number,
        )
        for number, (begin, end) in enumerate(itertools.pairwise(marks))
    ]
    anchor = Span(
        num_frames=spec.max_frames,
        overlap_frames=first,
        keep_frames=0,
        keyframes=tuple(_scaled(mark, marks[-1], longest) for mark in marks),
    )
    return [anchor, *spans]


def _marks(steps: int, count: int, spec: ModelSpec) -> list[int]:
    """Positions of the keyframes, in frames after the first one: as even as the lengths allow."""
    marks = [0]
    for parts in range(count, 0, -1):
        share = -(-(steps - marks[-1]) // parts)
        marks.append(marks[-1] + spec.snap_up(share + 1) - 1)
    if spec.calling.ends_anywhere:
        marks[-1] = steps
    return marks


def _scaled(mark: int, of: int, to: int) -> int:
    """`mark` of `of` steps as a number of `to` steps, to the nearest (halves up)."""
    return (2 * mark * to + of) // (2 * of)


def ending_exactly(spans: list[Span], spec: ModelSpec) -> list[Span]:
    """`spans`, changed so that the film ends with the last picture of the last span, if possible.

    The frames that the last span renders beyond its end go to the film, and the span before it
    gives fewer. Nothing changes if the last span is alone or would have too few frames to continue
    from; `frames_behind` then returns by how much its picture is missed.
    """
    if len(spans) == 1:
        return spans
    *others, before, last = spans
    behind = frames_behind(last, spec)
    kept = before.keep_frames - behind
    if kept < max(1, last.overlap_frames):
        return spans
    shorter = before.replace(keep_frames=kept, num_frames=spec.snap_up(_echo(before, spec) + kept))
    longer = last.replace(keep_frames=last.keep_frames + behind)
    return [*others, shorter, longer]


def frames_behind(span: Span | Segment, spec: ModelSpec) -> int:
    """Frames from the end of a segment in the film to the last picture that it is given."""
    if spec.calling.ends_anywhere:
        return 0
    return span.num_frames - _echo(span, spec) - span.keep_frames


def _echo(span: Span | Segment, spec: ModelSpec) -> int:
    return span.overlap_frames if spec.echoes else 0
