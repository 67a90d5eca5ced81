"""Pictures whose frames can be distinguished after lossy encoding, for the tests of `media`."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

STEP = 18
BASE = 20
DIGITS = 12


def numbered(
    numbers: Iterable[int], *, width: int = 32, height: int = 32, detail: int = 0
) -> NDArray[np.uint8]:
    """One frame for each number below 144: its digits to base 12 are the greys of two halves.

    `detail` is the amount of noise in the upper half, so that segments differ in content.
    """
    noise = np.random.default_rng(detail)
    frames = []
    for number in numbers:
        frame = np.empty((height, width, 3), np.uint8)
        frame[:, : width // 2] = BASE + STEP * (number % DIGITS)
        frame[:, width // 2 :] = BASE + STEP * (number // DIGITS)
        if detail:
            frame[: height // 2] += noise.integers(0, 8, (height // 2, width, 3), dtype=np.uint8)
        frames.append(frame)
    return np.stack(frames)


def numbers(frames: NDArray[np.uint8]) -> list[int]:
    """The numbers in decoded frames, read in the lower half."""
    lower = frames[:, -max(1, frames.shape[1] // 3) :]
    half = frames.shape[2] // 2
    low = np.rint((lower[:, :, :half].mean(axis=(1, 2, 3)) - BASE) / STEP).astype(int)
    high = np.rint((lower[:, :, half:].mean(axis=(1, 2, 3)) - BASE) / STEP).astype(int)
    return [int(number) for number in high * DIGITS + low]
