"""Measures seams: the change from one segment to the next, compared with what is usual beside it.

What is usual is measured where a segment is encoded (`EndMeter`), and kept with it. In the film
only the two frames of each seam are decoded (`measure_seams`).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from film.errors import MediaError
from film.types import SeamReport, SegmentEnd
from media.decode import opened, rgb_within

AROUND = 3
"""Frames at each end of a segment that are looked at."""
WIDEST = 640
"""Pixels; wider pictures are averaged down to it, which a seam survives."""
STILL = 0.25
"""Levels of 255: steps below that are as good as none."""
MOST_THREADS = 8

Picture = NDArray[np.float32]
_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # BT.709


@dataclass(frozen=True)
class Continuation:
    """A place at which one segment continues another."""

    frame: int
    """The first one after it."""
    before: SegmentEnd
    """The end of the segment before it."""
    after: SegmentEnd
    """The start of the segment after it."""


class EndMeter:
    """Sees every frame of a segment once, and measures its two ends."""

    def __init__(self) -> None:
        self._first: list[Any] = []
        self._last: deque[Any] = deque(maxlen=AROUND + 1)

    def see(self, frame: Any) -> None:
        """A PyAV frame; to be called for all of them in order."""
        if len(self._first) < AROUND:
            self._first.append(frame)
        self._last.append(frame)

    def ends(self) -> tuple[SegmentEnd, SegmentEnd]:
        """The start and the end; to be called after the last frame."""
        end = [_picture(frame) for frame in self._last]
        into_last = [(_step(*pair), _shift(*pair)) for pair in pairwise(end[-2:])]
        step, shift = into_last[0] if into_last else (0.0, 0.0)
        usual = _measured(end[:-1] or end, end[-AROUND:])
        start = _measured([_picture(frame) for frame in self._first])
        return start, usual.replace(last_step=step, last_colour_shift=shift)


def measure_seams(
    film: Path, seams: Sequence[Continuation], fps: Fraction
) -> tuple[SeamReport, ...]:
    """The reports of the seams of a finished film of the rate `fps`, in their order.

    Decodes only the two frames of each seam (of segments of earlier versions, which have no
    keyframe at their end, up to 48 more). Raises `MediaError` if they cannot be decoded.
    """
    threads = min(MOST_THREADS, os.cpu_count() or 1, max(1, len(seams)))
    share = -(-len(seams) // threads)
    parts = [seams[at : at + share] for at in range(0, len(seams), share or 1)]
    with ThreadPoolExecutor(threads) as pool:
        reports = pool.map(lambda part: _reports(film, part, fps), parts)
        return tuple(chain.from_iterable(reports))


def _reports(film: Path, seams: Sequence[Continuation], fps: Fraction) -> list[SeamReport]:
    with opened(film, threads="NONE") as container:
        return [_report(seam, *_over(container, seam.frame, fps, film)) for seam in seams]


def _over(container: Any, number: int, fps: Fraction, film: Path) -> tuple[Picture, Picture]:
    """The last picture before a seam and the first one after it, whose number is `number`."""
    stream = container.streams.video[0]
    before, after = (round(n / fps / stream.time_base) for n in (number - 1, number))
    container.seek(before, stream=stream)
    frames: dict[int, Any] = {}
    for packet in container.demux(stream):
        frames |= {frame.pts: frame for frame in packet.decode()}
        # A segment begins with the frame that is shown first: none before it comes later.
        if packet.pts is None or packet.pts == after:
            break
    frames |= {frame.pts: frame for frame in stream.codec_context.decode(None)}
    found = [frames.get(pts) for pts in (before, after)]
    if any(frame is None or frame.is_corrupt for frame in found):
        raise MediaError(f"{film} cannot be decoded at frame {number}.")
    return _picture(found[0]), _picture(found[1])


def _measured(pictures: Sequence[Picture], sharp: Sequence[Picture] = ()) -> SegmentEnd:
    """The steps between `pictures`, and the sharpness of `sharp` (else of the same)."""
    steps = list(pairwise(pictures))
    return SegmentEnd(
        steps=tuple(_step(*pair) for pair in steps),
        colour_shifts=tuple(_shift(*pair) for pair in steps),
        sharpness=float(np.mean([_sharpness(picture) for picture in sharp or pictures])),
    )


def _report(seam: Continuation, before: Picture, after: Picture) -> SeamReport:
    steps = (*seam.before.steps, *seam.after.steps)
    step = max(seam.before.last_step, _step(before, after))
    shift = max(seam.before.last_colour_shift, _shift(before, after))
    usual_shift = _mean((*seam.before.colour_shifts, *seam.after.colour_shifts))
    sharp = seam.before.sharpness, seam.after.sharpness
    return SeamReport(
        frame=seam.frame,
        colour_shift=round(max(0.0, shift - usual_shift), 2),
        sharpness_change=round(sharp[1] / sharp[0], 3) if sharp[0] > STILL else 1.0,
        motion_jump=round(step / max(_mean(steps), STILL), 2) if steps else 1.0,
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def _picture(frame: Any) -> Picture:
    return rgb_within(frame, WIDEST).astype(np.float32)


def _step(a: Picture, b: Picture) -> float:
    return float(np.abs(b - a).mean())


def _shift(a: Picture, b: Picture) -> float:
    return float(np.abs(b.mean(axis=(0, 1)) - a.mean(axis=(0, 1))).max())


def _sharpness(picture: Picture) -> float:
    """Mean size of the Laplacian of the luma, in levels."""
    luma = picture @ _LUMA
    middle = luma[1:-1, 1:-1]
    around = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    return float(np.abs(around - 4 * middle).mean())
