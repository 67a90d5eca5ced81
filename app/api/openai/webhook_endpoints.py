"""The routes of `/v1/webhook_endpoints`, as the official client manages them."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from app.api.documents import OPENAI_ERRORS
from app.api.network_guard import AddressError, require_url
from app.api.openai.errors import ApiError
from app.api.pages import read_limit
from app.api.parts import farm_of
from app.api.webhooks.sender import guarded_post, send
from db import webhooks
from db.webhooks import EVENT_TYPES, Endpoint
from film.errors import InputError
from film.types import to_json

router = APIRouter(prefix="/v1", tags=["webhooks"], responses=OPENAI_ERRORS)
MOST_LISTED = 100
MOST_ENDPOINTS = 100
Name = Annotated[str, Field(min_length=1, max_length=200)]
Url = Annotated[str, Field(min_length=1, max_length=2000)]


class NewEndpoint(BaseModel):
    """Where notes are to go."""

    model_config = {"extra": "forbid"}
    name: Name
    url: Url
    event_types: list[str] = Field(min_length=1)


class Changes(BaseModel):
    """What is to change of an endpoint."""

    model_config = {"extra": "forbid"}
    name: Name | None = None
    url: Url | None = None
    event_types: Annotated[list[str], Field(min_length=1)] | None = None


class Rotation(BaseModel):
    """How a secret is replaced."""

    model_config = {"extra": "forbid"}
    keep_old_secret_active_for_24_hours: bool = False


class Trial(BaseModel):
    """What is sent to try an endpoint."""

    model_config = {"extra": "forbid"}
    event_type: str


@router.get("/webhook_event_types")
def list_event_types() -> Response:
    """Event types that endpoints can receive."""
    return JSONResponse({"object": "list", "data": list(EVENT_TYPES)})


@router.post("/webhook_endpoints")
def create(request: Request, wanted: NewEndpoint) -> Response:
    """Adds an endpoint. Its signing secret is in this answer only."""
    farm = farm_of(request)
    _require_types(wanted.event_types)
    require_url(wanted.url, farm.settings.open_networks)
    with farm.database.write() as connection:
        if len(webhooks.listing(connection)) >= MOST_ENDPOINTS:
            message = f"There are {MOST_ENDPOINTS} endpoints already; delete one first."
            raise ApiError(400, message, code="limit_reached")
        made = webhooks.create(connection, wanted.name, wanted.url, wanted.event_types)
    return JSONResponse({**_object(made), "signing_secret": made.secret})


@router.get("/webhook_endpoints")
def list_endpoints(request: Request, after: str | None = None, limit: str = "20") -> Response:
    """The endpoints, newest first, a page at a time."""
    count = read_limit(limit, MOST_LISTED)
    with farm_of(request).database.read() as connection:
        rows = webhooks.listing(connection)
    ids = [row.id for row in rows]
    if after is not None and after not in ids:
        raise ApiError(404, f"There is no webhook endpoint {after!r}.", code="not_found")
    start = 0 if after is None else ids.index(after) + 1
    page = [_object(row) for row in rows[start : start + count]]
    return JSONResponse(
        {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": start + count < len(rows),
        }
    )


@router.get("/webhook_endpoints/{endpoint}")
def retrieve(request: Request, endpoint: str) -> Response:
    """One endpoint."""
    with farm_of(request).database.read() as connection:
        return JSONResponse(_object(webhooks.get(connection, endpoint)))


@router.post("/webhook_endpoints/{endpoint}")
def update(request: Request, endpoint: str, wanted: Changes) -> Response:
    """Changes an endpoint."""
    farm = farm_of(request)
    changes = {name: value for name, value in wanted.model_dump().items() if value is not None}
    if wanted.event_types is not None:
        _require_types(wanted.event_types)
    if wanted.url is not None:
        require_url(wanted.url, farm.settings.open_networks)
    with farm.database.write() as connection:
        return JSONResponse(_object(webhooks.update(connection, endpoint, **changes)))


@router.delete("/webhook_endpoints/{endpoint}")
def delete(request: Request, endpoint: str) -> Response:
    """Removes an endpoint, and what was to be sent to it."""
    with farm_of(request).database.write() as connection:
        webhooks.delete(connection, endpoint)
    return JSONResponse({"id": endpoint, "object": "webhook_endpoint.deleted", "deleted": True})


@router.post("/webhook_endpoints/{endpoint}/rotate_secret")
def rotate_secret(request: Request, endpoint: str, wanted: Rotation | None = None) -> Response:
    """Gives an endpoint another signing secret, which is in this answer only."""
    keep_old = bool(wanted and wanted.keep_old_secret_active_for_24_hours)
    with farm_of(request).database.write() as connection:
        made = webhooks.rotate(connection, endpoint, keep_old=keep_old)
    return JSONResponse({**_object(made), "signing_secret": made.secret})


@router.post("/webhook_endpoints/{endpoint}/test")
def test(request: Request, endpoint: str, wanted: Trial) -> Response:
    """Sends a sample now; answers with the status of the endpoint's answer."""
    farm = farm_of(request)
    _require_types([wanted.event_type])
    with farm.database.read() as connection:
        found = webhooks.get(connection, endpoint)
    sample, at = "evt_test", time.time()
    try:
        post = guarded_post(farm.settings.open_networks)
        status = send(found, wanted.event_type, "sample-1", sample, at, post)
    except AddressError as error:
        raise ApiError(400, str(error), param="url", code="invalid_value") from None
    except Exception as error:  # noqa: BLE001  (httpcore, ssl, sockets: no common base)
        message = f"The endpoint does not answer: {type(error).__name__}: {error}"
        raise ApiError(400, message, code="endpoint_unreachable", retry=False) from None
    return JSONResponse(
        {
            "object": "webhook_endpoint.test",
            "webhook_endpoint_id": found.id,
            "event_type": wanted.event_type,
            "status_code": status,
            "success": True,
        }
    )


@router.get("/webhook_endpoints/{endpoint}/notes")
def notes(request: Request, endpoint: str, limit: str = "50") -> Response:
    """What was sent to an endpoint, waits, or was given up; newest first. (Longreel's own.)"""
    count = read_limit(limit, MOST_LISTED)
    with farm_of(request).database.read() as connection:
        webhooks.get(connection, endpoint)
        rows = webhooks.outbox(connection, endpoint, count)
    return JSONResponse({"object": "list", "data": [to_json(row) for row in rows]})


@router.post("/webhook_endpoints/{endpoint}/replay")
def replay(request: Request, endpoint: str) -> Response:
    """Sends again what was given up. (Longreel's own.)"""
    with farm_of(request).database.write() as connection:
        return JSONResponse({"replayed": webhooks.replay(connection, endpoint)})


def _require_types(types: list[str]) -> None:
    unknown = [kind for kind in types if kind not in EVENT_TYPES]
    if unknown:
        known = ", ".join(EVENT_TYPES)
        raise InputError(f"event_types: there is no {unknown[0]!r}; choose from {known}")


def _object(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "object": "webhook_endpoint",
        "name": endpoint.name,
        "url": endpoint.url,
        "event_types": list(endpoint.event_types),
        "signing_secret_hint": f"whsec_…{endpoint.secret[-4:]}",
        "created_at": int(endpoint.created_at),
        "updated_at": int(endpoint.updated_at),
    }
