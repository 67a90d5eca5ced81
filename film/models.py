"""What planning and rendering need to know of a model: one `ModelSpec` row each, data only.

The rows are in film/families/; docs/add-a-model.md explains how to add one.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

import msgspec

from film.types import Cache, Continuity, RenderFlags, Struct

Mode = Literal["text", "image", "first_last", "window"]
"""What a pipeline receives in addition to the prompt: nothing, the first picture, the first and the
last one, or the frames that it must continue."""

Window = Literal["conditions", "vace", "video"]
"""How a pipeline takes the frames to continue: as a list of condition objects, as a video with a
mask of what to create, or as a video that is the beginning of its own."""

MIXING: tuple[Window, ...] = ("conditions", "vace")
"""Ways in which frames at the beginning and a picture at the end can be combined."""


SINGLE = ".safetensors"
"""Ending of a file that holds a transformer; whatever else is local is a folder."""


class Calling(Struct, frozen=True, kw_only=True):
    """How diffusers is called for a model, as far as data can describe it."""

    pipelines: dict[Mode, str]
    """Class for each mode; the one for `text` (else the first) is what the weights are loaded as,
    the others share its components."""
    arguments: dict[str, Any] = msgspec.field(default_factory=dict)
    """Arguments of every call, in addition to those that a job decides."""
    names: dict[str, str | None] = msgspec.field(default_factory=dict)
    """The pipeline's names for our arguments, if they differ; None if it does not take one."""
    fps: str | None = None
    """Name of the argument for the frame rate, if it has one; its value is `native_fps`."""
    window: Window | None = None
    ends_anywhere: bool = False
    """True if the last picture may be at any of the frames that it renders; False if it is always
    the last of them, also if the film gets fewer."""
    end_frames: int = 1
    """Number of equal frames at the end that a last picture stands for (with `conditions`)."""
    returns_input: bool = False
    """True if its result starts with the frames of a `window` as it received them."""
    guider: bool = False
    """True if its guidance is a component of the pipeline rather than an argument."""
    scheduler: dict[str, Any] = msgspec.field(default_factory=dict)
    """Settings of its scheduler that differ from the checkpoint's."""
    again: dict[str, Any] = msgspec.field(default_factory=dict)
    """Settings that the pipelines of the other modes need again, because they are not
    components."""
    decodes_last: bool = True
    """True if nothing is denoised any more once decoding has started."""
    vae_dtype: Literal["float32"] | None = None
    """Its VAE wants another precision than the rest."""


class ModelSpec(Struct, frozen=True, kw_only=True):
    """A model, as data."""

    name: str
    """What `--model` takes."""
    family: str
    title: str
    source: str
    """`package:<folder in renderer/>` for bundled weights, the absolute path of a folder or of a
    `.safetensors` file, else an id on the Hugging Face hub."""
    row: str = ""
    """Name of the row whose way of calling it has, if the weights are not the row's own."""
    branch: str | None = None
    """Branch of its repository, if the weights are not on the main one."""
    licence: str
    licence_source: str = ""
    """Address of the page with the licence."""
    memory: str = ""
    """GPU memory that it needs, with the source of the figure; empty if none is known."""
    calling: Calling

    frame_step: int
    """Lengths the model renders are `frame_step * k + frame_offset` frames (its VAE's time
    compression)."""
    frame_offset: int = 1
    min_frames: int
    """Shortest length it renders well."""
    max_frames: int
    """Longest length of one segment."""
    long_frames: int = 0
    """Longest length if it keeps its own memory of earlier frames; 0 if it has none."""
    sizes: tuple[tuple[int, int], ...]
    """Width and height in pixels; the first is the default. All that it renders, unless it has a
    `size_multiple`."""
    size_multiple: int = 0
    """Any sides that are multiples of this; 0 means `sizes` only."""
    pixels: tuple[int, int] = (0, 0)
    """Fewest and most pixels of a picture, if `size_multiple` applies."""
    native_fps: Fraction
    """Rate it was trained at."""
    continuity: tuple[Continuity, ...]
    """How its segments can follow one another, best first."""
    overlap_frames: int
    """Conditioning frames carried over a seam; by the same rule as lengths."""
    echoes: bool = True
    """True if its result starts with the conditioning frames, which are then dropped."""
    needs_image: bool = False
    """True if it renders nothing without a first picture."""
    sound: bool = False
    """True if it creates sound with the pictures."""
    num_inference_steps: int
    """Default."""
    guidance_scale: float
    """Default."""
    caches: tuple[Cache, ...] = ()
    """Those that diffusers has for its denoiser."""
    compiles: bool = False
    """True if its denoiser has repeated blocks that diffusers compiles."""
    parallel: int = 0
    """Number of attention heads, which GPUs that render a segment together divide evenly; 0 if
    diffusers cannot divide them."""
    tiles: bool = True
    """True if its VAE can work in tiles."""
    flags: RenderFlags = RenderFlags()
    """Default."""
    buckets: int = 0
    """Largest number of different lengths that are rendered, evenly spaced; 0 for all of them."""
    closed_world: bool = False
    """Knows the words of `film.demo_world` only; other prompts are reworded to the nearest."""
    loras: bool = True
    """True if diffusers can load LoRAs into it."""
    single_file: bool = False
    """True if its transformer can be loaded from a single file."""
    experts: bool = False
    """True if it has two transformers, one for high noise and one for low noise."""

    def takes(self, given: int, *, last: bool) -> bool:
        """True if it renders from that number of frames at the beginning, and a picture at the
        end."""
        modes = self.calling.pipelines
        if last:
            # Who takes a list of conditions or a mask takes any of them together.
            return "first_last" in modes and (self.calling.window in MIXING or given == 1)
        if given == 0:
            return "text" in modes
        return "window" in modes or (given == 1 and "image" in modes)

    def mode(self, given: int, *, last: bool) -> Mode:
        """What its pipeline receives in addition to the prompt: `given` frames at the beginning,
        and perhaps a picture at the end."""
        if last:
            return "first_last"
        if given == 0:
            return "text"
        # Most models that can continue several frames can continue one.
        single = given == 1 and "image" in self.calling.pipelines
        return "image" if single or "window" not in self.calling.pipelines else "window"

    @property
    def bundled(self) -> bool:
        """True if its weights are part of Longreel."""
        return self.source.startswith("package:")

    @property
    def local(self) -> bool:
        """True if its weights are a folder or a file that the user named."""
        return self.source.startswith("/")

    @property
    def in_one_file(self) -> bool:
        """True if its transformer is a file of the user, and the rest is the row's own."""
        return self.local and self.source.endswith(SINGLE)

    def snap_up(self, num_frames: int) -> int:
        """The shortest length the model renders that holds `num_frames` (at most `max_frames`)."""
        steps = -(-max(num_frames - self.frame_offset, 0) // self.frame_step)
        if self.buckets:
            most = (self.max_frames - self.frame_offset) // self.frame_step
            apart = -(-most // self.buckets)
            steps = min(-(-max(steps, 1) // apart) * apart, most)
        return max(self.min_frames, steps * self.frame_step + self.frame_offset)

    def snap_down(self, num_frames: int) -> int:
        """The longest `frame_step * k + frame_offset` within `num_frames`, for conditioning frames;
        1 if there is none, because a single picture is always a possible beginning."""
        steps = (num_frames - self.frame_offset) // self.frame_step
        return max(1, steps * self.frame_step + self.frame_offset)
