"""The generic renderer: any diffusers pipeline that a model's row describes."""

from __future__ import annotations

import inspect
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import transformers

from film.errors import BadPictureError, OutOfMemoryError, RenderError, WorkerLostError
from film.models import ModelSpec
from film.types import RenderJob
from renderer import conditioning as conditions
from renderer.base import Frames, OnStep
from renderer.memory import GuardedDecoding, Savings, is_out_of_memory
from renderer.pipelines import Pipelines


class DiffusersRenderer:
    """One model, loaded once and kept warm."""

    def __init__(self, spec: ModelSpec, folder: Path, threads: int) -> None:
        """Loads the weights in `folder` onto the GPU where there is one, else the CPU with
        `threads` threads.

        Raises `RenderError` where the folder holds another pipeline than the model's row says.
        """
        self._spec = spec
        torch.set_num_threads(threads)
        for library in (diffusers, transformers):
            library.utils.logging.set_verbosity_error()
            library.utils.logging.disable_progress_bar()
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._pipelines = Pipelines(spec, folder, self._device)
        self._savings = Savings(self._pipelines.main, self._device)
        self._decoding = GuardedDecoding(self._pipelines.main, self._savings)

    def render(
        self,
        job: RenderJob,
        conditioning: Frames | None,
        on_step: OnStep,
        last: Frames | None = None,
    ) -> Frames:
        """See `Renderer.render`; where memory runs out, it goes on with less of it."""
        self._decoding.seconds = 0.0
        while True:
            video = self._run(job, conditioning, last, on_step)
            if video is not None:
                return self._kept(job, conditioning, video)
            if not self._savings.take_next():
                savings = ", ".join(self._savings.taken) or "nothing to save it with"
                raise OutOfMemoryError(
                    f"The {self._device} has too little memory for {job.num_frames} frames of "
                    f"{job.width}x{job.height}, also with {savings}; a worker with more memory "
                    f"is needed, or a smaller size."
                )

    def _run(
        self, job: RenderJob, conditioning: Frames | None, last: Frames | None, on_step: OnStep
    ) -> torch.Tensor | None:
        """The video as the pipeline gives it, `(frames, 3, height, width)`; None where memory
        ran out.

        Nothing of a failed attempt is alive when this returns, since its traceback is not.
        """
        mode = conditions.mode_of(self._spec, conditioning, last)
        pipeline = self._pipelines.of(mode)
        if self._spec.calling.guider:
            pipeline.guider = type(pipeline.guider)(guidance_scale=job.guidance_scale)
        arguments = call_arguments(self._spec, pipeline, job, conditioning, last)
        try:
            with torch.inference_mode(), _counting(pipeline, arguments, job, on_step):
                video = _frames_of(pipeline(**arguments))
        except BadPictureError as error:
            raise BadPictureError(
                f"The model {job.model!r} gave {error} for seed {job.seed}."
            ) from error
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                return None
            if "CUDA error" in str(error):  # its context is lost, and with it this process
                raise WorkerLostError(f"The GPU failed: {error}") from error
            raise

        again = mode == "window" and self._spec.calling.returns_input
        return video[len(conditioning) if again and conditioning is not None else 0 :]

    def made_by(self, job: RenderJob) -> dict[str, Any]:
        """See `Renderer.made_by`."""
        device = torch.cuda.get_device_name() if self._device == "cuda" else platform.machine()
        return {
            "model": job.model,
            "revision": job.revision,
            "seed": job.seed,
            "num_inference_steps": job.num_inference_steps,
            "guidance_scale": job.guidance_scale,
            "rendered_size": f"{job.width}x{job.height}",
            "dtype": str(self._pipelines.main.dtype).removeprefix("torch."),
            "decode_seconds": round(self._decoding.seconds, 4),
            "device": f"{self._device}: {device}",
            "threads": torch.get_num_threads(),
            "scheduler": type(self._pipelines.main.scheduler).__name__,
            "memory_savings": list(self._savings.taken),
            "scheduler_config": dict(self._spec.calling.scheduler),
            **{name: version(name) for name in ("torch", "diffusers", "transformers", "ftfy")},
        }

    def _kept(self, job: RenderJob, before: Frames | None, video: torch.Tensor) -> Frames:
        """The frames after the echoed overlap as bytes, in the colours of what they continue."""
        if not bool(torch.isfinite(video).all()):
            raise BadPictureError(
                f"The model {job.model!r} gave non-finite pictures for seed {job.seed}."
            )
        if len(video) != job.num_frames:
            raise RenderError(
                f"The model {job.model!r} gave {len(video)} frames instead of {job.num_frames}."
            )
        height, width = video.shape[-2:]
        if (width, height) != (job.width, job.height):
            raise RenderError(
                f"The model {job.model!r} gave {width}x{height} pixels instead of "
                f"{job.width}x{job.height}."
            )
        pictures = (video.float().clamp(0, 1) * 255).round().to(torch.uint8)
        frames = np.ascontiguousarray(pictures.permute(0, 2, 3, 1).cpu().numpy())
        echo = job.overlap_frames if self._spec.echoes else 0
        kept = frames if job.keyframes else frames[echo : echo + job.keep_frames]
        by_keyframes = job.keyframes or job.keyframe is not None
        if before is None or not (job.overlap_frames or by_keyframes):
            return kept
        if by_keyframes:  # the first is the keyframe's echo, whether or not it is dropped
            return conditions.match_colours(kept, frames[:1], before[-1:])
        if not echo:  # its first new frame is the nearest to the last one before it
            return conditions.match_colours(kept, frames[:1], before[-1:])
        return conditions.match_colours(kept, frames[:echo], before)


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
        "prompt": job.prompt,
        "negative_prompt": job.negative_prompt,
        "width": job.width,
        "height": job.height,
        "num_frames": job.num_frames,
        "num_inference_steps": job.num_inference_steps,
        "guidance_scale": job.guidance_scale,
        # On the CPU, so that a seed means the same noise on every device.
        "generator": torch.Generator("cpu").manual_seed(job.seed),
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
def _counting(
    pipeline: Any, arguments: dict[str, Any], job: RenderJob, on_step: OnStep
) -> Iterator[None]:
    """Tells `on_step` of each denoising step, whether or not the pipeline has a callback for it."""
    done = 0

    def step_is_done() -> None:
        nonlocal done
        done += 1
        # A family that renders in chunks makes that many steps for each of them.
        on_step(done, max(done, job.num_inference_steps))

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


def _frames_of(output: Any) -> torch.Tensor:
    """The first video of a pipeline's output, `(frames, 3, height, width)`, 0 to 1."""
    frames = output.frames[0]
    return torch.stack(list(frames)) if isinstance(frames, list | tuple) else frames
