"""What users ask for: campaigns, films, scenes."""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction
from typing import Literal

from film.types.base import Struct
from film.types.flags import RenderFlags
from film.types.states import OverBudget


class Seam(StrEnum):
    """How a scene begins."""

    CUT = "cut"
    """With a new picture; it depends on nothing and renders in parallel."""
    CONTINUE = "continue"
    """From the tail of the scene before it."""


class Continuity(StrEnum):
    """What a segment takes over from the one before it, within a scene and over a seam."""

    CUT = "cut"
    """Nothing: all segments render in parallel, and the picture changes at each."""
    LAST_FRAME = "last_frame"
    """The last frame: the place is kept, but not the motion."""
    TAIL_WINDOW = "tail_window"
    """The last frames: place and motion are kept."""
    NATIVE_LONG = "native_long"
    """As much as the model itself keeps in mind: a scene is one long rendering."""
    KEYFRAMES = "keyframes"
    """Nothing: each leads from one picture to the next, all in parallel. These keyframes come from
    one rendering of the whole scene in short, the anchor."""


Expert = Literal["high", "low"]
"""The transformer of a model with two: the one for high noise, or the one for low noise."""


class Lora(Struct, frozen=True, kw_only=True):
    """A small change to a model's weights, added while a film is rendered."""

    name: str
    """A file or a place on the hub; after submission the name that people know it by."""
    digest: str = ""
    """SHA-256 of the file; empty before submission."""
    weight: float = 1.0
    """How much of it is added, -4 to 4."""
    expert: Expert | None = None
    """The one of two transformers that it changes; None if the model has one."""

    def __str__(self) -> str:
        expert = f", {self.expert} noise" if self.expert else ""
        return f"{self.name} (weight {self.weight:g}{expert})"


class RenderSettings(Struct, frozen=True, kw_only=True):
    """What the user chooses about the rendering of a film, with the model's defaults filled in."""

    model: str
    seed: int
    negative_prompt: str
    num_inference_steps: int
    guidance_scale: float
    continuity: Continuity | None = None
    """How segments follow one another; None means the model's best."""
    flags: RenderFlags = RenderFlags()
    loras: tuple[Lora, ...] = ()


class SceneRequest(Struct, frozen=True, kw_only=True):
    """One scene as the user wrote it in a script; `None` means the film's own value."""

    prompt: str
    seconds: Fraction | None = None
    seed: int | None = None
    seam: Seam = Seam.CUT
    continuity: Continuity | None = None
    """Over its seam and within it; None means the film's."""
    image: str = ""
    """Picture that it begins with: a file, and from submission on the digest of its pixels."""
    last_image: str = ""
    """Picture that it ends with, likewise."""


class FilmRequest(Struct, frozen=True, kw_only=True):
    """One film as asked for: either a long `prompt` or written `scenes`."""

    title: str
    prompt: str
    """The long prompt; empty if `scenes` is given."""
    scenes: tuple[SceneRequest, ...]
    """The script; empty if `prompt` is given."""
    seconds: Fraction | None
    """The requested length; `None` only if every scene has its own."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    fps: Fraction
    settings: RenderSettings
    tags: tuple[str, ...] = ()
    """A worker that renders it must have all of them; sorted."""
    image: str = ""
    """Picture that it begins with: a file, and from submission on the digest of its pixels."""
    last_image: str = ""
    """Picture that it ends with, likewise."""
    sound: bool = True
    """True if it has the sound that its model creates; a model without sound has none in any
    case."""
    notices: tuple[str, ...] = ()
    """What the user should know of how it was read."""


class Campaign(Struct, frozen=True, kw_only=True):
    """Many films submitted together under one brief."""

    name: str
    films: tuple[FilmRequest, ...]
    priority: int = 0
    """Higher is rendered sooner."""
    deadline: float | None = None
    """Seconds since 1970; among equals the nearest is rendered first."""
    max_workers: int | None = None
    """As many of its segments may be under way at a time."""
    budget_seconds: float | None = None
    """GPU-seconds that it may use; None for no limit."""
    over_budget: OverBudget | None = None
    """What happens when they are used; None means `stop`."""
