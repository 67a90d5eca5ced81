"""Pictures that users give: read in any common form, kept as PNG, fitted to a size."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from film.errors import InputError, MediaError
from film.sizes import scale_and_crop
from media.ffmpeg.frame_pipe import Frame


def read_picture(path: Path) -> tuple[str, bytes]:
    """Digest (64 hex digits) of the pixels in a picture file, and the picture as PNG.

    Turned upright as its camera noted. Raises `InputError` if it cannot be read.
    """
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGB")
    except FileNotFoundError:
        raise InputError(f"There is no picture {path}.") from None
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as a picture: {error}.") from None
    pixels = b"%dx%d " % picture.size + picture.tobytes()
    png = io.BytesIO()
    picture.save(png, "PNG")
    return hashlib.sha256(pixels).hexdigest(), png.getvalue()


def fitted_picture(path: Path, width: int, height: int) -> Frame:
    """The picture scaled to cover `width` x `height` pixels and cropped equally at both sides.

    Raises `MediaError` if the file is not a picture.
    """
    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise MediaError(f"{path.name} cannot be read as a picture: {error}.") from None
    size, _ = scale_and_crop(picture.size, (width, height))
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.asarray(picture.crop((left, top, left + width, top + height)))
