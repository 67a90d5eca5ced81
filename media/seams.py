"""Measures seams: the change from one segment to the next, compared with ordinary steps."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from film.types import SeamReport
from media.decode import rgb

AROUND = 3
"""Frames on each side that are looked at; the steps between them are the ordinary ones."""
WIDEST = 640
"""Pixels; wider pictures are averaged down to it, which a seam survives."""
STILL = 0.25
"""Levels of 255: steps below that are as good as none."""

Picture = NDArray[np.float32]
_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # BT.709


class SeamMeter:
    """Sees every frame of a film once, and keeps those around its seams."""

    def __init__(self, seams: Sequence[int]) -> None:
        """`seams`: number of the first frame after each, in order."""
        self._seams = tuple(seams)
        self._wanted = {n for seam in seams for n in range(seam - AROUND, seam + AROUND)}
        self._pictures: dict[int, Picture] = {}
        self._measured: list[SeamReport] = []

    def see(self, number: int, frame: Any) -> None:
        """The PyAV frame `number` of the film; to be called for all of them in order."""
        if number in self._wanted:
            height = max(1, round(frame.height * WIDEST / frame.width))
            smaller = (WIDEST, height) if frame.width > WIDEST else ()
            self._pictures[number] = rgb(frame, *smaller).astype(np.float32)
        done = len(self._measured)
        if done < len(self._seams) and number == self._seams[done] + AROUND - 1:
            self._measure(self._seams[done])

    def reports(self) -> tuple[SeamReport, ...]:
        """The reports of all seams; to be called after the last frame."""
        for seam in self._seams[len(self._measured) :]:
            self._measure(seam)  # nearer to the last frame than the frames that are examined
        return tuple(self._measured)

    def _measure(self, seam: int) -> None:
        before = [self._pictures[n] for n in range(seam - AROUND, seam) if n in self._pictures]
        after = [self._pictures[n] for n in range(seam, seam + AROUND) if n in self._pictures]
        self._measured.append(_report(seam, before, after))
        still_wanted = seam - AROUND  # the next seam may share some
        self._pictures = {n: p for n, p in self._pictures.items() if n >= still_wanted}


def _report(seam: int, before: list[Picture], after: list[Picture]) -> SeamReport:
    ordinary = [(a, b) for side in (before, after) for a, b in itertools.pairwise(side)]
    over = before[-1], after[0]
    usual_step = float(np.mean([_step(*pair) for pair in ordinary])) if ordinary else 0.0
    usual_shift = float(np.mean([_shift(*pair) for pair in ordinary])) if ordinary else 0.0
    sharp = [float(np.mean([_sharpness(picture) for picture in side])) for side in (before, after)]
    return SeamReport(
        frame=seam,
        colour_shift=round(max(0.0, _shift(*over) - usual_shift), 2),
        sharpness_change=round(sharp[1] / sharp[0], 3) if sharp[0] > STILL else 1.0,
        motion_jump=round(_step(*over) / max(usual_step, STILL), 2),
    )


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
