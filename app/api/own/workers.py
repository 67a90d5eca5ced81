"""Workers, models, and the dashboard of their flow runs."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from app.api.own.answers import json_answer, polled_answer
from app.api.parts import actions_of, farm_of
from app.api.schemas import schema_of
from db.workers import registry
from db.workers.registry import WorkerCommand, WorkerRow
from film.errors import InputError
from film.types import to_json

router = APIRouter(tags=["workers"])


class Workers(BaseModel):
    """All workers."""

    items: list[schema_of(WorkerRow)]  # type: ignore[valid-type]


@router.get("/workers", response_model=Workers)
def list_workers(request: Request) -> Response:
    """The workers by name, those that ended within a day included."""
    with farm_of(request).database.read() as connection:
        rows = registry.listing(connection)
    items = [{**to_json(row), "segments_per_hour": row.segments_per_hour} for row in rows]
    # A worker that does nothing new is seen again and again.
    return polled_answer(
        request, {"items": items}, leave_out=("seen_at", "seen_seconds_ago", "busy_seconds")
    )


@router.post("/workers/{name:path}/drain")
def drain(request: Request, name: str) -> Response:
    """Lets a worker finish its segments and take no more until it is resumed."""
    return _order(request, name, WorkerCommand.DRAIN)


@router.post("/workers/{name:path}/stop")
def stop(request: Request, name: str) -> Response:
    """Makes a worker give back its segments at once and take none until it is resumed."""
    return _order(request, name, WorkerCommand.STOP)


@router.post("/workers/{name:path}/resume")
def resume(request: Request, name: str) -> Response:
    """Lets a worker continue that was drained or stopped, or drained itself."""
    return _order(request, name, None)


@router.get("/models")
def list_models(request: Request) -> Response:
    """The models: what each can do, and which revision new films are rendered with."""
    return polled_answer(request, {"items": actions_of(request).models()})


@router.get("/dashboard")
def dashboard(request: Request) -> Response:
    """The address of the Prefect dashboard, if other machines can reach it."""
    url = farm_of(request).settings.prefect_api_url
    if url is None:
        raise InputError(
            "The Prefect server of this farm answers on its own machine only: run `longreel "
            "dashboard` there, or give the farm a server of its own with PREFECT_API_URL."
        )
    return json_answer({"url": _without_password(url.rstrip("/").removesuffix("/api"))})


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _order(request: Request, name: str, command: WorkerCommand | None) -> Response:
    with farm_of(request).database.write() as connection:
        return json_answer(to_json(registry.order(connection, name, command)))
