"""What a rendering process is given to do."""

from __future__ import annotations

from fractions import Fraction

from film.types.base import Struct
from film.types.plans import Segment
from film.types.requests import Lora, RenderSettings


class LoraFile(Struct, frozen=True, kw_only=True):
    """A LoRA on this machine."""

    lora: Lora
    path: str


class JobFiles(Struct, frozen=True, kw_only=True):
    """The files that a job reads, on the machine that renders it."""

    tail: str | None = None
    """The last frames of the segment that it continues, lossless; None after a cut."""
    image: str | None = None
    """The picture that it begins with."""
    last_image: str | None = None
    """The picture that it ends with."""
    loras: tuple[LoraFile, ...] = ()


class RenderJob(Struct, frozen=True, kw_only=True):
    """Everything that a rendering process needs for one segment."""

    segment_id: int
    attempt: int
    """Number of the attempt, counted from 1 (fencing token)."""
    segment: Segment
    """With the seed to render it with, which for a retake is not the planned one."""
    settings: RenderSettings
    """The film's settings, with the flags that this worker fills in."""
    revision: str
    """Digest of the model's weights."""
    rendered_size: tuple[int, int]
    """Width and height in pixels that the model renders."""
    film_size: tuple[int, int]
    """Width and height in pixels of the film, to which the pictures are scaled and cropped."""
    fps: Fraction
    tail_frames: int
    """Number of last frames to keep for the segment that may continue this one."""
    files: JobFiles = JobFiles()
