"""The first sharp frame of a video that a user gave."""

from __future__ import annotations

import tempfile
from pathlib import Path

import ffmpeg
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from film.errors import InputError, MediaError
from media.atomic_files import ffmpeg_name, replacing
from media.ffmpeg.run import run

SECONDS = 3.0
"""How much of the video is looked at, from its beginning."""
RATE = 8
"""Frames a second that are compared."""
ENOUGH = 0.7
"""Part of the greatest sharpness that is sharp enough."""
MAX_PIXELS = 16_000_000
"""Largest frame."""
PATIENCE = 30.0
"""Seconds that ffmpeg may take."""
_ISO, _MATROSKA = b"ftyp", b"\x1a\x45\xdf\xa3"
_PICTURES = (b"avif", b"avis", b"mif1", b"heic")
"""Brands of files of the same family that are pictures."""


def write_sharp_frame(video: Path, out: Path) -> None:
    """Writes, as PNG, the first frame of the first seconds of `video` that is about as sharp as the
    sharpest of them.

    Raises `InputError` if it is not a video (MP4, MOV, WebM or Matroska) that can be decoded, or
    shows one colour only.
    """
    if not is_video(video):
        raise InputError(f"{video} is not a video: expected MP4, MOV, WebM or Matroska.")
    with tempfile.TemporaryDirectory() as name:
        pictures = _extract(video, Path(name))
        sharpness = [_sharpness(path) for path in pictures]
        best = max(sharpness, default=0.0)
        if best == 0:
            raise InputError(f"{video} shows nothing in its first {SECONDS:g} s.")
        first = next(n for n, found in enumerate(sharpness) if found >= ENOUGH * best)
        with replacing(out) as partial:
            partial.write_bytes(pictures[first].read_bytes())


def _extract(video: Path, folder: Path) -> list[Path]:
    # The format is not left to ffmpeg: some are lists of other files and addresses.
    source = ffmpeg.input(
        ffmpeg_name(video), format=_container(video), t=SECONDS, max_pixels=MAX_PIXELS
    )
    graph = source.video.filter("fps", RATE).output(
        ffmpeg_name(folder / "%03d.png"), format="image2", vcodec="png", pix_fmt="rgb24", threads=1
    )
    try:
        run(graph, doing="reading the video", patience=PATIENCE)
    except MediaError as error:
        raise InputError(f"{video} cannot be decoded: {error}") from None
    return sorted(folder.iterdir())


def is_video(path: Path) -> bool:
    """True if a file begins as MP4, MOV, WebM or Matroska do, and not as an AVIF picture."""
    return bool(_container(path))


def _container(path: Path) -> str:
    """ffmpeg's name of the format that the first bytes are of; empty for others."""
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == _ISO and head[8:12] not in _PICTURES:
        return "mov"
    return "matroska" if head.startswith(_MATROSKA) else ""


def _sharpness(path: Path) -> float:
    """Mean size of the Laplacian of the luma, in levels of 255."""
    with Image.open(path, formats=["PNG"]) as picture:
        luma: NDArray[np.int32] = np.asarray(picture.convert("L"), np.int32)
    if min(luma.shape) < 3:
        return 0.0
    middle = luma[1:-1, 1:-1]
    around = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    return float(np.abs(around - 4 * middle).mean())
