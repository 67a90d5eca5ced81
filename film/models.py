"""What planning and rendering need to know of a model: one `ModelSpec` row each, data only.

The rows are in film/families/; docs/add-a-model.md says how to add one.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

import msgspec

from film.types import Cache, Continuity, RenderFlags, Struct

Mode = Literal["text", "image", "first_last", "window"]
"""What a pipeline is given beside the prompt: nothing, the first picture, the first and the last
one, or the frames that it shall continue."""

Window = Literal["conditions", "vace", "video"]
"""How a pipeline takes the frames to continue: as a list of condition objects, as a video of which
a mask says what is to be made, or as a video that is the beginning of its own."""

MIXING: tuple[Window, ...] = ("conditions", "vace")
"""Ways in which frames at the beginning and a picture at the end can be given together."""


SINGLE = ".safetensors"
"""Ending of a file that holds a transformer; whatever else is local is a folder."""


class Calling(Struct, frozen=True, kw_only=True):
    """How diffusers is called for a model, where data can say it."""

    pipelines: dict[Mode, str]
    """Class for each mode; the one for `text` (else the first) is what the weights are loaded as,
    the others share its components."""
    arguments: dict[str, Any] = msgspec.field(default_factory=dict)
    """Arguments of every call, beside those that a job decides."""
    names: dict[str, str | None] = msgspec.field(default_factory=dict)
    """Their names for our arguments where they differ; None where it takes none such."""
    fps: str | None = None
    """Name of the argument for the rate, where it has one; it gets `native_fps`."""
    window: Window | None = None
    ends_anywhere: bool = False
    """Whether the last picture may lie at any of the frames that it renders; else it is the last of
    them, also where the film gets fewer."""
    end_frames: int = 1
    """Equal frames at the end that a last picture stands for (with `conditions`)."""
    returns_input: bool = False
    """Whether it gives the frames of a `window` as they were handed to it before its own video."""
    guider: bool = False
    """Whether its guidance is a component of the pipeline rather than an argument."""
    scheduler: dict[str, Any] = msgspec.field(default_factory=dict)
    """What its scheduler is told otherwise than the checkpoint says."""
    again: dict[str, Any] = msgspec.field(default_factory=dict)
    """What the pipelines of the other modes are to be told again, since it is no component."""
    decodes_last: bool = True
    """Whether nothing is denoised any more once decoding has begun."""
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
    """Name of the row whose way of calling it has, where the weights are others than the row's."""
    branch: str | None = None
    """Of its repository, where the weights are not on the main one."""
    licence: str
    licence_source: str = ""
    """Where that is said."""
    memory: str = ""
    """GPU memory that it needs, and who says so; empty where nobody is known to."""
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
    """Longest length where it keeps its own memory of what came before; 0 where it has none."""
    sizes: tuple[tuple[int, int], ...]
    """Width and height in pixels; the first is the default. All that it renders, unless it has a
    `size_multiple`."""
    size_multiple: int = 0
    """Any sides that are multiples of this; 0 means `sizes` only."""
    pixels: tuple[int, int] = (0, 0)
    """Fewest and most pixels of a picture, where `size_multiple` counts."""
    native_fps: Fraction
    """Rate it was trained at."""
    continuity: tuple[Continuity, ...]
    """How its segments can follow one another, best first."""
    overlap_frames: int
    """Conditioning frames carried over a seam; by the same rule as lengths."""
    echoes: bool = True
    """Whether what it renders begins with the conditioning frames, which are then dropped."""
    needs_image: bool = False
    """Whether it renders nothing without a first picture."""
    sound: bool = False
    """Whether it makes sound with the pictures."""
    num_inference_steps: int
    """Default."""
    guidance_scale: float
    """Default."""
    caches: tuple[Cache, ...] = ()
    """Those that diffusers has for its denoiser."""
    compiles: bool = False
    """Whether its denoiser has repeated blocks that diffusers compiles."""
    parallel: int = 0
    """Attention heads, which GPUs that render a segment together share out evenly; 0 where
    diffusers cannot have several of them do that."""
    tiles: bool = True
    """Whether its VAE can work in tiles."""
    flags: RenderFlags = RenderFlags()
    """Default."""
    buckets: int = 0
    """So many lengths are rendered at most, evenly apart; 0: all of them."""
    closed_world: bool = False
    """Knows the words of `film.demo_world` only; other prompts are reworded to the nearest."""
    loras: bool = True
    """Whether diffusers can load LoRAs into it."""
    single_file: bool = False
    """Whether its transformer can be loaded from a single file."""
    experts: bool = False
    """Whether it has two transformers, one for high noise and one for low noise."""

    def takes(self, given: int, *, last: bool) -> bool:
        """Whether it renders from so many frames at the beginning, and a picture at the end."""
        modes = self.calling.pipelines
        if last:
            # Who takes a list of conditions or a mask takes any of them together.
            return "first_last" in modes and (self.calling.window in MIXING or given == 1)
        if given == 0:
            return "text" in modes
        return "window" in modes or (given == 1 and "image" in modes)

    def mode(self, given: int, *, last: bool) -> Mode:
        """What its pipeline is given beside the prompt: `given` frames at the beginning, and
        perhaps a picture at the end."""
        if last:
            return "first_last"
        if given == 0:
            return "text"
        # Most models that can continue several frames can continue one.
        single = given == 1 and "image" in self.calling.pipelines
        return "image" if single or "window" not in self.calling.pipelines else "window"

    @property
    def bundled(self) -> bool:
        """Whether its weights are part of Longreel."""
        return self.source.startswith("package:")

    @property
    def local(self) -> bool:
        """Whether its weights are a folder or a file that the user named."""
        return self.source.startswith("/")

    @property
    def in_one_file(self) -> bool:
        """Whether its transformer is a file of the user's, and all else is the row's own."""
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
        """The longest `frame_step * k + frame_offset` within `num_frames`, for conditioning
        frames; 1 where that is none, since a single picture always is a beginning."""
        steps = (num_frames - self.frame_offset) // self.frame_step
        return max(1, steps * self.frame_step + self.frame_offset)
