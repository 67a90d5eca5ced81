"""What a rendering process is given to do."""

from __future__ import annotations

from fractions import Fraction

from film.types.base import Struct
from film.types.flags import RenderFlags
from film.types.requests import Lora


class Conditioning(Struct, frozen=True, kw_only=True):
    """The pixels carried over a seam: a lossless file with the tail of the segment before."""

    path: str
    num_frames: int
    """Those of the tail that are used."""


class LoraFile(Struct, frozen=True, kw_only=True):
    """A LoRA on this machine."""

    lora: Lora
    path: str


class RenderJob(Struct, frozen=True, kw_only=True):
    """Everything a rendering process needs for one segment; paths are local to its machine."""

    segment_id: int
    attempt: int
    address: str
    model: str
    revision: str
    """Of the model's weights."""
    prompt: str
    negative_prompt: str
    seed: int
    width: int
    """Pixels that the model renders."""
    height: int
    """Pixels that the model renders."""
    film_size: tuple[int, int]
    """Width and height in pixels of the film, to which the pictures are scaled and cropped."""
    num_frames: int
    fps: Fraction
    num_inference_steps: int
    guidance_scale: float
    overlap_frames: int
    keep_frames: int
    tail_frames: int
    """Frames of the tail to keep for the segment that may continue this one."""
    conditioning: Conditioning | None
    image_path: str | None = None
    """File of the picture that it begins with."""
    last_image_path: str | None = None
    """File of the picture that it ends with."""
    flags: RenderFlags = RenderFlags()
    loras: tuple[LoraFile, ...] = ()
    keyframes: tuple[int, ...] = ()
    """See `Segment.keyframes`: the tail is these frames, and the video all that is rendered."""
    keyframe: int | None = None
    """See `Segment.keyframe`: the two pictures are in the tail of `conditioning`."""
