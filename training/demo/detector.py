"""What is to be seen in a clip of the demo world: a classical detector, nothing learned.

Sky and floor are the nearest palette colours of the upper and lower background. The object is what
differs from them; its colour is the nearest palette colour of its core, its shape the template
that fits its outline best, its motion the dominant trend of position and size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np

from film.demo_world import Colour, Floor, Motion, Shape, Sky
from training.demo import world
from training.demo.world import Clip, Combination, Floats

DIFFERS = 60.0  # RGB distance at which a pixel is no longer background
Kind = TypeVar("Kind", bound=StrEnum)

SMALLEST_OBJECT = 40.0  # pixels
# Least change over 16 frames that counts as motion: a third of what the slowest mover does.
LEAST_MOVE_X, LEAST_MOVE_Y = 6.0, 4.0  # pixels
LEAST_GROWTH = 1.2  # pixels of radius


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the detector saw; ``None`` if there was no object to judge."""

    shape: Shape | None
    colour: Colour | None
    sky: Sky
    floor: Floor
    motion: Motion | None
    track: Floats  # (frames, 3): x, y and radius in pixels; NaN if no object was seen

    def agrees(self, combination: Combination) -> dict[str, bool]:
        """The attributes that are as the combination has them."""
        names = ("shape", "colour", "sky", "floor", "motion")
        return {name: getattr(self, name) == getattr(combination, name) for name in names}


def _nearest(colour: Floats, palette: Mapping[Kind, world.RGB]) -> Kind:
    return min(palette, key=lambda k: float(np.linalg.norm(colour - np.array(palette[k]))))


def _background(clip: Floats) -> tuple[Floats, Floats]:
    """Median colours (3,) of sky and floor; the outline rows at the horizon are left out.

    The margin of the picture is free of the object, so it alone decides.
    """
    edge = 3  # pixels
    sky = [clip[:, :edge], clip[:, edge : world.HORIZON - 3, :edge]]
    sky.append(clip[:, edge : world.HORIZON - 3, -edge:])
    floor = [clip[:, -edge:], clip[:, world.HORIZON + 3 : -edge, :edge]]
    floor.append(clip[:, world.HORIZON + 3 : -edge, -edge:])

    def median(parts: list[Floats]) -> Floats:
        return np.asarray(np.median(np.concatenate([p.reshape(-1, 3) for p in parts]), axis=0))

    return median(sky), median(floor)


def _object_mask(clip: Floats, sky: Floats, floor: Floats) -> tuple[Floats, Floats | None]:
    """Soft coverage (frames, height, width), 0 to 1, and the object's colour (3,) if any."""
    behind = np.empty_like(clip[0])
    behind[: world.HORIZON], behind[world.HORIZON :] = sky, floor
    difference = np.linalg.norm(clip - behind, axis=-1)
    core = _core(difference > DIFFERS)
    if core.sum() < SMALLEST_OBJECT * len(clip) / 3:
        return np.zeros_like(difference), None
    colour = np.median(clip[core], axis=0)
    contrast = colour - behind
    along = ((clip - behind) * contrast).sum(-1) / np.maximum((contrast**2).sum(-1), 1.0)
    return np.clip(along, 0.0, 1.0), np.asarray(colour)


def _core(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask (frames, height, width) whose eight neighbours are in it too."""
    core = mask.copy()
    core[:, [0, -1]] = False
    core[:, :, [0, -1]] = False
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            core &= np.roll(mask, (dy, dx), axis=(1, 2))
    return core


def _connected(soft: Floats) -> Floats:
    """Keep what hangs together with the heaviest spot; ghosts elsewhere are dropped."""
    solid = soft > 0.35
    spot = np.cumsum(np.cumsum(np.pad(soft, ((7, 0), (7, 0))), axis=0), axis=1)
    sums = spot[7:, 7:] - spot[:-7, 7:] - spot[7:, :-7] + spot[:-7, :-7]
    y, x = np.unravel_index(int(np.argmax(sums)), sums.shape)
    part = np.zeros_like(solid)
    part[max(0, y - 6) : y + 1, max(0, x - 6) : x + 1] = True
    part &= solid
    while True:
        grown = part.copy()
        grown[1:] |= part[:-1]
        grown[:-1] |= part[1:]
        grown[:, 1:] |= part[:, :-1]
        grown[:, :-1] |= part[:, 1:]
        grown &= solid
        if grown.sum() == part.sum():
            break
        part = grown
    rim = part.copy()
    rim[1:] |= part[:-1]
    rim[:-1] |= part[1:]
    rim[:, 1:] |= part[:, :-1]
    rim[:, :-1] |= part[:, 1:]
    return np.asarray(soft * rim, dtype=np.float32)


def _fit(soft: Floats) -> tuple[dict[Shape, float], tuple[float, float, float]] | None:
    """Squared misfit of every shape's best template to one frame, and the best one's place.

    A template has the area and the centre of mass that were seen.
    """
    columns, rows = world.pixel_centres()
    area = float(soft.sum())
    if area < SMALLEST_OBJECT:
        return None
    x = float((soft.sum(0) * columns).sum() / area)
    y = float((soft.sum(1) * rows).sum() / area)
    misfits, places = {}, {}
    for shape in world.SHAPES:
        radius = (area / UNIT_AREA[shape]) ** 0.5
        place = (x, y - UNIT_CENTRE_Y[shape] * radius, radius)
        template = world.coverage(shape, np.array(place, dtype=np.float32)[None], columns, rows)
        misfits[shape] = float(((soft - template[0]) ** 2).sum() / area)
        places[shape] = place
    return misfits, places[min(misfits, key=lambda s: misfits[s])]


# Area and height of the centre of mass (below the shape's own centre) for radius 1.
UNIT_AREA = {Shape.CIRCLE: np.pi, Shape.SQUARE: 3.24, Shape.TRIANGLE: 2.30}
UNIT_CENTRE_Y = {Shape.CIRCLE: 0.0, Shape.SQUARE: 0.0, Shape.TRIANGLE: 0.85 - 2.0 / 3.0}


def _trend(values: Floats) -> float:
    """Change of a series (frames,) from its first to its last frame, by a straight-line fit."""
    seen = np.flatnonzero(~np.isnan(values))
    slope = np.polyfit(seen, values[seen], 1)[0]
    return float(slope * (len(values) - 1))


def read_motion(track: Floats) -> Motion | None:
    """Name the motion of a track (frames, 3); ``None`` if the object is seen in too few frames."""
    if np.isnan(track[:, 0]).sum() > len(track) // 3:
        return None
    scale = 16 / (len(track) - 1)  # the thresholds are for 17 frames
    x, y, radius = (_trend(track[:, i]) * scale for i in range(3))
    strength = {
        Motion.RIGHT if x > 0 else Motion.LEFT: abs(x) / LEAST_MOVE_X,
        Motion.DOWN if y > 0 else Motion.UP: abs(y) / LEAST_MOVE_Y,
        Motion.GROW if radius > 0 else Motion.SHRINK: abs(radius) / LEAST_GROWTH,
    }
    motion = max(strength, key=lambda m: strength[m])
    return motion if strength[motion] >= 1 else Motion.STILL


def locate(clip: Clip) -> Floats:
    """Position of the object: (frames, 3) x, y and radius in pixels, NaN if there is none."""
    return detect(clip).track


def detect(clip: Clip) -> Reading:
    """Read one clip (frames, height, width, 3) uint8 of the demo world's size."""
    pixels = clip.astype(np.float32)
    sky, floor = _background(pixels)
    soft, colour = _object_mask(pixels, sky, floor)
    track = np.full((len(clip), 3), np.nan, dtype=np.float32)
    total = dict.fromkeys(world.SHAPES, 0.0)
    for index, frame in enumerate(soft):
        fitted = _fit(_connected(frame)) if colour is not None else None
        if fitted is not None:
            track[index] = fitted[1]
            total = {s: total[s] + fitted[0][s] for s in total}
    seen = not np.isnan(track[:, 0]).all()
    return Reading(
        shape=min(total, key=lambda s: total[s]) if seen else None,
        colour=_nearest(colour, world.COLOUR_RGB) if seen and colour is not None else None,
        sky=_nearest(sky, world.SKY_RGB),
        floor=_nearest(floor, world.FLOOR_RGB),
        motion=read_motion(track) if seen else None,
        track=track,
    )
