"""The service as one application; any number of copies may run in parallel."""

from __future__ import annotations

import logging
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from app.api import health, problems
from app.api.access import Guard
from app.api.body_limits import BodyLimits
from app.api.documents import PROBLEMS
from app.api.event_hub import EventHub
from app.api.identity import AccessError
from app.api.openai import (
    batches,
    characters,
    errors,
    files,
    models,
    sync,
    videos,
    webhook_endpoints,
)
from app.api.openai.errors import ApiError
from app.api.openai.sync import WaitingRoom
from app.api.own import campaigns, films, presets, store, streams, workers
from app.api.rate_limits import RateLimitError
from app.api.request_ids import RequestIds
from app.api.slow_answers import SlowAnswers
from app.api.slow_clients import SlowClients
from app.mcp.mounting import mount
from film.errors import LongreelError
from film.logs import trace
from film.plain_text import one_line
from film.reading.values import short
from flows.farm import Farm

logger = logging.getLogger(__name__)


def create_application(farm: Farm, *, keys: bool = True) -> FastAPI:
    """The service of a farm, whose database has the tables of this version.

    Without `keys`, it needs none, and is only to be asked from within this process.
    """
    application = FastAPI(
        title="Longreel",
        version=version("longreel"),
        description=__doc__,
        # One URL for each thing: a slash too many is not found, rather than sent elsewhere.
        redirect_slashes=False,
    )
    application.state.farm = farm
    application.state.hub = EventHub(farm)
    application.state.waiting_room = WaitingRoom()
    application.state.campaign_counts = SlowAnswers[dict[str, Any]]()
    own = APIRouter(prefix="/api/v1", responses=PROBLEMS)
    for router in (
        campaigns.router,
        campaigns.estimates,
        presets.router,
        films.router,
        store.router,
        streams.router,
        workers.router,
    ):
        own.include_router(router)
    # The models before the videos: `models` is not the id of a video.
    openai = (models, characters, sync, videos, files, batches, webhook_endpoints)
    for router in (health.router, *(module.router for module in openai), own):
        application.include_router(router)
    if keys:
        mount(application, farm.settings.user_header)
    application.add_middleware(SlowClients)
    application.add_middleware(BodyLimits)
    if keys:
        application.add_middleware(Guard, farm=farm, refuse=_refuse)
    application.add_middleware(RequestIds)
    application.add_exception_handler(ApiError, _api_error)
    application.add_exception_handler(LongreelError, _our_error)
    application.add_exception_handler(RequestValidationError, _invalid)
    application.add_exception_handler(HTTPException, _http_error)
    application.add_exception_handler(Exception, _unexpected)
    return application


def _refuse(request: Request, error: LongreelError) -> Response:
    if isinstance(error, RateLimitError):
        return _too_many(request, error)
    if not isinstance(error, AccessError):
        return _our_error(request, error)
    code = "invalid_api_key" if error.status == 401 else "insufficient_permissions"
    if _is_openai(request):
        return errors.answer(ApiError(error.status, str(error), code=code, retry=False))
    headers = {"www-authenticate": "Bearer"} if error.status == 401 else None
    return problems.problem(request, error.status, str(error), headers)


def _too_many(request: Request, error: RateLimitError) -> Response:
    headers = {"retry-after": str(error.seconds)}
    if not _is_openai(request):
        return problems.problem(request, 429, str(error), headers)
    answer = errors.answer(ApiError(429, str(error), code="rate_limit_exceeded"))
    answer.headers.update(headers)
    return answer


def _is_openai(request: Request) -> bool:
    return request.url.path.startswith("/v1/")


def _answer(request: Request, status: int, message: str, field: str | None = None) -> JSONResponse:
    if _is_openai(request):
        return errors.answer(ApiError(status, message, param=field))
    return problems.problem(request, status, message, field=field)


def _api_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return errors.answer(error)


def _our_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, LongreelError)
    found = errors.of(error)
    if found.status >= 500:
        logger.warning("%s", error, exc_info=trace(error), extra=_ids(request))
    return errors.answer(found) if _is_openai(request) else problems.of(request, error)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = [str(part) for part in first["loc"] if part not in ("body", "query", "path")]
    field = ".".join(place) or None
    said = f"{field}: {_wrong(first)}" if field else str(first["msg"])
    return _answer(request, 400 if _is_openai(request) else 422, said, field)


def _wrong(found: Any) -> str:
    """What is wrong with a field, in words of ours for what is wrong most often."""
    kind, given = found["type"], found.get("context", found.get("ctx", {}))
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return "there is no such field"
    expected = {
        "int_parsing": "a whole number",
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_parsing": "a number",
        "float_type": "a number",
        "bool_parsing": "true or false",
        "bool_type": "true or false",
        "string_type": "text",
        "dict_type": "an object",
        "list_type": "a list",
        "greater_than_equal": f"{given.get('ge')} or more",
        "greater_than": f"more than {given.get('gt')}",
        "less_than": f"less than {given.get('lt')}",
        "less_than_equal": f"{given.get('le')} or less",
    }.get(kind)
    return f"expected {expected}, got {short(found.get('input'))}" if expected else found["msg"]


def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    answer = _answer(request, error.status_code, _said(request, error))
    answer.headers.update(error.headers or {})
    return answer


def _said(request: Request, error: HTTPException) -> str:
    """What is wrong, for those that Starlette names by their status alone."""
    path = one_line(request.url.path)[:200]
    if error.status_code == 404 and error.detail == "Not Found":
        return f"There is nothing at {path}; /docs lists what this service answers."
    if error.status_code == 405:
        return f"{path} is not answered for {request.method[:20]}; /docs lists what is."
    return str(error.detail)


def _unexpected(request: Request, error: Exception) -> JSONResponse:
    logger.error("A request failed: %r", error, exc_info=error, extra=_ids(request))
    message = f"This is a fault of the server; its log has it under {request.state.request_id}."
    return _answer(request, 500, message)


def _ids(request: Request) -> dict[str, str]:
    return {"request": request.state.request_id}
