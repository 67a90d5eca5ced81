"""Campaigns written in the form in which `film.reading.campaign` reads them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from film.types import Campaign, FilmRequest, Lora, SceneRequest, to_json


def write_campaign(campaign: Campaign) -> str:
    """The campaign as JSON that reads as the same campaign, whatever the reader's time zone is.

    Notices are left out: they come from reading.
    """
    data = {
        "name": campaign.name,
        "priority": campaign.priority,
        "deadline": None if campaign.deadline is None else _time(campaign.deadline),
        "max_workers": campaign.max_workers,
        "budget": campaign.budget_seconds,
        "over_budget": campaign.over_budget,
        "films": [_film(request) for request in campaign.films],
    }
    return json.dumps(_filled(data), ensure_ascii=False)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _film(request: FilmRequest) -> dict[str, Any]:
    settings = request.settings
    return _filled(
        {
            "title": request.title,
            "prompt": request.prompt,
            "scenes": [_scene(scene) for scene in request.scenes],
            "seconds": request.seconds and str(request.seconds),
            "size": f"{request.width}x{request.height}",
            "fps": str(request.fps),
            "model": settings.model,
            "seed": settings.seed,
            "negative_prompt": settings.negative_prompt,
            "num_inference_steps": settings.num_inference_steps,
            "guidance_scale": settings.guidance_scale,
            "continuity": settings.continuity,
            "flags": to_json(settings.flags),
            "loras": [_lora(lora) for lora in settings.loras],
            "tags": list(request.tags),
            "image": request.image,
            "last_image": request.last_image,
            "sound": request.sound,
        }
    )


def _scene(scene: SceneRequest) -> dict[str, Any]:
    return _filled(
        {
            "prompt": scene.prompt,
            "seconds": scene.seconds and str(scene.seconds),
            "seed": scene.seed,
            "seam": scene.seam,
            "continuity": scene.continuity,
            "image": scene.image,
            "last_image": scene.last_image,
        }
    )


def _lora(lora: Lora) -> dict[str, Any]:
    return _filled({"source": lora.name, "weight": lora.weight, "expert": lora.expert})


def _filled(data: dict[str, Any]) -> dict[str, Any]:
    """`data` without the keys that have no value; false and zero are values."""
    return {key: value for key, value in data.items() if value not in (None, "", [], {})}
