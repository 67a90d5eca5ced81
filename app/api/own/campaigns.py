"""Campaigns: submitting, listing, steering."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from app.api.archives import zip_films
from app.api.bodies import read_body
from app.api.documents import ARCHIVE
from app.api.own.answers import json_answer
from app.api.pages import read_limit
from app.api.parts import farm_of
from app.plan_data import plan_data
from db.films import campaigns, listing, user_actions
from db.films.campaigns import CampaignRow
from film.errors import InputError, NotFoundError
from film.reading.campaign import read_campaign
from film.types import FilmRequest, SceneRequest, to_json
from flows.cleaning import remove_films
from flows.deliveries import named_films
from flows.farm import Farm
from flows.submission.submit import plans, submit

router = APIRouter(prefix="/campaigns", tags=["campaigns"])
MOST_LISTED = 200
ENDINGS = {
    "application/json": ".json",
    "application/yaml": ".yaml",
    "application/x-yaml": ".yaml",
    "text/yaml": ".yaml",
    "application/jsonl": ".jsonl",
    "application/x-ndjson": ".jsonl",
    "text/csv": ".csv",
}
"""The endings of files with these types of content."""


class CampaignPage(BaseModel):
    """A page of campaigns."""

    items: list[dict[str, Any]]
    next: str | None = Field(description="Give it as `after` for the next page.")


class Steering(BaseModel):
    """What is to change in a campaign; what is left out stays."""

    model_config = {"extra": "forbid"}
    paused: bool | None = None
    priority: Annotated[int, Field(ge=-(2**31), lt=2**31)] | None = None


@router.post(
    "",
    status_code=201,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {kind: {"schema": {"type": "string"}} for kind in ENDINGS},
        }
    },
)
async def create(request: Request, dry_run: bool = False, name: str = "campaign") -> Response:
    """Submits a campaign: YAML, JSON, JSON Lines or CSV, as files of `longreel submit`.

    All of it is checked and planned first: one error and nothing is written. With `dry_run`,
    answers with the plans.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ENDINGS:
        raise InputError(f"content-type: expected one of {', '.join(ENDINGS)}, got {kind!r}")
    body = await read_body(request)
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("The body is not UTF-8 text; save it as UTF-8.") from None
    farm = farm_of(request)
    return await run_in_threadpool(_submit, farm, text, f"body{ENDINGS[kind]}", name, dry_run)


def _submit(farm: Farm, text: str, source: str, name: str, dry_run: bool) -> Response:
    campaign = read_campaign(text, source, name)
    for number, film in enumerate(campaign.films, 1):
        _require_no_paths(film, number)
    if dry_run:
        return json_answer([plan_data(film, plan, ()) for film, plan in plans(farm, campaign)])
    ids = submit(farm, campaign)
    campaign_id = ids[0].rpartition("-")[0]
    with farm.database.read() as connection:
        found = _shown(connection, campaign_id)
    return json_answer(found, 201, {"location": f"/api/v1/campaigns/{campaign_id}"})


def _require_no_paths(film: FilmRequest, number: int) -> None:
    """A name of a file in a body would be one of the server's."""
    parts: tuple[FilmRequest | SceneRequest, ...] = (film, *film.scenes)
    if any(part.image or part.last_image for part in parts):
        raise InputError(
            f"image: film {number} names a picture by a path, which this server cannot read; "
            f"submit it with `longreel submit`, or send the picture to /v1/videos."
        )
    if film.settings.loras:
        raise InputError(f"loras: film {number} names a LoRA; submit it with `longreel submit`.")


@router.get("", response_model=CampaignPage)
def list_campaigns(
    request: Request,
    after: Annotated[str | None, Query(description="`next` of the page before.")] = None,
    limit: str = "50",
) -> Response:
    """The campaigns, newest first, a page at a time."""
    count = read_limit(limit, MOST_LISTED)
    with farm_of(request).database.read() as connection:
        rows = campaigns.newest(connection, count + 1, after)
        counts = listing.campaign_films(connection, [row.id for row in rows])
    items = [{**to_json(row), "films": to_json(counts[row.id])} for row in rows[:count]]
    return json_answer({"items": items, "next": rows[count - 1].id if len(rows) > count else None})


@router.get("/{campaign_id}")
def show(request: Request, campaign_id: str) -> Response:
    """A campaign: how it is dispatched, and how far it is."""
    with farm_of(request).database.read() as connection:
        return json_answer(_shown(connection, campaign_id))


@router.get("/{campaign_id}/content", responses=ARCHIVE)
def content(request: Request, campaign_id: str) -> Response:
    """Its delivered films as one zip file, made while it is sent."""
    farm = farm_of(request)
    with farm.database.read() as connection:
        row = _require(connection, campaign_id)
        found = named_films(connection, campaign_id)
    delivered = [(film.delivery, name) for film, name in found if film.delivery]
    if not delivered:
        raise NotFoundError(f"No film of {campaign_id} is delivered yet.")
    folder = Path(tempfile.mkdtemp(prefix="longreel-zip-"))
    name = quote(f"{campaign_id}-{row.name}"[:120].replace("/", "-"))
    return StreamingResponse(
        zip_films(farm, delivered, folder),
        media_type="application/zip",
        headers={"content-disposition": f"attachment; filename*=UTF-8''{name}.zip"},
        background=BackgroundTask(shutil.rmtree, folder, ignore_errors=True),
    )


@router.patch("/{campaign_id}")
def steer(request: Request, campaign_id: str, wanted: Steering) -> Response:
    """Pauses, continues, or changes the priority of a campaign."""
    with farm_of(request).database.write() as connection:
        _require(connection, campaign_id)
        if wanted.paused is not None:
            (campaigns.pause if wanted.paused else campaigns.resume)(connection, campaign_id)
        if wanted.priority is not None:
            campaigns.set_priority(connection, campaign_id, wanted.priority)
        return json_answer(_shown(connection, campaign_id))


@router.post("/{campaign_id}/cancel")
def cancel(request: Request, campaign_id: str) -> Response:
    """Cancels its films that are not finished. Rendered segments are kept."""
    with farm_of(request).database.write() as connection:
        _require(connection, campaign_id)
        return json_answer({"cancelled": user_actions.cancel(connection, campaign_id)})


@router.post("/{campaign_id}/requeue")
def requeue(request: Request, campaign_id: str, failed: bool = False) -> Response:
    """Queues its failed and cancelled films again; with `failed`, only failed ones."""
    with farm_of(request).database.write() as connection:
        _require(connection, campaign_id)
        again = user_actions.requeue(connection, campaign_id, failed_only=failed)
        return json_answer({"queued": again})


@router.delete("/{campaign_id}")
def remove(request: Request, campaign_id: str) -> Response:
    """Removes its films, which must be finished, and their files."""
    farm = farm_of(request)
    with farm.database.read() as connection:
        _require(connection, campaign_id)
    return json_answer(to_json(remove_films(farm, campaign_id)))


def _require(connection: Any, campaign_id: str) -> CampaignRow:
    """Raises `NotFoundError` if there is no such campaign, also for the id of a film."""
    found = campaigns.get(connection, campaign_id)
    if found is None:
        raise NotFoundError(f"There is no campaign {campaign_id!r}.")
    return found


def _shown(connection: Any, campaign_id: str) -> dict[str, Any]:
    row = _require(connection, campaign_id)
    tally = listing.tally(connection, campaign_id)
    return {
        **to_json(row),
        "film_counts": tally.films,
        "segment_counts": tally.segments,
        "seconds_left": tally.seconds_left,
    }
