"""The routes of `/v1/batches`: many videos as the lines of one file."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy.engine import Connection
from starlette.responses import JSONResponse

from app.api.documents import OPENAI_ERRORS
from app.api.openai.batch_lines import ENDPOINT
from app.api.openai.batch_results import results_id
from app.api.openai.create import WINDOW_SECONDS
from app.api.openai.errors import ApiError
from app.api.pages import read_limit
from app.api.parts import farm_of, key_id_of, seen_by
from db import batches, files
from db.batches import BatchRow, Tally
from db.films import user_actions, videos
from film.errors import InputError
from flows.farm import Farm

router = APIRouter(prefix="/v1/batches", tags=["batches"], responses=OPENAI_ERRORS)
MOST_LISTED = 100
_HOURS = re.compile(r"([1-9]\d{0,3})h")
_NO_FILMS = Tally(films=0, delivered=0, failed=0, finished_at=None)


class NewBatch(BaseModel):
    """A batch that is to be made."""

    model_config = {"extra": "forbid"}
    input_file_id: Annotated[str, Field(max_length=200)]
    endpoint: str
    completion_window: str
    metadata: (
        Annotated[
            dict[
                Annotated[str, Field(max_length=64)],
                Annotated[str, Field(max_length=512)],
            ],
            Field(max_length=16),
        ]
        | None
    ) = None


@router.post("")
def create(request: Request, wanted: NewBatch) -> Response:
    """Makes the lines of a file one campaign, with a film for each. Answers before the lines are
    checked; one that is refused fails the batch, and nothing is rendered."""
    farm = farm_of(request)
    hours_of(wanted.completion_window)
    if wanted.endpoint != ENDPOINT:
        raise InputError(f"endpoint: expected {ENDPOINT}")
    digest = hashlib.sha256(wanted.model_dump_json().encode()).hexdigest()
    key = request.headers.get("idempotency-key")
    with farm.database.read() as connection:
        known = _known(connection, request, key, digest)
    if known is not None:
        return _answer(farm, known)
    with farm.database.write() as connection:
        _require_batch_file(files.get(connection, wanted.input_file_id, seen_by(request)))
        videos.lock(connection, key or digest, key_id_of(request))
        known = _known(connection, request, key, digest)
        if known is not None:  # the same request came twice at once
            return _answer(farm, known)
        made = batches.create(
            connection,
            input_file_id=wanted.input_file_id,
            endpoint=wanted.endpoint,
            completion_window=wanted.completion_window,
            details=wanted.metadata or {},
            digest=digest,
            key=key,
            key_id=key_id_of(request),
        )
    return JSONResponse(batch_object(made, _NO_FILMS))


def _known(
    connection: Connection, request: Request, key: str | None, digest: str
) -> BatchRow | None:
    """The batch of the same request that came before. Raises `ApiError` if its key is that of
    another request."""
    if not key and request.headers.get("x-stainless-retry-count", "0") == "0":
        return None
    found = batches.repeated(connection, key, digest, WINDOW_SECONDS, key_id_of(request))
    if found is None:
        return None
    if found[1] != digest:
        message = "This Idempotency-Key was used for another request; use a new one."
        raise ApiError(409, message, code="idempotency_conflict", retry=False)
    return found[0]


def hours_of(window: str) -> int:
    """The hours of a `completion_window`. Raises `InputError`."""
    found = _HOURS.fullmatch(window)
    if found is None:
        raise InputError("completion_window: expected a number of hours such as 24h")
    return int(found[1])


def _require_batch_file(row: files.FileRow) -> None:
    if row.purpose != "batch":
        raise InputError(
            f"input_file_id: {row.id} was uploaded for {row.purpose}; upload it with the purpose "
            f"batch"
        )


@router.get("")
def list_batches(request: Request, after: str | None = None, limit: str = "20") -> Response:
    """Lists the batches, newest first, a page at a time."""
    farm = farm_of(request)
    count = read_limit(limit, MOST_LISTED)
    with farm.database.read() as connection:
        rows = batches.find(connection, after, count + 1, seen_by(request))
    page = _objects(farm, rows[:count])
    return JSONResponse(
        {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(rows) > count,
        }
    )


@router.get("/{batch}")
def retrieve(request: Request, batch: str) -> Response:
    """Shows a batch as it is now."""
    farm = farm_of(request)
    with farm.database.read() as connection:
        found = batches.get(connection, batch)
    return _answer(farm, found)


@router.post("/{batch}/cancel")
def cancel(request: Request, batch: str) -> Response:
    """Cancels the films of a batch that are not finished. Rendered segments are kept."""
    farm = farm_of(request)
    with farm.database.write() as connection:
        batches.lock(connection, batch)
        found = batches.get(connection, batch)
        tally = _tally(batches.tallies(connection, [found.campaign_id or ""]), found)
        if found.campaign_id is None or tally.films > tally.delivered + tally.failed:
            batches.cancel(connection, batch)
            if found.campaign_id:
                user_actions.cancel(connection, found.campaign_id)
        found = batches.get(connection, batch)
    return _answer(farm, found)


def _answer(farm: Farm, row: BatchRow) -> Response:
    (found,) = _objects(farm, [row])
    return JSONResponse(found)


def _objects(farm: Farm, rows: list[BatchRow]) -> list[dict[str, Any]]:
    with farm.database.read() as connection:
        found = batches.tallies(connection, [row.campaign_id for row in rows if row.campaign_id])
    return [batch_object(row, _tally(found, row)) for row in rows]


def _tally(found: dict[str, Tally], row: BatchRow) -> Tally:
    return found.get(row.campaign_id or "", _NO_FILMS)


def batch_object(row: BatchRow, tally: Tally) -> dict[str, Any]:
    """A batch as OpenAI shows it."""
    status = status_of(row, tally)
    over = status in ("completed", "cancelled")
    ended = _whole(tally.finished_at if tally.finished_at else row.started_at)
    return {
        "id": row.id,
        "object": "batch",
        "endpoint": row.endpoint,
        "errors": {"object": "list", "data": row.errors} if row.errors else None,
        "input_file_id": row.input_file_id,
        "completion_window": row.completion_window,
        "status": status,
        "output_file_id": results_id(row.id, "output") if over and tally.delivered else None,
        "error_file_id": results_id(row.id, "errors") if over and tally.failed else None,
        "created_at": int(row.created_at),
        "in_progress_at": _whole(row.started_at),
        "expires_at": None,
        "finalizing_at": None,
        "completed_at": ended if status == "completed" else None,
        "failed_at": _whole(row.failed_at),
        "expired_at": None,
        "cancelling_at": _whole(row.cancelled_at),
        "cancelled_at": _whole(row.cancelled_at) if status == "cancelled" else None,
        "request_counts": {
            "total": row.total,
            "completed": tally.delivered,
            "failed": tally.failed,
        },
        "metadata": row.details or None,
        "campaign": row.campaign_id,
    }


def status_of(row: BatchRow, tally: Tally) -> str:
    """The state of a batch in OpenAI's words."""
    if row.failed_at is not None:
        return "failed"
    open_films = tally.films - tally.delivered - tally.failed
    if row.cancelled_at is not None and not open_films:
        return "cancelled"
    if row.campaign_id is None:
        return "validating"
    return "in_progress" if open_films else "completed"


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)
