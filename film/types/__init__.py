"""The frozen values that flow from a prompt to a film, and every status.

Each value is a msgspec struct: immutable, typed, and exact in JSON, which is how it crosses
process boundaries and lies in the database. Durations are counted in frames; rates are exact
fractions.
"""

from __future__ import annotations

from film.types.base import Struct, counted, from_json, parse_fraction, to_json
from film.types.flags import Cache, Offload, Quantisation, RenderFlags
from film.types.jobs import JobFiles, LoraFile, RenderJob
from film.types.plans import Plan, Scene, Segment
from film.types.requests import (
    Campaign,
    Continuity,
    Expert,
    FilmRequest,
    Lora,
    RenderSettings,
    SceneRequest,
    Seam,
)
from film.types.results import (
    Delivery,
    FilmSound,
    SeamReport,
    SegmentEnd,
    Take,
    VideoContents,
)
from film.types.states import FilmStatus, Hold, OverBudget, RunOutcome, SegmentStatus

__all__ = [
    "Cache",
    "Campaign",
    "Continuity",
    "Delivery",
    "Expert",
    "FilmRequest",
    "FilmSound",
    "FilmStatus",
    "Hold",
    "JobFiles",
    "Lora",
    "LoraFile",
    "Offload",
    "OverBudget",
    "Plan",
    "Quantisation",
    "RenderFlags",
    "RenderJob",
    "RenderSettings",
    "RunOutcome",
    "Scene",
    "SceneRequest",
    "Seam",
    "SeamReport",
    "Segment",
    "SegmentEnd",
    "SegmentStatus",
    "Struct",
    "Take",
    "VideoContents",
    "counted",
    "from_json",
    "parse_fraction",
    "to_json",
]
