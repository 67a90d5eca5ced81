"""What models can do, in the words of OpenAI's models and of OpenRouter's video models."""

from __future__ import annotations

from math import gcd
from typing import Any

from app.api.openai.fields import FIELDS
from film.models import ModelSpec
from film.settings import Settings
from flows.model_catalog.revisions import ModelState


def openai_model(name: str, state: ModelState, settings: Settings) -> dict[str, Any]:
    """A model as `/v1/models` shows it, under the `name` that clients give."""
    spec = state.spec
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "longreel",
        "renders_with": spec.name,
        "title": spec.title,
        "revision": state.revision,
        "licence": spec.licence,
        "sizes": _sizes(spec),
        "size_multiple": spec.size_multiple,
        "other_sizes": "scaled and cropped from the nearest of these",
        "fps": str(spec.native_fps),
        "segment_seconds": float(spec.max_frames / spec.native_fps),
        "max_seconds": settings.max_film_seconds,
        "sound": spec.sound,
        "needs_image": spec.needs_image,
        "references": [f"{frame}_image" for frame in ("first", "last") if _takes(spec, frame)],
        "renders_from": list(spec.calling.pipelines),
        "continuity": list(spec.continuity),
        "loras": spec.loras,
        "num_inference_steps": spec.num_inference_steps,
        "guidance_scale": spec.guidance_scale,
    }


def openrouter_model(name: str, state: ModelState, settings: Settings) -> dict[str, Any]:
    """A model as OpenRouter's list of video models shows it."""
    spec = state.spec
    return {
        "id": name,
        "canonical_slug": name,
        "name": spec.title,
        "created": 0,
        "supported_sizes": _sizes(spec),
        "supported_resolutions": sorted({f"{min(size)}p" for size in spec.sizes}),
        "supported_aspect_ratios": sorted({_ratio(*size) for size in spec.sizes}),
        # Any length: None rather than a list.
        "supported_durations": None,
        "max_duration": settings.max_film_seconds,
        "supported_frame_images": [
            f"{frame}_frame" for frame in ("first", "last") if _takes(spec, frame)
        ],
        "generate_audio": spec.sound,
        "seed": True,
        "allowed_passthrough_parameters": sorted(FIELDS),
    }


def _sizes(spec: ModelSpec) -> list[str]:
    return [f"{width}x{height}" for width, height in spec.sizes]


def _takes(spec: ModelSpec, frame: str) -> bool:
    if frame == "last":
        return any(spec.takes(given, last=True) for given in (0, 1))
    return spec.takes(1, last=False)


def _ratio(width: int, height: int) -> str:
    common = gcd(width, height)
    return f"{width // common}:{height // common}"
