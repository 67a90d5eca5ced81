"""Frames that a segment continues: handed to the pipeline, and found again in what it gives."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from PIL import Image

from film.models import Mode, ModelSpec
from film.types import RenderJob
from renderer.protocol import Frames

GAIN = 0.25
"""Largest change of the colours, as a share, whatever the echo shows."""
OFFSET = 24.0
"""Nor by more levels of 255."""


def mode_of(spec: ModelSpec, before: Frames | None, last: Frames | None) -> Mode:
    """What the pipeline receives in addition to the prompt."""
    return spec.mode(0 if before is None else len(before), last=last is not None)


def arguments(
    spec: ModelSpec, pipeline: Any, job: RenderJob, before: Frames | None, last: Frames | None
) -> dict[str, Any]:
    """Arguments of the pipeline's call that hand it the frames before it and its last picture."""
    mode = mode_of(spec, before, last)
    if mode == "text":
        return {}
    first = [] if before is None else [Image.fromarray(frame) for frame in before]
    end = [] if last is None else [Image.fromarray(frame) for frame in last]
    if spec.calling.window == "conditions":
        return {"conditions": _conditions(spec, pipeline, job, first, end)}
    if spec.calling.window == "vace":
        return _masked(spec, job, first, end)
    if mode in ("image", "first_last"):
        return {"image": first[-1], **({"last_image": end[-1]} if end else {})}
    return {"video": first, **_history(spec, pipeline, len(first))}


def _conditions(
    spec: ModelSpec,
    pipeline: Any,
    job: RenderJob,
    first: list[Image.Image],
    end: list[Image.Image],
) -> list[Any]:
    # diffusers exports the classes of conditions in the module of their pipelines.
    module = inspect.getmodule(type(pipeline))
    kind: Any = next(kind for name, kind in vars(module).items() if name.endswith("VideoCondition"))
    if "frames" in inspect.signature(kind).parameters:
        # Places are counted in latents; of a single picture it would make a compressed copy first.
        places = ((first, 0), (end, -1))
        return [kind(frames=frames, index=place, crf=0) for frames, place in places if frames]
    held = spec.calling.end_frames
    places = ((first, 0), (end * held, _end_of(spec, job) + 1 - held))
    return [kind(video=frames, frame_index=place) for frames, place in places if frames]


def _masked(
    spec: ModelSpec, job: RenderJob, first: list[Image.Image], end: list[Image.Image]
) -> dict[str, Any]:
    """A video whose white part is to be made, around the frames that are given."""
    size = job.rendered_size[0], job.rendered_size[1]
    keep, make = (Image.new("L", size, level) for level in (0, 255))
    video, mask = (
        [Image.new("RGB", size, (128, 128, 128))] * job.segment.num_frames,
        [make] * job.segment.num_frames,
    )
    given = dict(enumerate(first)) | ({_end_of(spec, job): end[-1]} if end else {})
    for place, frame in given.items():
        video[place], mask[place] = frame, keep
    return {"video": video, "mask": mask}


def _end_of(spec: ModelSpec, job: RenderJob) -> int:
    """The frame for the last picture: the segment's last in the film if the picture may be anywhere
    (frames rendered after it are dropped), else the last that is rendered."""
    if spec.calling.ends_anywhere and not job.segment.keyframes:
        return job.segment.overlap_frames + job.segment.keep_frames - 1
    return job.segment.num_frames - 1


def _history(spec: ModelSpec, pipeline: Any, count: int) -> dict[str, Any]:
    """The number of frames that count, for the pipelines that take it as an argument."""
    known = inspect.signature(type(pipeline).__call__).parameters
    told = {
        "overlap_history": count,
        "num_latent_conditional_frames": (count - 1) // spec.frame_step + 1,
    }
    return {name: value for name, value in told.items() if name in known}


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
    # A flat picture does not show the gain.
    gain = float(wanted.std()) / spread if spread > 1.0 else 1.0
    gain = min(max(gain, 1 - GAIN), 1 + GAIN)
    middle = float(seen.mean())
    shift = float(wanted.mean()) - middle
    return gain, middle * (1 - gain) + min(max(shift, -OFFSET), OFFSET)
