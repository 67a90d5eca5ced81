"""The `Renderer` Protocol and the values that leave a rendering process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from film.types import RenderJob, Struct

Frames = NDArray[np.uint8]
"""Pictures: `(frames, height, width, 3) uint8`, RGB."""

OnStep = Callable[[int, int], None]
"""Told after each denoising step how many of how many are done; may raise `Cancelled`."""


class Renderer(Protocol):
    """A warm model that renders one job at a time (pipelines are not thread-safe)."""

    def render(
        self,
        job: RenderJob,
        conditioning: Frames | None,
        on_step: OnStep,
        last: Frames | None = None,
    ) -> Frames:
        """The `job.keep_frames` pictures that the segment gives, or all that an anchor renders.

        `conditioning` are the `job.overlap_frames` frames before it, or where there are none the
        one picture that it begins with; `last` is the one that it ends with. The same job gives
        the same bytes on the same machine. Raises `RenderError`, or what `on_step` raises.
        """
        ...

    def made_by(self, job: RenderJob) -> dict[str, Any]:
        """What decided the pixels of the job just rendered: model, seed, versions, device, threads;
        and the seconds that decoding took."""
        ...


class Rendered(Struct, frozen=True, kw_only=True):
    """A segment rendered and encoded, as files on this machine."""

    video_path: str
    tail_path: str
    num_frames: int
    made_by: dict[str, Any]
    """`Take.made_by`, with the seconds of each stage."""
