"""What made a segment, as its take records it."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

import torch

from film.models import ModelSpec
from film.types import to_json
from renderer.pipeline.loading import Pipelines
from renderer.pipeline.memory_savings import Savings
from renderer.pipeline.render_state import Run

LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "ftfy", "numpy")


def made_by(
    spec: ModelSpec, pipelines: Pipelines, savings: Savings, run: Run, device: str
) -> dict[str, Any]:
    """Everything that decided the pixels of a run that has ended, and what it took."""
    job = run.job
    libraries = (*LIBRARIES, "torchao") if job.settings.flags.quantisation else LIBRARIES
    return {
        "model": job.settings.model,
        "revision": job.revision,
        "prompt": job.segment.prompt,
        "negative_prompt": job.settings.negative_prompt,
        "seed": job.segment.seed,
        "num_frames": job.segment.num_frames,
        "overlap_frames": job.segment.overlap_frames,
        "keep_frames": job.segment.keep_frames,
        "fps": str(job.fps),
        "num_inference_steps": job.settings.num_inference_steps,
        "guidance_scale": job.settings.guidance_scale,
        "rendered_size": f"{job.rendered_size[0]}x{job.rendered_size[1]}",
        "film_size": "{}x{}".format(*job.film_size),
        "flags": to_json(job.settings.flags),
        "dtype": str(pipelines.main.dtype).removeprefix("torch."),
        "scheduler": type(pipelines.main.scheduler).__name__,
        "scheduler_config": dict(spec.calling.scheduler),
        "memory_savings": list(savings.taken),
        "threads": torch.get_num_threads(),
        **({"compiled": True} if pipelines.compiled else {}),
        **(
            {"rendered_together": together}
            if (together := job.settings.flags.context_parallel)
            else {}
        ),
        **run.loras,
        **({"latents": "kept from an attempt before"} if run.replaying else {}),
        **_device(pipelines, device),
        **_times(run),
        **{name: version(name) for name in libraries},
    }


def _device(pipelines: Pipelines, device: str) -> dict[str, Any]:
    if device != "cuda":
        return {"device": f"{device}: {platform.machine()}"}
    return {
        "device": f"{device}: {torch.cuda.get_device_name()}",
        "offload": str(pipelines.offload),
        "peak_gpu_memory_bytes": torch.cuda.max_memory_allocated(),
    }


def _times(run: Run) -> dict[str, float]:
    """Seconds of each stage. A VAE that decodes waits for one that encodes, which counts too."""
    denoising = run.seconds - run.prompt_seconds - run.decode_seconds
    seconds = {
        "render": run.seconds,
        "prompt": run.prompt_seconds,
        "denoise": denoising,
        "decode": run.decode_seconds,
    }
    return {f"{stage}_seconds": round(value, 4) for stage, value in seconds.items()}
