"""The models that films can be rendered with: one `ModelSpec` row each, data only."""

from __future__ import annotations

from fractions import Fraction

from film.errors import InputError
from film.types import Struct


class ModelSpec(Struct, frozen=True, kw_only=True):
    """What planning needs to know of a model."""

    name: str
    """What `--model` takes."""
    title: str
    source: str
    """`package:<folder in renderer/>` for bundled weights."""
    licence: str
    frame_step: int
    """Lengths the model renders are `frame_step * k + 1` frames (its VAE's time compression)."""
    min_frames: int
    """Shortest length it renders well."""
    max_frames: int
    """Longest length of one segment."""
    sizes: tuple[tuple[int, int], ...]
    """Width and height in pixels that it renders; the first is the default."""
    native_fps: Fraction
    """Rate it was trained at."""
    overlap_frames: int
    """Conditioning frames carried over a seam; by the same rule as lengths."""
    num_inference_steps: int
    """Default."""
    guidance_scale: float
    """Default."""
    closed_world: bool = False
    """Knows the words of `film.demo_world` only; other prompts are reworded to the nearest."""

    def snap_up(self, num_frames: int) -> int:
        """The shortest length the model renders that holds `num_frames` (at most `max_frames`)."""
        steps = -(-max(num_frames - 1, 0) // self.frame_step)
        return max(self.min_frames, steps * self.frame_step + 1)

    def snap_down(self, num_frames: int) -> int:
        """The longest `frame_step * k + 1` within `num_frames` >= 1, for conditioning frames."""
        return (num_frames - 1) // self.frame_step * self.frame_step + 1


DEMO = ModelSpec(
    name="demo",
    title="Bundled demo model: coloured shapes under a sky, renders on a CPU",
    source="package:demo/model",
    licence="made by this project",
    frame_step=4,
    min_frames=17,
    max_frames=17,
    sizes=((96, 64),),
    native_fps=Fraction(8),
    overlap_frames=5,
    num_inference_steps=16,
    guidance_scale=2.0,
    closed_world=True,
)

MODELS = {spec.name: spec for spec in (DEMO,)}


def find_model(name: str) -> ModelSpec:
    """The row of `name`. Raises `InputError` listing the models there are."""
    try:
        return MODELS[name]
    except KeyError:
        raise InputError(
            f"There is no model {name!r}; the models are: {', '.join(sorted(MODELS))}."
        ) from None
