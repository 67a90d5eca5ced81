"""Frames that a segment continues: handed to the pipeline, and found again in what it gives."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from PIL import Image

from film.models import Mode, ModelSpec
from film.types import RenderJob
from renderer.base import Frames

GAIN = 0.25
"""Colours are changed by no more than this part, whatever the echo says."""
OFFSET = 24.0
"""Nor by more levels of 255."""


def mode_of(spec: ModelSpec, conditioning: Frames | None) -> Mode:
    """What the pipeline is given beside the prompt."""
    if conditioning is None:
        return "text"
    # Most models that can continue several frames can continue one.
    single = len(conditioning) == 1 and "image" in spec.calling.pipelines
    return "image" if single or "window" not in spec.calling.pipelines else "window"


def arguments(
    spec: ModelSpec, pipeline: Any, job: RenderJob, conditioning: Frames
) -> dict[str, Any]:
    """Arguments of the pipeline's call that hand it the frames to continue."""
    frames = [Image.fromarray(frame) for frame in conditioning]
    if mode_of(spec, conditioning) == "image":
        return {"image": frames[-1]}
    if spec.calling.window == "conditions":
        return {"conditions": [_condition(pipeline, frames)]}
    if spec.calling.window == "vace":
        return _masked(job, frames)
    more = {}
    known = inspect.signature(type(pipeline).__call__).parameters
    if "overlap_history" in known:
        more["overlap_history"] = len(frames)
    if "num_latent_conditional_frames" in known:
        more["num_latent_conditional_frames"] = (len(frames) - 1) // spec.frame_step + 1
    return {"video": frames, **more}


def _condition(pipeline: Any, frames: list[Image.Image]) -> Any:
    # diffusers exports the classes of conditions beside the pipelines they belong to.
    module = inspect.getmodule(type(pipeline))
    kind: Any = next(kind for name, kind in vars(module).items() if name.endswith("VideoCondition"))
    if "frames" in inspect.signature(kind).parameters:
        # Of a single picture it would make a compressed copy first.
        return kind(frames=frames, index=0, crf=0)
    return kind(video=frames, frame_index=0)


def _masked(job: RenderJob, frames: list[Image.Image]) -> dict[str, Any]:
    """A video whose white part is to be made, after the frames that are given."""
    rest = job.num_frames - len(frames)
    grey = Image.new("RGB", (job.width, job.height), (128, 128, 128))
    keep, make = (Image.new("L", (job.width, job.height), level) for level in (0, 255))
    return {"video": [*frames, *[grey] * rest], "mask": [keep] * len(frames) + [make] * rest}


def match_colours(pictures: Frames, echo: Frames, before: Frames) -> Frames:
    """`pictures` in the colours of `before`, the frames that `echo` repeats.

    Encoding and decoding the frames that a segment continues shifts their colours a little, and
    what follows with them; over a chain that adds up. Both show the same, so the shift is
    measured: for each channel the gain and offset that give the echo the mean and the standard
    deviation of what it repeats (Reinhard et al., Color Transfer between Images, 2001), within
    bounds. All are `(frames, height, width, 3) uint8`.
    """
    matched = np.empty_like(pictures)
    for channel in range(3):
        gain, offset = _fit(echo[..., channel], before[..., channel])
        levels = np.arange(256, dtype=np.float64) * gain + offset
        matched[..., channel] = np.clip(np.rint(levels), 0, 255).astype(np.uint8)[
            pictures[..., channel]
        ]
    return matched


def _fit(seen: Frames, wanted: Frames) -> tuple[float, float]:
    spread = float(seen.std())
    # A flat picture says nothing of the gain.
    gain = float(wanted.std()) / spread if spread > 1.0 else 1.0
    gain = min(max(gain, 1 - GAIN), 1 + GAIN)
    middle = float(seen.mean())
    shift = float(wanted.mean()) - middle
    return gain, middle * (1 - gain) + min(max(shift, -OFFSET), OFFSET)
