"""A planned film as JSON, for `plan --json` and the HTTP API."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from film.flags import words
from film.types import FilmRequest, Plan, to_json


def plan_data(request: FilmRequest, plan: Plan, before: Collection[str]) -> dict[str, Any]:
    """What users are shown of a plan; `before` are the addresses that have a take already."""
    data: dict[str, Any] = to_json(_data(request, plan, before), order=None)
    return data


def _data(request: FilmRequest, plan: Plan, before: Collection[str]) -> dict[str, Any]:
    return {
        "title": request.title,
        "model": plan.model,
        "revision": plan.revision,
        "loras": plan.loras,
        "width": plan.width,
        "height": plan.height,
        "fps": plan.fps,
        "sound": plan.sound,
        "frames": plan.num_frames,
        "seconds": plan.seconds,
        "flags": words(request.settings.flags),
        "rendered_before": count_rendered(plan, before),
        "scenes": plan.scenes,
        "segments": [
            {
                "index": segment.index,
                "scene": segment.scene,
                "prompt": segment.prompt,
                "num_frames": segment.num_frames,
                "overlap_frames": segment.overlap_frames,
                "keep_frames": segment.keep_frames,
                "keyframes": segment.keyframes,
                "keyframe": segment.keyframe,
                "depends_on": [] if segment.continues is None else [segment.continues],
                "seed": segment.seed,
                "address": segment.address,
            }
            for segment in plan.segments
        ],
        "notices": plan.notices,
    }


def count_rendered(plan: Plan, before: Collection[str]) -> int:
    """How many of its segments have a take already."""
    return sum(segment.address in before for segment in plan.segments)
