"""The routes of `/v1/models`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse

from app.api.documents import OPENAI_ERRORS
from app.api.openai.errors import ApiError
from app.api.parts import farm_of
from flows.model_catalog import revisions
from flows.model_catalog.revisions import ModelState

router = APIRouter(prefix="/v1/models", tags=["models"], responses=OPENAI_ERRORS)


@router.get("")
def list_models(request: Request) -> Response:
    """The models that videos can be made with now, and other names of them on this farm."""
    return JSONResponse({"object": "list", "data": list(_models(request).values())})


@router.get("/{name:path}")
def retrieve(request: Request, name: str) -> Response:
    """One model."""
    found = _models(request).get(name)
    if found is None:
        raise ApiError(404, f"There is no model {name!r} here.", param="model", code="not_found")
    return JSONResponse(found)


def _models(request: Request) -> dict[str, dict[str, Any]]:
    farm = farm_of(request)
    ready = {state.spec.name: state for state in revisions.states(farm) if state.revision}
    names = {name: name for name in ready}
    names |= {
        name: model for name, model in farm.settings.api_model_names.items() if model in ready
    }
    return {name: _object(name, ready[model]) for name, model in names.items()}


def _object(name: str, state: ModelState) -> dict[str, Any]:
    spec = state.spec
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "longreel",
        "renders_with": spec.name,
        "revision": state.revision,
        "licence": spec.licence,
        "sizes": [f"{width}x{height}" for width, height in spec.sizes],
        "size_multiple": spec.size_multiple,
        "fps": str(spec.native_fps),
        "segment_seconds": float(spec.max_frames / spec.native_fps),
        "sound": spec.sound,
        "renders_from": list(spec.calling.pipelines),
        "continuity": list(spec.continuity),
        "loras": spec.loras,
    }
