"""Reads video files with PyAV, with its errors made ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import av
import av.error
import numpy as np
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from film.errors import MediaError

Kind = Literal["video", "sound"]

_EXACT = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
"""Without these the conversion to RGB alone is off by up to 3 levels of 255."""


@contextmanager
def opened(
    path: Path, kind: Kind = "video", *, threads: Literal["AUTO", "NONE"] = "AUTO"
) -> Iterator[Any]:
    """The PyAV container of the video or sound file `path`, closed when the block ends.

    Several threads decode many frames faster, and a few frames here and there more slowly.

    Raises `MediaError` if the file is missing, is not a media file, or turns out to be damaged
    inside the block.
    """
    try:
        with av.open(f"file:{path.absolute()}", metadata_errors="replace") as container:
            streams = _streams(container, kind)
            if not streams:
                lacks = "picture: it is not a video" if kind == "video" else "sound"
                raise MediaError(f"{path} has no {lacks}.")
            if streams[0].codec_context is None:
                raise MediaError(f"{path} is in a format that cannot be decoded.")
            _set_decoder(streams[0], threads)
            yield container
    except (av.error.FFmpegError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise MediaError(f"{path} is not there.") from error
        what = "a video" if kind == "video" else "sound"
        raise MediaError(f"{path} cannot be read as {what}: {_reason(error)}.") from error


def decoded(container: Any, path: Path, kind: Kind = "video") -> Iterator[Any]:
    """Every frame of the picture (or of the sound), in the order they are shown.

    Raises `MediaError` at the first frame that is damaged; nothing is concealed.
    """
    for frame in container.decode(_streams(container, kind)[0]):
        if frame.is_corrupt:
            raise MediaError(f"{path} is damaged at {frame.time:.3f} s.")
        yield frame


def rgb(frame: Any, width: int | None = None, height: int | None = None) -> NDArray[np.uint8]:
    """A PyAV frame as `(height, width, 3) uint8`, by the colour matrix it is tagged with.

    In its own size, or averaged down to the size given in pixels.
    """
    method = (Interpolation.AREA if width else Interpolation.BICUBIC) | _EXACT
    picture = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation=method)
    return cast(NDArray[np.uint8], picture)


def rgb_within(frame: Any, width: int) -> NDArray[np.uint8]:
    """A PyAV frame as `rgb` gives it, averaged down to `width` pixels if it is wider."""
    if frame.width <= width:
        return rgb(frame)
    return rgb(frame, width, max(1, round(frame.height * width / frame.width)))


def _streams(container: Any, kind: Kind) -> Any:
    return container.streams.video if kind == "video" else container.streams.audio


def _set_decoder(stream: Any, threads: str) -> None:
    # Only before the first frame is decoded may these be set.
    stream.thread_type = threads
    stream.codec_context.options = {"err_detect": "crccheck+bitstream+buffer+explode"}


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
