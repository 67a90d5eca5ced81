"""Campaigns: submitting, listing, steering."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Query, Request, Response
from msgspec import UNSET
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from app.actions.values import CampaignDetails, Steering
from app.api.archives import zip_films
from app.api.documents import ARCHIVE
from app.api.downloads import attachment
from app.api.own.answers import json_answer, polled_answer
from app.api.own.uploads import ENDINGS, FORM, Upload, reading_upload
from app.api.pages import read_limit
from app.api.parts import actions_of, farm_of, seen_by
from app.api.schemas import schema_of
from app.api.slow_answers import SlowAnswers
from app.times import read_moment
from db import model_pins, presets, spending
from db.films import campaigns, films, listing, user_actions
from db.films.campaigns import CampaignRow
from db.films.listing import CampaignFilms
from film.errors import InputError, NotFoundError, QuotaError, Refusal, RefusedFilmsError
from film.families.lookup import find_model
from film.reading.campaign import read_campaign
from film.reading.values import read_deadline, read_gpu_time
from film.types import Campaign, FilmRequest, OverBudget, to_json
from flows.cleaning import remove_films
from flows.deliveries import named_films
from flows.farm import Farm
from flows.file_names import safe_name
from flows.submission.estimate import Estimate

router = APIRouter(prefix="/campaigns", tags=["campaigns"])
estimates = APIRouter(prefix="/estimates", tags=["campaigns"])
MOST_LISTED = 200
MOST_SHOWN = 100_000
"""Films of a campaign that one answer has at most."""
Since = Annotated[
    str | None, Query(description="Submitted from then: `2026-11-30 18:00`, `7d` ago, seconds.")
]
Until = Annotated[str | None, Query(description="Submitted until then, likewise.")]
Names = Annotated[
    str | None, Query(description="Naming pattern such as `{campaign}/{number:03}-{title}`.")
]


class CampaignPage(BaseModel):
    """A page of campaigns."""

    items: list[dict[str, Any]]
    next: str | None = Field(description="Give it as `after` for the next page.")


class Wanted(BaseModel):
    """What is to change in a campaign; what is left out stays."""

    model_config = {"extra": "forbid"}
    paused: bool | None = None
    priority: Annotated[int, Field(ge=-(2**31), lt=2**31)] | None = None
    deadline: Annotated[float, Field(ge=0, lt=2**33)] | str | None = Field(
        default=None, description="Seconds since 1970, or a date with a time; null removes it."
    )
    max_workers: Annotated[int, Field(ge=1, lt=2**31)] | None = Field(
        default=None, description="Most segments rendered at the same time; null removes it."
    )

    budget: Annotated[float, Field(gt=0)] | str | None = Field(
        default=None, description="GPU time in seconds, or as 90min, 10h; null removes the limit."
    )
    over_budget: OverBudget | None = Field(
        default=None, description="What happens when the budget is used."
    )

    def read(self) -> Steering:
        """The changes that were given. Raises `InputError`."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        if "budget" in given:
            given["budget_seconds"] = _gpu_time(given.pop("budget"))
        for name in ("paused", "priority", "over_budget"):
            given[name] = UNSET if given.get(name) is None else given[name]
        if isinstance(given.get("deadline"), str):
            given["deadline"] = _deadline(given["deadline"])
        return Steering(**given)


def _deadline(value: str) -> float:
    try:
        return read_deadline(value)
    except ValueError as error:
        raise InputError(f"deadline: {error}") from None


def _gpu_time(value: float | str | None) -> float | None:
    try:
        return None if value is None else read_gpu_time(value)
    except ValueError as error:
        raise InputError(f"budget: {error}") from None


_FORM_SCHEMA = {
    "type": "object",
    "required": ["campaign"],
    "properties": {
        "campaign": {"type": "string", "format": "binary"},
        "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
        "names": {"type": "string", "description": "JSON list: what the campaign calls `files`."},
    },
}


_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            **{kind: {"schema": {"type": "string"}} for kind in ENDINGS},
            FORM: {"schema": _FORM_SCHEMA},
        },
    }
}


@router.post("", status_code=201, openapi_extra=_BODY)
async def create(request: Request, dry_run: bool = False, name: str = "campaign") -> Response:
    """Submits a campaign: YAML, JSON, JSON Lines or CSV, as files of `longreel submit`; or a form
    with that file as `campaign`, and the pictures and LoRAs that it names as `files`.

    All of it is checked and planned first: if a film is refused, nothing is written, and `errors`
    has each of them. With `dry_run`, answers with the plans.
    """
    farm = farm_of(request)
    async with reading_upload(request, farm) as upload:
        return await run_in_threadpool(_submit, request, upload, name, dry_run)


@estimates.post("", openapi_extra=_BODY, response_model=schema_of(Estimate))
async def estimate(request: Request, name: str = "campaign") -> Response:
    """What a campaign would cost, by what similar segments used here: GPU time, time until it is
    finished, money, stored bytes. Takes what `POST /campaigns` takes, and writes nothing."""
    async with reading_upload(request, farm_of(request)) as upload:
        return await run_in_threadpool(_estimate, request, upload, name)


def _estimate(request: Request, upload: Upload, name: str) -> Response:
    with _as_they_were_sent(upload):
        campaign = _read(farm_of(request), upload, name)
        return json_answer(actions_of(request).estimate(campaign))


def _submit(request: Request, upload: Upload, name: str, dry_run: bool) -> Response:
    actions = actions_of(request)
    with _as_they_were_sent(upload):
        campaign = _read(farm_of(request), upload, name)
        if dry_run:
            return json_answer(actions.plan(campaign).plans)
        campaign_id = actions.submit(campaign).campaign_id
    with farm_of(request).database.read() as connection:
        found = _with_notices(request, connection, campaign_id)
    return json_answer(found, 201, {"location": f"/api/v1/campaigns/{campaign_id}"})


def _read(farm: Farm, upload: Upload, name: str) -> Campaign:
    """The campaign of a request. Raises `InputError`."""

    def preset(wanted: str) -> Mapping[str, Any]:
        with farm.database.read() as connection:
            return presets.get(connection, wanted).options

    found = read_campaign(upload.text, upload.source, name, presets=preset)
    return _placed(farm, found, upload)


@contextmanager
def _as_they_were_sent(upload: Upload) -> Iterator[None]:
    """Has errors name the files of an upload as the client does."""
    try:
        yield
    except RefusedFilmsError as error:
        raise RefusedFilmsError(
            [Refusal(each.item, upload.as_sent(each.detail), each.line) for each in error.refusals]
        ) from None
    except QuotaError:
        raise
    except InputError as error:
        if not upload.files:
            raise
        raise InputError(upload.as_sent(str(error))) from None


def _require_known_weights(film: FilmRequest, number: int, known: Collection[str]) -> None:
    """Raises `InputError` for a path of this machine that the farm does not render with yet."""
    name = film.settings.model
    if find_model(name).local and name not in known:
        raise InputError(
            f"model: film {number} names weights by a path, which this server does not read; "
            f"render with them on the farm's machines first, or name a repository of the hub."
        )


def _placed(farm: Farm, campaign: Campaign, upload: Upload) -> Campaign:
    """The campaign with the paths of the files that it names. Raises `RefusedFilmsError`."""
    with farm.database.read() as connection:
        known = model_pins.pins(connection)
    placed: list[FilmRequest] = []
    refusals: list[Refusal] = []
    for number, film in enumerate(campaign.films, 1):
        try:
            _require_known_weights(film, number, known)
            placed.append(upload.placed(film, number))
        except InputError as error:
            refusals.append(Refusal(number, str(error)))
    if refusals:
        raise RefusedFilmsError(refusals[:100])
    return campaign.replace(films=tuple(placed))


@router.get("", response_model=CampaignPage)
def list_campaigns(
    request: Request,
    after: Annotated[str | None, Query(description="`next` of the page before.")] = None,
    since: Since = None,
    until: Until = None,
    limit: str = "50",
) -> Response:
    """The campaigns, newest first, a page at a time."""
    count = read_limit(limit, MOST_LISTED)
    times = read_times(since, until)
    with farm_of(request).database.read() as connection:
        rows = campaigns.newest(
            connection,
            count + 1,
            after,
            key_id=seen_by(request),
            since=times.since,
            until=times.until,
        )
        counts = listing.campaign_films(connection, [row.id for row in rows])
    # One without films was removed in this moment.
    there = [row for row in rows[:count] if row.id in counts]
    items = [{**to_json(row), "films": to_json(counts[row.id])} for row in there]
    following = rows[count - 1].id if len(rows) > count else None
    return polled_answer(request, {"items": items, "next": following})


class Times(NamedTuple):
    """Between which films were submitted, in seconds since 1970."""

    since: float | None
    until: float | None


def read_times(since: str | None, until: str | None) -> Times:
    """The times in a query. Raises `InputError`."""
    return Times(
        read_moment("since", since) if since else None,
        read_moment("until", until, whole_day=True) if until else None,
    )


@router.get("/{campaign_id}")
def show(request: Request, campaign_id: str, notices: bool = False) -> Response:
    """A campaign: how it is dispatched, and how far it is; with `notices`, also what users should
    know of its films' plans, which takes as long as reading them."""
    shown = _with_notices if notices else _shown
    with farm_of(request).database.read() as connection:
        return polled_answer(request, shown(request, connection, campaign_id))


@router.get("/{campaign_id}/details")
def details(request: Request, campaign_id: str, limit: str = str(MOST_LISTED)) -> Response:
    """The campaign with its first films, and why no worker renders the rest of it."""
    count = read_limit(limit, MOST_SHOWN)
    found = actions_of(request).show(campaign_id, count)
    if not isinstance(found, CampaignDetails):
        raise NotFoundError(f"There is no campaign {campaign_id!r}.")
    return polled_answer(request, found)


@router.get("/{campaign_id}/events")
def history(request: Request, campaign_id: str, after: int = 0) -> Response:
    """What happened to its films, oldest first; events with higher numbers than `after`."""
    farm = farm_of(request)
    with farm.database.read() as connection:
        _require(connection, campaign_id)
    found = actions_of(request).history(campaign_id, in_bounds(after))
    return polled_answer(request, {"items": found.events, "open": found.open})


def in_bounds(number: int) -> int:
    """A number that every database takes."""
    return max(0, min(number, 2**62))


@router.get("/{campaign_id}/deliveries")
def deliveries(request: Request, campaign_id: str, names: Names = None) -> Response:
    """Its films with the names, sizes and digests (SHA-256) of their files; null for films that are
    not delivered."""
    farm = farm_of(request)
    with farm.database.read() as connection:
        _require(connection, campaign_id)
    return polled_answer(request, {"items": actions_of(request).deliverables(campaign_id, names)})


@router.get("/{campaign_id}/content", responses=ARCHIVE)
def content(request: Request, campaign_id: str, names: Names = None) -> Response:
    """Its delivered films as one zip file, made while it is sent."""
    farm = farm_of(request)
    with farm.database.read() as connection:
        row = _require(connection, campaign_id)
        found = named_films(connection, campaign_id, names)
    delivered = [(film.delivery, name) for film, name in found if film.delivery]
    if not delivered:
        raise NotFoundError(f"No film of {campaign_id} is delivered yet.")
    folder = Path(tempfile.mkdtemp(prefix="longreel-zip-"))
    name = f"{safe_name(f'{campaign_id}-{row.name}')}.zip"
    return StreamingResponse(
        zip_films(farm, delivered, folder),
        media_type="application/zip",
        headers={"content-disposition": attachment(name)},
    )


@router.patch("/{campaign_id}")
def steer(request: Request, campaign_id: str, wanted: Wanted) -> Response:
    """Pauses, continues, or changes the priority, the deadline or the limit of a campaign."""
    farm = farm_of(request)
    with farm.database.read() as connection:
        _require(connection, campaign_id)
    changed = actions_of(request).steer(campaign_id, wanted.read()).changed
    with farm.database.read() as connection:
        return json_answer({**_shown(request, connection, campaign_id), "changed": changed})


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


def _shown(request: Request, connection: Any, campaign_id: str) -> dict[str, Any]:
    row = _require(connection, campaign_id)
    answers: SlowAnswers[dict[str, Any]] = request.app.state.campaign_counts
    return {**to_json(row), **answers.get(campaign_id, lambda: _counted(connection, campaign_id))}


def _counted(connection: Any, campaign_id: str) -> dict[str, Any]:
    tally = listing.tally(connection, campaign_id)
    return {
        "films": to_json(_films_of(connection, campaign_id)),
        "film_counts": tally.films,
        "segment_counts": tally.segments,
        "seconds_left": tally.seconds_left,
        "used_seconds": spending.of_campaigns(connection, [campaign_id])[campaign_id],
    }


def _with_notices(request: Request, connection: Any, campaign_id: str) -> dict[str, Any]:
    return {
        **_shown(request, connection, campaign_id),
        "notices": films.notices(connection, campaign_id),
    }


def _films_of(connection: Any, campaign_id: str) -> CampaignFilms:
    found = listing.campaign_films(connection, [campaign_id])
    if campaign_id not in found:  # it was removed in this moment
        raise NotFoundError(f"There is no campaign {campaign_id!r}.")
    return found[campaign_id]
