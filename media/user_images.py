"""Pictures that users give: read in any common form, kept as PNG, fitted to a size."""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from film.errors import InputError, MediaError
from film.sizes import scale_and_crop
from media.ffmpeg.frame_pipe import Frame

FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "GIF", "TIFF")
"""Raster formats. Pillow would also run other programs for some that are not (EPS)."""
MAX_PIXELS = 64_000_000
"""Largest picture. Decoded, it takes four bytes a pixel, several times over."""
BACKGROUND = (255, 255, 255)
"""Shows through what is transparent, as in most viewers."""


@dataclass(frozen=True)
class UserPicture:
    """A picture that a user gave, upright and opaque."""

    digest: str
    """SHA-256 of its size and pixels: 64 hex digits."""
    png: bytes
    transparent: bool
    """True if `BACKGROUND` shows through a part of it."""


def read_picture(path: Path) -> UserPicture:
    """Reads a picture file, turned upright as its camera noted.

    Raises `InputError` if it cannot be read, has more than `MAX_PIXELS`, or a form of its numbers
    whose brightness is not defined.
    """
    if not path.exists():
        raise InputError(f"There is no picture {path}.")
    if not path.is_file():
        raise InputError(f"{path} is not a file; name a picture file.")
    try:
        with warnings.catch_warnings():
            # What is suspicious to Pillow is larger than we allow.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as opened:
                _require_small(path, opened)
                opened.load()
                upright = ImageOps.exif_transpose(opened)
        picture, transparent = _opaque(path, upright)
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise InputError(_too_large(path, "far more pixels than that")) from None
    except Exception as error:  # noqa: BLE001  (damaged files make Pillow raise anything)
        raise InputError(f"{path} cannot be read as a picture: {_one_line(error)}.") from None
    pixels = b"%dx%d " % picture.size + picture.tobytes()
    png = io.BytesIO()
    picture.save(png, "PNG")
    return UserPicture(hashlib.sha256(pixels).hexdigest(), png.getvalue(), transparent)


def fitted_picture(path: Path, width: int, height: int) -> Frame:
    """The picture scaled to cover `width` x `height` pixels and cropped equally at both sides.

    Raises `MediaError` if the file is not a picture.
    """
    try:
        with Image.open(path, formats=FORMATS) as opened:
            picture = opened.convert("RGB")
    except Exception as error:  # noqa: BLE001  (damaged files make Pillow raise anything)
        message = f"{path.name} cannot be read as a picture: {_one_line(error)}."
        raise MediaError(message) from None
    size, _ = scale_and_crop(picture.size, (width, height))
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.asarray(picture.crop((left, top, left + width, top + height)))


def _require_small(path: Path, picture: Image.Image) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise InputError(_too_large(path, f"{width}x{height} pixels"))


def _too_large(path: Path, size: str) -> str:
    return f"{path} is too large: it has {size}, and {MAX_PIXELS // 10**6} megapixels are the most."


def _opaque(path: Path, picture: Image.Image) -> tuple[Image.Image, bool]:
    """The picture in RGB, 8 bits a colour; True if something was transparent."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;"):
        return _eight_bits(path, picture).convert("RGB"), False
    if not picture.has_transparency_data:
        return picture.convert("RGB"), False
    with_alpha = picture.convert("RGBA")
    lowest = np.asarray(with_alpha.getchannel("A")).min()
    ground = Image.new("RGBA", with_alpha.size, (*BACKGROUND, 255))
    return Image.alpha_composite(ground, with_alpha).convert("RGB"), bool(lowest < 255)


def _eight_bits(path: Path, picture: Image.Image) -> Image.Image:
    """A grey picture of 16 bits in 8; Pillow's own conversion would cut off all that is bright.

    Raises `InputError` for one of 32 bits.
    """
    levels = np.asarray(picture)
    if picture.mode == "F" or levels.min() < 0 or levels.max() > 0xFFFF:
        raise InputError(
            f"{path} has 32 bits for each pixel, and what is white in it is not defined; save it "
            f"with 8 or 16 bits."
        )
    return Image.fromarray((levels.astype(np.uint32) >> 8).astype(np.uint8))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
