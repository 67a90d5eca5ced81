"""The closed world of the demo model: one flat shape that moves over a floor under a sky.

A *combination* is the content of a picture (and of its caption); a *track* is the position of the
object in every frame. Everything the model was trained on and everything it is judged by comes from
here, so this file is the definition of a correct picture.

Rules that make continuing a clip well-defined:

* the object never leaves the picture; a mover that reaches the border turns back; * speeds are low
enough for several segments of one direction before that happens; * so position, size and velocity
in the last frames decide all that follows.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from film.demo_world import Colour, Floor, Motion, Scenery, Shape, Sky

WIDTH = 96  # pixels
HEIGHT = 64  # pixels
NUM_FRAMES = 17
FPS = 8
HORIZON = 40  # pixels from the top; a multiple of 8, so that it lies between two latent cells
MARGIN = 2.0  # pixels kept free between the object and the border

Array = Any  # numpy.ndarray or torch.Tensor: `coverage` uses operators only and takes both
Floats = NDArray[np.float32]
Clip = NDArray[np.uint8]  # (frames, height, width, 3)
RGB = tuple[int, int, int]


SHAPES, COLOURS, SKIES = tuple(Shape), tuple(Colour), tuple(Sky)
FLOORS, MOTIONS = tuple(Floor), tuple(Motion)

COLOUR_RGB: dict[Colour, RGB] = {
    Colour.RED: (214, 40, 40),
    Colour.ORANGE: (245, 130, 20),
    Colour.YELLOW: (250, 220, 30),
    Colour.GREEN: (20, 125, 65),
    Colour.BLUE: (35, 70, 215),
    Colour.PURPLE: (140, 45, 180),
}
SKY_RGB: dict[Sky, RGB] = {
    Sky.BLUE: (135, 192, 240),
    Sky.SUNSET: (250, 185, 140),
    Sky.NIGHT: (50, 48, 98),
    Sky.GREY: (170, 175, 182),
    Sky.PINK: (242, 190, 222),
}
FLOOR_RGB: dict[Floor, RGB] = {
    Floor.GRASS: (140, 200, 95),
    Floor.SAND: (225, 202, 150),
    Floor.SNOW: (240, 244, 250),
    Floor.ROAD: (92, 92, 96),
}

# Change of (x, y, radius) in pixels per frame at nominal speed.
VELOCITY: dict[Motion, tuple[float, float, float]] = {
    Motion.LEFT: (-1.2, 0.0, 0.0),
    Motion.RIGHT: (1.2, 0.0, 0.0),
    Motion.UP: (0.0, -0.8, 0.0),
    Motion.DOWN: (0.0, 0.8, 0.0),
    Motion.GROW: (0.0, 0.0, 0.23),
    Motion.SHRINK: (0.0, 0.0, -0.23),
    Motion.STILL: (0.0, 0.0, 0.0),
}

# Position of an object when a film begins: low and high end of x, y and radius, in pixels. Movers
# begin on the far side, so that they have several segments of way before them.
START: dict[Motion, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    Motion.LEFT: ((62, 80), (24, 46), (10, 13)),
    Motion.RIGHT: ((16, 34), (24, 46), (10, 13)),
    Motion.UP: ((24, 72), (42, 48), (10, 13)),
    Motion.DOWN: ((24, 72), (16, 22), (10, 13)),
    Motion.GROW: ((30, 66), (26, 38), (8, 9.5)),
    Motion.SHRINK: ((30, 66), (26, 38), (16.5, 18)),
    Motion.STILL: ((20, 76), (20, 44), (10, 14)),
}
RADIUS_RANGE = (7.5, 18.5)  # pixels; growing and shrinking turn back here
EXTENT = 1.15  # the farthest any shape reaches from its centre, in radii


class Combination(Scenery, frozen=True, kw_only=True, order=True):
    """Everything a caption states about a clip."""

    @property
    def held_out(self) -> bool:
        """True for the tenth of all combinations that training never shows."""
        key = "/".join((self.shape, self.colour, self.sky, self.floor, self.motion))
        return hashlib.sha256(key.encode()).digest()[0] % 10 == 0


def all_combinations() -> list[Combination]:
    """Every combination of the world, in a fixed order."""
    return [
        Combination(shape=shape, colour=colour, sky=sky, floor=floor, motion=motion)
        for shape, colour, sky, floor, motion in itertools.product(
            SHAPES, COLOURS, SKIES, FLOORS, MOTIONS
        )
    ]


def held_out_combinations() -> list[Combination]:
    """The combinations training never shows, in a fixed order."""
    return [c for c in all_combinations() if c.held_out]


def training_combinations() -> list[Combination]:
    """The combinations training draws from, in a fixed order."""
    return [c for c in all_combinations() if not c.held_out]


def _turn_back(position: Floats, low: Floats | float, high: Floats | float) -> Floats:
    """Reflect positions into ``[low, high]``, as if movers turned back at both ends."""
    span = np.maximum(high - low, 1e-3)
    phase = np.mod(position - low, 2 * span)
    return np.asarray(low + span - np.abs(phase - span), dtype=np.float32)


def tracks(
    motions: Sequence[Motion],
    rng: np.random.Generator,
    *,
    first_frame: NDArray[np.int64] | None = None,
    num_frames: int = NUM_FRAMES,
) -> Floats:
    """Draw the position of the object in every frame, for a batch of clips.

    ``first_frame`` (clips,) counts frames from the beginning of the film: 0 draws the first segment
    of a film, larger values a later one. Returns (clips, num_frames, 3) float32: x, y and radius in
    pixels.
    """
    count = len(motions)
    ranges = np.array([START[m] for m in motions], dtype=np.float32)  # (clips, 3, 2)
    start = ranges[..., 0] + rng.random((count, 3), dtype=np.float32) * np.ptp(ranges, axis=-1)
    pace = 0.85 + 0.3 * rng.random((count, 1), dtype=np.float32)
    velocity = np.array([VELOCITY[m] for m in motions], dtype=np.float32) * pace
    first = np.zeros(count) if first_frame is None else first_frame
    frame = (first[:, None] + np.arange(num_frames)).astype(np.float32)  # (clips, frames)
    free = start[:, None] + velocity[:, None] * frame[..., None]
    radius = _turn_back(free[..., 2], *RADIUS_RANGE)
    edge = EXTENT * radius + MARGIN
    x = _turn_back(free[..., 0], edge, WIDTH - edge)
    y = _turn_back(free[..., 1], edge, HEIGHT - edge)
    return np.stack([x, y, radius], axis=-1)


def _larger(a: Array, b: Array) -> Array:
    return (a + b + abs(a - b)) / 2


def _clip_unit(a: Array) -> Array:
    return (1 + abs(a) - abs(a - 1)) / 2


def shape_distance(shape: Shape, dx: Array, dy: Array, radius: Array) -> Array:
    """Signed distance in pixels to the outline of a shape (negative inside).

    Arguments broadcast; numpy arrays and torch tensors both work.
    """
    if shape is Shape.CIRCLE:
        return (dx * dx + dy * dy + 1e-6) ** 0.5 - radius
    if shape is Shape.SQUARE:
        return _larger(abs(dx), abs(dy)) - 0.9 * radius
    side = (2.0 * abs(dx) - EXTENT * (dy + EXTENT * radius)) / 2.307
    return _larger(side, dy - 0.85 * radius)


def coverage(shape: Shape, track: Array, columns: Array, rows: Array) -> Array:
    """How much of every pixel the object covers, anti-aliased, 0 to 1.

    ``track`` (..., frames, 3) in pixels, ``columns`` (width,) and ``rows`` (height,) the pixel
    centres. Returns (..., frames, height, width), an array of the same library.
    """
    dx = columns - track[..., 0, None, None]
    dy = rows[:, None] - track[..., 1, None, None]
    return _clip_unit(0.5 - shape_distance(shape, dx, dy, track[..., 2, None, None]))


def pixel_centres() -> tuple[Floats, Floats]:
    """Pixel centres (width,) and (height,) for `coverage`."""
    return (
        np.arange(WIDTH, dtype=np.float32) + 0.5,
        np.arange(HEIGHT, dtype=np.float32) + 0.5,
    )


def background(sky: Sky, floor: Floor) -> Floats:
    """The picture without its object: (height, width, 3) float32, 0 to 255."""
    picture = np.empty((HEIGHT, WIDTH, 3), dtype=np.float32)
    picture[:HORIZON] = SKY_RGB[sky]
    picture[HORIZON:] = FLOOR_RGB[floor]
    return picture


def render(combination: Combination, track: Floats) -> Clip:
    """Draw the ground-truth clip of one track (frames, 3): (frames, height, width, 3) uint8."""
    alpha = coverage(combination.shape, track, *pixel_centres())[..., None]
    behind = background(combination.sky, combination.floor)
    colour = np.array(COLOUR_RGB[combination.colour], dtype=np.float32)
    return np.asarray(np.rint(behind + alpha * (colour - behind)), dtype=np.uint8)


def sample_clip(combination: Combination, seed: int, *, first_frame: int = 0) -> Clip:
    """Draw one ground-truth clip of a combination; the same seed gives the same clip."""
    rng = np.random.default_rng(seed)
    track = tracks([combination.motion], rng, first_frame=np.array([first_frame]))
    return render(combination, track[0])
