"""Frames on their way into ffmpeg's standard input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from film.errors import MediaError

Frame = NDArray[np.uint8]
"""One picture: `(height, width, 3) uint8`, RGB."""


class FrameFeed:
    """Checks frames one by one and gives their bytes without copying; counts them."""

    def __init__(self, frames: Iterable[Frame]) -> None:
        """Takes the first frame, for its size. Raises `MediaError` if there is none."""
        rest = iter(frames)
        first = next(rest, None)
        if first is None:
            raise MediaError("There are no frames to write: at least one is needed.")
        self.height, self.width = _size(first)
        self.count = 0
        self._frames = chain((first,), rest)

    def input(self, rate: str) -> Any:
        """The ffmpeg input node that reads `chunks()` at `rate` frames per second."""
        return ffmpeg.input(
            "pipe:0",
            format="rawvideo",
            pix_fmt="rgb24",
            video_size=(self.width, self.height),
            framerate=rate,
        )

    def chunks(self) -> Iterator[memoryview]:
        """The bytes of each frame. Raises `MediaError` at a frame of another size or type."""
        for frame in self._frames:
            if _size(frame) != (self.height, self.width):
                raise MediaError(
                    f"Frame {self.count} has the shape {frame.shape}, "
                    f"the first had {(self.height, self.width, 3)}."
                )
            self.count += 1
            yield np.ascontiguousarray(frame).data.cast("B")


def _size(frame: Frame) -> tuple[int, int]:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
        raise MediaError(
            f"A frame must be (height, width, 3) uint8, not {tuple(frame.shape)} {frame.dtype}."
        )
    return frame.shape[0], frame.shape[1]
