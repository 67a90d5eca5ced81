"""Films: listing, showing, steering, downloading."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from app.actions.values import FilmDetails
from app.api.documents import FILES
from app.api.downloads import film_response, require_variant
from app.api.own.answers import json_answer, polled_answer
from app.api.own.campaigns import Names, Since, Until, in_bounds, read_times
from app.api.pages import read_limit
from app.api.parts import actions_of, farm_of, key_id_of, seen_by
from app.api.schemas import schema_of
from app.plan_data import plan_data
from app.statuses import read_statuses
from db.films import films, listing, user_actions
from db.films.listing import FilmRow
from db.segments import progress, takes
from film.errors import InputError, NotFoundError
from film.types import to_json
from flows.cleaning import remove_films
from flows.file_names import safe_name
from flows.submission.retake import retake_film

router = APIRouter(prefix="/films", tags=["films"])
MOST_LISTED = 200


class FilmPage(BaseModel):
    """A page of films."""

    items: list[schema_of(FilmRow)]  # type: ignore[valid-type]
    next: str | None = Field(description="Give it as `after` for the next page.")


class Retake(BaseModel):
    """Scenes to render again."""

    model_config = {"extra": "forbid"}
    seeds: dict[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=0, lt=2**31)]] = Field(
        min_length=1, description="The new seeds, by the numbers of their scenes from 1."
    )


@router.get("", response_model=FilmPage)
def list_films(
    request: Request,
    campaign: Annotated[str | None, Query(description="Id of a campaign.")] = None,
    status: Annotated[str, Query(description="Statuses, comma between.")] = "",
    text: Annotated[str, Query(description="Part of a title, or of a campaign's name.")] = "",
    after: Annotated[str | None, Query(description="`next` of the page before.")] = None,
    since: Since = None,
    until: Until = None,
    limit: str = "50",
) -> Response:
    """The films, newest first, a page at a time."""
    count = read_limit(limit, MOST_LISTED)
    times = read_times(since, until)
    with farm_of(request).database.read() as connection:
        rows = listing.find_films(
            connection,
            after=after,
            limit=count + 1,
            campaign_id=campaign,
            key_id=seen_by(request),
            statuses=read_statuses(status),
            text=text,
            since=times.since,
            until=times.until,
        )
    following = rows[count - 1].id if len(rows) > count else None
    return polled_answer(request, {"items": rows[:count], "next": following})


@router.get("/{film_id}", response_model=schema_of(FilmRow))
def show(request: Request, film_id: str) -> Response:
    """A film as listings show it."""
    with farm_of(request).database.read() as connection:
        films.status(connection, film_id)
        (row,) = listing.films_of(connection, film_id)
    return polled_answer(request, row)


@router.get("/{film_id}/details")
def details(request: Request, film_id: str) -> Response:
    """The film with its request, plan, delivery and segments, and why no worker renders the rest
    of it."""
    found = actions_of(request).show(film_id)
    if not isinstance(found, FilmDetails):
        raise NotFoundError(f"There is no film {film_id!r}.")
    return polled_answer(request, found)


@router.get("/{film_id}/plan")
def plan(request: Request, film_id: str) -> Response:
    """What was asked for, and the plan: scenes, segments, notices."""
    with farm_of(request).database.read() as connection:
        film = films.get(connection, film_id)
        addresses = [segment.address for segment in film.plan.segments]
        before = takes.rendered(connection, addresses)
    return json_answer(
        {**plan_data(film.request, film.plan, before), "request": to_json(film.request)}
    )


@router.get("/{film_id}/segments")
def segments(request: Request, film_id: str) -> Response:
    """The segments in order, with what made them."""
    with farm_of(request).database.read() as connection:
        films.status(connection, film_id)
        rows = progress.of_film(connection, film_id)
        made = takes.made_by(connection, film_id)
    items = [{**to_json(row), "made_by": made.get(row.position)} for row in rows]
    return json_answer({"items": items})


@router.get("/{film_id}/delivery")
def delivery(request: Request, film_id: str) -> Response:
    """The finished film: size, digest, seams, sound. 404 before it is delivered."""
    with farm_of(request).database.read() as connection:
        film = films.get(connection, film_id)
    if film.delivery is None:
        raise NotFoundError(f"{film_id} is {film.status}: it has no file.")
    return json_answer(to_json(film.delivery))


@router.get("/{film_id}/events")
def history(request: Request, film_id: str, after: int = 0) -> Response:
    """What happened to the film, oldest first; events with higher numbers than `after`."""
    farm = farm_of(request)
    with farm.database.read() as connection:
        films.status(connection, film_id)
    found = actions_of(request).history(film_id, in_bounds(after))
    return polled_answer(request, {"items": found.events, "open": found.open})


@router.get("/{film_id}/deliveries")
def deliveries(request: Request, film_id: str, names: Names = None) -> Response:
    """The film with the name, size and digest (SHA-256) of its file; null if it is not
    delivered."""
    farm = farm_of(request)
    with farm.database.read() as connection:
        films.status(connection, film_id)
    return polled_answer(request, {"items": actions_of(request).deliverables(film_id, names)})


@router.get("/{film_id}/link")
def link(
    request: Request,
    film_id: str,
    seconds: Annotated[float, Query(description="How long it works.")] = 86400.0,
    file_name: Annotated[str | None, Query(description="What browsers save it as.")] = None,
) -> Response:
    """An address of its file in the store that needs no key; only if the store is S3."""
    farm = farm_of(request)
    actions = actions_of(request)
    with farm.database.read() as connection:
        films.status(connection, film_id)
    (film,) = actions.deliverables(film_id)
    if file_name:
        film = film.replace(file_name=safe_name(file_name))
    url = actions.link(film, seconds)
    if url.startswith("file:"):
        raise InputError(
            "The store of this farm is a folder of the server: there are no links to its films. "
            "`longreel download` fetches them."
        )
    return json_answer({"url": url})


@router.get("/{film_id}/content", responses=FILES)
def content(request: Request, film_id: str, variant: str = "video") -> Response:
    """The file of a finished film, its `thumbnail` or its `spritesheet`."""
    require_variant(variant)
    farm = farm_of(request)
    with farm.database.read() as connection:
        film = films.get(connection, film_id)
    if film.delivery is None:
        raise NotFoundError(f"{film_id} is {film.status}: it has no file.")
    return film_response(farm, film, film.delivery, variant)


@router.post("/{film_id}/cancel")
def cancel(request: Request, film_id: str) -> Response:
    """Cancels a film that is not finished. Rendered segments are kept."""
    with farm_of(request).database.write() as connection:
        films.status(connection, film_id)
        return json_answer({"cancelled": user_actions.cancel(connection, film_id)})


@router.post("/{film_id}/requeue")
def requeue(request: Request, film_id: str, failed: bool = False, check: bool = False) -> Response:
    """Queues a failed or cancelled film again, with `failed` only a failed one; with `check` also
    a delivered one whose file is missing or damaged, which takes as long as reading it."""
    farm = farm_of(request)
    with farm.database.read() as connection:
        films.status(connection, film_id)
    if check:
        return json_answer({"queued": actions_of(request).requeue(film_id)})
    with farm.database.write() as connection:
        again = user_actions.requeue(connection, film_id, failed_only=failed)
        return json_answer({"queued": again})


@router.post("/{film_id}/retake", status_code=201)
def retake(request: Request, film_id: str, wanted: Retake) -> Response:
    """Submits the film again with other seeds for some scenes: only these are rendered."""
    farm = farm_of(request)
    made = retake_film(farm, film_id, wanted.seeds, key_id_of(request))
    with farm.database.read() as connection:
        (row,) = listing.films_of(connection, made)
    return json_answer(to_json(row), 201, {"location": f"/api/v1/films/{made}"})


@router.delete("/{film_id}")
def remove(request: Request, film_id: str) -> Response:
    """Removes a finished film and its file."""
    farm = farm_of(request)
    with farm.database.read() as connection:
        films.status(connection, film_id)
    return json_answer(to_json(remove_films(farm, film_id)))
