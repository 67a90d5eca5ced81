"""The routes of `/v1/models`, and `/v1/videos/models`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse

from app.api.documents import OPENAI_ERRORS
from app.api.openai.capabilities import openai_model, openrouter_model
from app.api.openai.errors import ApiError
from app.api.parts import farm_of
from flows.farm import Farm
from flows.model_catalog import revisions
from flows.model_catalog.revisions import ModelState

router = APIRouter(prefix="/v1", tags=["models"], responses=OPENAI_ERRORS)


@router.get("/models")
def list_models(request: Request) -> Response:
    """Lists the models that videos can be made with now, and other names of them on this farm."""
    farm = farm_of(request)
    found = [openai_model(name, state, farm.settings) for name, state in _ready(farm).items()]
    return JSONResponse({"object": "list", "data": found})


@router.get("/videos/models")
def list_video_models(request: Request) -> Response:
    """Lists the same models as OpenRouter does."""
    farm = farm_of(request)
    found = [openrouter_model(name, state, farm.settings) for name, state in _ready(farm).items()]
    return JSONResponse({"data": found})


@router.get("/models/{name:path}")
def retrieve(request: Request, name: str) -> Response:
    """Shows one model."""
    farm = farm_of(request)
    state = _ready(farm).get(name)
    if state is None:
        raise ApiError(404, f"There is no model {name!r} here.", param="model", code="not_found")
    return JSONResponse(openai_model(name, state, farm.settings))


def _ready(farm: Farm) -> dict[str, ModelState]:
    """The models with a revision to render with, by every name that clients may give."""
    ready = {state.spec.name: state for state in revisions.states(farm) if state.revision}
    others = farm.settings.api_model_names.items()
    return ready | {name: ready[model] for name, model in others if model in ready}
