"""The tail of a segment: its last frames, lossless, for the segment that continues it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from film.errors import MediaError
from media.atomic_files import ffmpeg_name, replacing
from media.decode import decoded, opened, rgb
from media.encode import STALL_SECONDS
from media.ffmpeg.frame_pipe import Frame, FrameFeed
from media.ffmpeg.run import BITEXACT, run
from media.timescale import rate_text

_DIGEST_TAG = "LONGREEL_SHA256"
"""In the file's header: digest of all its pixels. FFV1's own checksums do not help here, as
ffmpeg's decoder conceals a damaged frame with the one before and reports no error."""


def write_tail(
    frames: NDArray[np.uint8] | Iterable[Frame],
    path: Path,
    *,
    fps: Fraction,
    stall_seconds: float = STALL_SECONDS,
) -> None:
    """Writes `frames`, `(frames, height, width, 3) uint8` RGB of any size, bit for bit.

    FFV1 (RGB) in Matroska; the same frames give the same bytes. `path` is there only when it
    is whole. Raises `MediaError` and `StoreFullError` as `encode_segment` does.
    """
    kept = list(frames)
    feed = FrameFeed(kept)
    digest = _digest(kept)
    with replacing(path) as partial:
        graph = feed.input(rate_text(fps)).output(
            ffmpeg_name(partial),
            format="matroska",
            vcodec="ffv1",
            # How ffmpeg names FFV1's 8-bit RGB; the codec keeps three planes and no fourth.
            pix_fmt="bgr0",
            level=3,
            threads=1,
            fps_mode="passthrough",
            metadata=f"{_DIGEST_TAG}={digest}",
            **BITEXACT,
        )
        run(graph, doing=f"writing {path.name}", patience=stall_seconds, chunks=feed.chunks())


def read_tail(path: Path) -> NDArray[np.uint8]:
    """The frames that `write_tail` wrote: `(frames, height, width, 3) uint8` RGB.

    Raises `MediaError` if `path` is not such a file, or is damaged or cut off.
    """
    with opened(path) as container:
        expected = container.metadata.get(_DIGEST_TAG)
        frames = [rgb(frame) for frame in decoded(container, path)]
    if _digest(frames) != expected:
        raise MediaError(f"{path} is damaged or cut off: its pixels are not those written.")
    return np.stack(frames)


def _digest(frames: Iterable[Frame]) -> str:
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(np.ascontiguousarray(frame).data)
    return digest.hexdigest()
