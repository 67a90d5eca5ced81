"""A pipeline's call: its arguments from a job, its steps counted, its video found in the output."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from film.errors import RenderError
from film.models import ModelSpec
from film.types import RenderJob
from renderer.pipeline import conditioning as conditions
from renderer.protocol import Frames, OnStep


def call_arguments(
    spec: ModelSpec,
    pipeline: Any,
    job: RenderJob,
    conditioning: Frames | None,
    last: Frames | None = None,
) -> dict[str, Any]:
    """The arguments of the pipeline's call.

    Raises `RenderError` on one that it does not take: some would swallow it silently.
    """
    calling = spec.calling
    ours: dict[str, Any] = {
        "prompt": job.segment.prompt,
        "negative_prompt": job.settings.negative_prompt,
        "width": job.rendered_size[0],
        "height": job.rendered_size[1],
        "num_frames": job.segment.num_frames,
        "num_inference_steps": job.settings.num_inference_steps,
        "guidance_scale": job.settings.guidance_scale,
        # On the CPU, so that a seed means the same noise on every device.
        "generator": torch.Generator("cpu").manual_seed(job.segment.seed),
    }
    names = {key: calling.names.get(key, key) for key in ours}
    arguments = {name: ours[key] for key, name in names.items() if name is not None}
    arguments |= {"output_type": "pt", **calling.arguments}
    if calling.fps:
        # Always the one that it was trained at: the rate enters the position embedding.
        arguments[calling.fps] = _number(spec)
    arguments |= conditions.arguments(spec, pipeline, job, conditioning, last)
    _require_known(pipeline, arguments)
    return arguments


def _number(spec: ModelSpec) -> int | float:
    rate = spec.native_fps
    return rate.numerator if rate.denominator == 1 else float(rate)


def _require_known(pipeline: Any, arguments: Mapping[str, Any]) -> None:
    known = inspect.signature(type(pipeline).__call__).parameters
    unknown = arguments.keys() - known.keys()
    if unknown:
        raise RenderError(f"{type(pipeline).__name__} does not take {', '.join(sorted(unknown))}.")


@contextmanager
def counting(
    pipeline: Any, arguments: dict[str, Any], job: RenderJob, on_step: OnStep
) -> Iterator[None]:
    """Calls `on_step` after each denoising step, also if the pipeline has no callback for it."""
    done = 0

    def step_is_done() -> None:
        nonlocal done
        done += 1
        # A family that renders in chunks makes that many steps for each of them.
        on_step(done, max(done, job.settings.num_inference_steps))

    if "callback_on_step_end" in inspect.signature(type(pipeline).__call__).parameters:

        def after_step(_pipe: Any, _step: int, _time: Any, tensors: Any) -> Any:
            step_is_done()
            return tensors

        arguments["callback_on_step_end"] = after_step
        yield
        return
    scheduler = pipeline.scheduler
    step = scheduler.step

    def counted(*values: Any, **named: Any) -> Any:
        result = step(*values, **named)
        step_is_done()
        return result

    scheduler.step = counted
    try:
        yield
    finally:
        del scheduler.step


def frames_of(output: Any) -> torch.Tensor:
    """The first video of a pipeline's output, `(frames, 3, height, width)`, 0 to 1."""
    frames = output.frames[0]
    return torch.stack(list(frames)) if isinstance(frames, list | tuple) else frames
