"""Words that the rows of all families share."""

from __future__ import annotations

from typing import Any

from film.models import ModelSpec
from film.types import Cache, Continuity

HUB = "https://huggingface.co/"
WINDOW, LAST, CUT, LONG, KEYS = (
    Continuity.TAIL_WINDOW,
    Continuity.LAST_FRAME,
    Continuity.CUT,
    Continuity.NATIVE_LONG,
    Continuity.KEYFRAMES,
)

FIRST, TAYLOR, PYRAMID = Cache.FIRST_BLOCK, Cache.TAYLORSEER, Cache.PYRAMID

AREA_480P, AREA_720P = (256 * 256, 832 * 480), (256 * 256, 1280 * 720)


def like(spec: ModelSpec, name: str, title: str, source: str, **changes: Any) -> ModelSpec:
    """Another checkpoint of a family. Its licence is on the page of its weights."""
    return spec.replace(
        name=name, title=title, source=source, licence_source=HUB + source, **changes
    )
