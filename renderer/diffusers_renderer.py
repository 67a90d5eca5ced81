"""The generic renderer: any diffusers pipeline that a `FamilyRow` describes."""

from __future__ import annotations

import gc
import inspect
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from diffusers import DiffusionPipeline
from PIL import Image

from film.errors import BadPictureError, OutOfMemoryError, RenderError, WorkerLostError
from film.models import find_model
from film.types import RenderJob
from renderer.base import Frames, OnStep
from renderer.catalog import FAMILIES, FamilyRow, model_folder


class DiffusersRenderer:
    """One pipeline, loaded once and kept warm."""

    def __init__(self, model: str, threads: int) -> None:
        """Loads `model` onto the GPU where there is one, else the CPU with `threads` threads.

        Raises `RenderError` where the folder holds another pipeline than the model's row says.
        """
        spec = find_model(model)
        torch.set_num_threads(threads)
        for library in (diffusers, transformers):
            library.utils.logging.set_verbosity_error()
            library.utils.logging.disable_progress_bar()
        self._row: FamilyRow = FAMILIES[spec.name]
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        # Memory-mapped weights are not aligned, which changes the last bits of CPU arithmetic.
        self._pipeline: Any = DiffusionPipeline.from_pretrained(
            model_folder(spec),
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            disable_mmap=True,
        )
        found = type(self._pipeline).__name__
        if found != self._row.pipeline:
            raise RenderError(f"The model {model!r} is a {found}, not a {self._row.pipeline}.")
        self._pipeline.set_progress_bar_config(disable=True)
        self._pipeline.to(self._device)
        self._savings: tuple[str, ...] = ()

    def render(self, job: RenderJob, conditioning: Frames | None, on_step: OnStep) -> Frames:
        """See `Renderer.render`; once memory has run out, it goes on with less of it."""
        video = self._run(job, conditioning, on_step)
        if video is None:
            self._save_memory()
            video = self._run(job, conditioning, on_step)
        if video is None:
            savings = ", ".join(self._savings) or "nothing to save it with"
            raise OutOfMemoryError(
                f"The {self._device} has too little memory for {job.num_frames} frames of "
                f"{job.width}x{job.height}, also with {savings}; a worker with more memory is "
                f"needed, or a smaller size."
            )
        return self._kept(job, video)

    def _run(
        self, job: RenderJob, conditioning: Frames | None, on_step: OnStep
    ) -> torch.Tensor | None:
        """The video as the pipeline gives it, None where memory ran out and can be saved.

        Nothing of a failed attempt is alive when this returns, since its traceback is not.
        """
        arguments = self._arguments(job, conditioning, on_step)
        try:
            with torch.inference_mode():
                video: torch.Tensor = self._pipeline(**arguments).frames[0]
                return video
        except (RuntimeError, MemoryError) as error:
            if _is_out_of_memory(error):
                return None
            if "CUDA error" in str(error):  # its context is lost, and with it this process
                raise WorkerLostError(f"The GPU failed: {error}") from error
            raise

    def _save_memory(self) -> None:
        """From now on slower, in pieces; which ways there are depends on the pipeline."""
        vae = getattr(self._pipeline, "vae", None)
        ways = {"enable_tiling": "VAE tiling", "enable_slicing": "VAE slicing"}
        savings = []
        for method, name in ways.items():
            if hasattr(vae, method):
                getattr(vae, method)()
                savings.append(name)
        if self._device == "cuda" and "offload" not in self._savings:
            self._pipeline.enable_model_cpu_offload()
            savings.append("offload")
        self._savings = tuple(dict.fromkeys([*self._savings, *savings]))
        gc.collect()
        if self._device == "cuda":
            torch.cuda.empty_cache()

    def made_by(self) -> dict[str, Any]:
        """See `Renderer.made_by`."""
        device = torch.cuda.get_device_name() if self._device == "cuda" else platform.machine()
        return {
            "device": f"{self._device}: {device}",
            "threads": torch.get_num_threads(),
            "scheduler": type(self._pipeline.scheduler).__name__,
            # These change the last bits, and tiling a little more.
            "memory_savings": list(self._savings),
            **{name: version(name) for name in ("torch", "diffusers", "transformers")},
        }

    def _arguments(
        self, job: RenderJob, conditioning: Frames | None, on_step: OnStep
    ) -> dict[str, Any]:
        def after_step(_pipe: Any, step: int, _time: Any, tensors: Any) -> Any:
            on_step(step + 1, job.num_inference_steps)
            return tensors

        arguments = {
            "prompt": job.prompt,
            "negative_prompt": job.negative_prompt,
            "width": job.width,
            "height": job.height,
            "num_frames": job.num_frames,
            "num_inference_steps": job.num_inference_steps,
            "guidance_scale": job.guidance_scale,
            # On the CPU, so that a seed means the same noise on every device.
            "generator": torch.Generator("cpu").manual_seed(job.seed),
            "output_type": "pt",
            "callback_on_step_end": after_step,
            **self._row.arguments,
        }
        if conditioning is not None:
            arguments["conditions"] = [self._condition(conditioning)]
        _require_known(self._pipeline, arguments)
        return arguments

    def _condition(self, frames: Frames) -> Any:
        if self._row.condition is None:
            raise RenderError(f"{self._row.pipeline} takes no conditioning frames.")
        # diffusers exports the classes of conditions beside the pipelines they belong to.
        module = inspect.getmodule(type(self._pipeline))
        condition = getattr(module, self._row.condition)
        return condition(video=[Image.fromarray(frame) for frame in frames], frame_index=0)

    def _kept(self, job: RenderJob, video: torch.Tensor) -> Frames:
        """The frames after the echoed overlap as bytes; `video` is (frames, 3, height, width)."""
        if not bool(torch.isfinite(video).all()):
            raise BadPictureError(
                f"The model {job.model!r} gave non-finite pictures for seed {job.seed}."
            )
        if len(video) != job.num_frames:
            raise RenderError(
                f"The model {job.model!r} gave {len(video)} frames instead of {job.num_frames}."
            )
        kept = video[job.overlap_frames : job.overlap_frames + job.keep_frames]
        pictures = (kept.float().clamp(0, 1) * 255).round().to(torch.uint8)
        return np.ascontiguousarray(pictures.permute(0, 2, 3, 1).cpu().numpy())


def _is_out_of_memory(error: Exception) -> bool:
    """On a CPU torch raises a plain `RuntimeError`, which only its text tells apart."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return any(sign in text for sign in ("out of memory", "allocate memory", "not enough memory"))


def _require_known(pipeline: Any, arguments: Mapping[str, Any]) -> None:
    """Raises `RenderError` on an argument the pipeline lacks; some would swallow it silently."""
    known = inspect.signature(type(pipeline).__call__).parameters
    unknown = arguments.keys() - known.keys()
    if unknown:
        raise RenderError(f"{type(pipeline).__name__} does not take {', '.join(sorted(unknown))}.")
