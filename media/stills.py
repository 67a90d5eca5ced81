"""Pictures of a film: one from near its beginning, and some from all of it in rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from film.errors import MediaError
from media.atomic_files import replacing
from media.decode import opened, rgb_within
from media.ffmpeg.frame_pipe import Frame

THUMBNAIL_WIDTH = 640
"""Pixels, at most."""
SHEET_COLUMNS, SHEET_ROWS = 5, 4
SHEET_WIDTH = 240
"""Pixels of each picture of a sheet, at most."""


def write_thumbnail(film: Path, out: Path) -> None:
    """Writes a frame from the first tenth of the film as WebP: the first one is often black.

    Raises `MediaError` if the film cannot be decoded.
    """
    (picture,) = _frames(film, [0.1], THUMBNAIL_WIDTH)
    with replacing(out) as partial:
        Image.fromarray(picture).save(partial, format="WEBP", quality=85)


def write_spritesheet(film: Path, out: Path) -> None:
    """Writes 20 frames, evenly from all of the film, in five columns and four rows, as JPEG.

    Raises `MediaError` if the film cannot be decoded.
    """
    count = SHEET_COLUMNS * SHEET_ROWS
    pictures = list(_frames(film, [(n + 0.5) / count for n in range(count)], SHEET_WIDTH))
    rows = [
        np.concatenate(pictures[start : start + SHEET_COLUMNS], axis=1)
        for start in range(0, count, SHEET_COLUMNS)
    ]
    with replacing(out) as partial:
        Image.fromarray(np.concatenate(rows)).save(partial, format="JPEG", quality=85)


def _frames(film: Path, places: list[float], width: int) -> Iterator[Frame]:
    """The frames at these places (0 is the beginning, 1 the end), or the keyframes before them."""
    with opened(film, threads="NONE") as container:
        stream = container.streams.video[0]
        for place in places:
            container.seek(int(place * (stream.duration or 0)), stream=stream)
            frame = next(container.decode(stream), None)
            if frame is None:
                raise MediaError(f"{film} cannot be decoded at {place:.0%} of its length.")
            yield rgb_within(frame, width)
