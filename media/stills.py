"""Single pictures out of a video: a poster, a contact sheet, or every frame."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from film.errors import MediaError
from media.decode import decoded, opened, rgb
from media.ffmpeg import BITEXACT, run
from media.files import ffmpeg_name, replacing
from media.frames import Frame, FrameFeed

POSTER_CANDIDATES = 5
PNG_SECONDS = 60.0
"""How long writing one picture may take."""


def poster(path: Path, out_png: Path) -> None:
    """Writes one frame of the video `path`, in full size, as a PNG.

    Of a few frames spread over the video it is the one with the most contrast, so that a film
    that fades in is not shown as a black picture. Raises `MediaError` and `StoreFullError`.
    """
    with opened(path) as container:
        frames = [rgb(frame) for frame in _spread(container, path, POSTER_CANDIDATES)]
    _write_png(max(frames, key=lambda frame: float(frame.std())), out_png)


def contact_sheet(path: Path, out_png: Path, *, columns: int, rows: int, width: int) -> None:
    """Writes `columns` by `rows` frames, evenly spread over the video `path`, as one PNG.

    `width` is the sheet's in pixels, rounded down to whole cells; cells keep the video's shape.
    Only the frames around those shown are decoded. Raises `MediaError` and `StoreFullError`.
    """
    cell = width // columns if columns > 0 and rows > 0 else 0
    if cell < 1:
        raise MediaError(f"A sheet {width} pixels wide has no room for {columns}x{rows} frames.")
    with opened(path) as container:
        codec = container.streams.video[0].codec_context
        size = {"width": cell, "height": max(1, round(cell * codec.height / codec.width))}
        cells = [rgb(frame, **size) for frame in _spread(container, path, columns * rows)]
    lines = [np.concatenate(cells[i : i + columns], axis=1) for i in range(0, len(cells), columns)]
    _write_png(np.concatenate(lines), out_png)


def read_frames(path: Path) -> NDArray[np.uint8]:
    """Every frame of the video `path`: `(frames, height, width, 3) uint8` RGB, in memory.

    Raises `MediaError` where it is not a whole video.
    """
    with opened(path) as container:
        frames = [rgb(frame) for frame in decoded(container, path)]
    if not frames:
        raise MediaError(f"{path} holds no frames.")
    return np.stack(frames)


def _spread(container: Any, path: Path, count: int) -> Iterator[Any]:
    """`count` PyAV frames, in the middle of `count` equal parts of the video."""
    stream = container.streams.video[0]
    if not stream.duration:
        raise MediaError(f"{path} does not say how long it is.")
    for index in range(count):
        offset = int(stream.duration * Fraction(2 * index + 1, 2 * count))
        yield _frame_at((stream.start_time or 0) + offset, container, path)


def _frame_at(pts: int, container: Any, path: Path) -> Any:
    """The frame shown at `pts` (in ticks of the stream)."""
    container.seek(pts, stream=container.streams.video[0])
    shown = None
    for frame in decoded(container, path):
        if shown is not None and frame.pts > pts:
            break
        shown = frame
    if shown is None:
        raise MediaError(f"{path} has no frame to show.")
    return shown


def _write_png(picture: Frame, out_png: Path) -> None:
    feed = FrameFeed([picture])
    with replacing(out_png) as partial:
        graph = feed.input("1/1").output(
            ffmpeg_name(partial),
            format="image2",
            vcodec="png",
            # One picture under exactly this name, even if it has a `%` in it.
            update=1,
            **BITEXACT,
        )
        run(graph, doing=f"writing {out_png.name}", patience=PNG_SECONDS, chunks=feed.chunks())
