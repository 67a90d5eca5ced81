"""Every frame of a video, for benchmarks and tests that look at pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from film.errors import MediaError
from media.decode import decoded, opened, rgb


def read_frames(path: Path) -> NDArray[np.uint8]:
    """Every frame of the video `path`: `(frames, height, width, 3) uint8` RGB, in memory.

    Raises `MediaError` if it is not a whole video.
    """
    with opened(path) as container:
        frames = [rgb(frame) for frame in decoded(container, path)]
    if not frames:
        raise MediaError(f"{path} holds no frames.")
    return np.stack(frames)
