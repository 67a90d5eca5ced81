"""Sizes in pixels: the one that a model renders for the one that was asked for.

A model renders certain sizes only. Any other one is rendered at the nearest of them, and the
pictures are scaled to cover what was asked for and cropped at the sides that are left over.
"""

from __future__ import annotations

import itertools
import math

from film.errors import InputError
from film.models import ModelSpec

Size = tuple[int, int]
"""Width and height in pixels."""

SMALLEST, LARGEST = 32, 1920
"""Sides of a film; 1920x1080, upright as well, is the largest."""
LARGEST_PIXELS = 1920 * 1080


def require_size(width: int, height: int) -> None:
    """Raises `InputError` if no film can have this size."""
    if min(width, height) < SMALLEST or max(width, height) > LARGEST:
        raise InputError(
            f"A film of {width}x{height} cannot be made: give sides from {SMALLEST} to {LARGEST}."
        )
    if width % 2 or height % 2:
        even = f"{width + width % 2}x{height + height % 2}"
        raise InputError(
            f"A film of {width}x{height} cannot be encoded for every player: give even sides, "
            f"such as {even}."
        )
    if width * height > LARGEST_PIXELS:
        raise InputError(
            f"A film of {width}x{height} cannot be made: give at most as many pixels as "
            f"1920x1080 has."
        )


def rendered_size(spec: ModelSpec, width: int, height: int) -> Size:
    """The size that `spec` renders for a film of `width` x `height` pixels.

    The requested size if the model renders it; else the one nearest in shape, and of those the
    nearest in area.
    """
    return min(_possible(spec, width, height), key=lambda size: _distance(size, (width, height)))


def size_notice(spec: ModelSpec, rendered: Size, asked: Size) -> str | None:
    """The scaling and cropping between the rendered and the requested size; None if they are
    equal."""
    if rendered == asked:
        return None
    scaled, cropped = scale_and_crop(rendered, asked)
    text = (
        f"The model {spec.name!r} renders {rendered[0]}x{rendered[1]}, which is scaled "
        f"{scaled[0] / rendered[0]:.3g} times"
    )
    if cropped != (0, 0):
        side = "width" if cropped[0] else "height"
        part = max(cropped[0] / scaled[0], cropped[1] / scaled[1])
        text += f" and loses {max(part, 0.001):.1%} of its {side}"
    return f"{text} for {asked[0]}x{asked[1]}."


def scale_and_crop(rendered: Size, asked: Size) -> tuple[Size, Size]:
    """The size to scale to, which covers `asked`, and the pixels to crop from it in each way."""
    (width, height), (to_width, to_height) = rendered, asked
    # Exact: in whole numbers, the side that fits is exactly the asked one.
    if to_width * height >= to_height * width:
        scaled = to_width, max(to_height, round(height * to_width / width))
    else:
        scaled = max(to_width, round(width * to_height / height)), to_height
    return scaled, (scaled[0] - to_width, scaled[1] - to_height)


def _possible(spec: ModelSpec, width: int, height: int) -> list[Size]:
    if not spec.size_multiple:
        return list(spec.sizes)
    step = spec.size_multiple
    least, most = spec.pixels
    fitting = math.sqrt(min(max(width * height, least), most) / (width * height))
    sides = (
        {max(step, int(side * fitting) // step * step + more) for more in (0, step)}
        for side in (width, height)
    )
    # Rounded, it may be a little less or more than the model was made for.
    found = [(w, h) for w, h in itertools.product(*sides) if least <= w * h <= most]
    return found or [spec.sizes[0]]


def _distance(size: Size, asked: Size) -> tuple[float, float]:
    """How far `size` is from `asked`: by shape, then by area; both by their ratio."""
    shape = abs(math.log(size[0] * asked[1] / (size[1] * asked[0])))
    area = abs(math.log(size[0] * size[1] / (asked[0] * asked[1])))
    return round(shape, 3), area
