"""Presets: named sets of a film's options."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app.api.own.answers import json_answer, polled_answer
from app.api.parts import actions_of
from app.api.schemas import schema_of
from db.presets import PresetRow

router = APIRouter(prefix="/presets", tags=["presets"])


class Presets(BaseModel):
    """All presets."""

    items: list[schema_of(PresetRow)]  # type: ignore[valid-type]


class NewPreset(BaseModel):
    """What a preset is to hold."""

    model_config = {"extra": "forbid"}
    options: dict[str, Any] = Field(
        description="A film's options by the keys of campaign files.",
        examples=[{"size": "48x32", "num_inference_steps": 4}],
    )
    note: Annotated[str, Field(max_length=500)] = ""


@router.get("", response_model=Presets)
def list_presets(request: Request) -> Response:
    """The presets by name."""
    return polled_answer(request, {"items": actions_of(request).presets()})


@router.put("/{name}", response_model=schema_of(PresetRow))
def put(request: Request, name: str, wanted: NewPreset) -> Response:
    """Adds a preset, or replaces the one of this name. Films name it as `preset`."""
    return json_answer(actions_of(request).put_preset(name, wanted.options, wanted.note))


@router.delete("/{name}")
def remove(request: Request, name: str) -> Response:
    """Removes a preset. Films that were made with it stay as they are."""
    actions_of(request).remove_preset(name)
    return json_answer({"removed": name})
