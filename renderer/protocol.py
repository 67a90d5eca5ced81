"""The `Renderer` Protocol and the values that leave a rendering process."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from film.types import RenderFlags, RenderJob, Struct, VideoContents

Frames = NDArray[np.uint8]
"""Pictures: `(frames, height, width, 3) uint8`, RGB."""

OnStep = Callable[[int, int], None]
"""Called after each denoising step with (completed, total) steps; may raise `Cancelled`."""


class Setup(Struct, frozen=True, kw_only=True):
    """What a rendering process is started with, in addition to the model's row."""

    folder: Path
    """The folder of the weights."""
    threads: int
    """Number of CPU threads."""
    flags: RenderFlags = RenderFlags()
    """Those that hold for all its jobs (`film.flags.at_loading`)."""
    revision: str = ""
    """Digest of the weights."""
    overlap: bool | None = None
    """True if one segment is decoded while the next is denoised; None if the GPU's memory
    decides."""
    home: Path | None = None
    """The folder for encoded prompts and latents, None for nowhere."""


@dataclass(frozen=True)
class Sound:
    """The sound of a segment. It leaves the rendering process as a file only."""

    samples: NDArray[np.float32]
    """`(samples, channels)`, -1 to 1."""
    rate: int
    """Samples a second."""
    lead: int = 0
    """Samples before the first kept frame: what was made to the echoed ones."""


@dataclass(frozen=True)
class Footage:
    """The pictures that a segment gives, and the sound that belongs to them."""

    frames: Frames
    sound: Sound | None = None
    """None if the model creates none, or no frame is kept."""
    made_by: dict[str, Any] = field(default_factory=dict)
    """What decided the pixels (model, seed, flags, versions, device, threads) and the seconds of
    each stage."""


@dataclass(frozen=True)
class RenderInputs:
    """What a renderer is given for a job, besides the job."""

    first: Frames | None
    """The `overlap_frames` frames before the segment, or, if there are none, the one picture that
    it begins with."""
    on_step: OnStep
    last: Frames | None = None
    """The picture that it ends with, as one frame."""


class Renderer(Protocol):
    """A warm model that renders one job after another (pipelines are not thread-safe)."""

    def start(self, job: RenderJob, inputs: RenderInputs) -> Future[Footage]:
        """Renders `job`; returns when the next one may be started, from the same thread.

        The footage has the `keep_frames` frames of the segment, or all frames of an anchor, and the
        sound. The same job returns the same bytes on the same machine. Raises `RenderError`, or
        what `on_step` raises, and so may the future.
        """
        ...


class Rendered(Struct, frozen=True, kw_only=True):
    """A segment rendered and encoded, as files on this machine."""

    video_path: str
    tail_path: str
    num_frames: int
    contents: VideoContents
    """What the encoded frames are, from decoding all of them."""
    made_by: dict[str, Any]
    """`Take.made_by`, with the seconds of each stage."""
    sound_path: str | None = None
    sound_lead: int = 0
    """See `Take.sound_lead`."""
