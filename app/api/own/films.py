"""Films: listing, showing, steering, downloading."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from app.api.documents import FILES
from app.api.downloads import film_response, require_variant
from app.api.own.answers import json_answer
from app.api.pages import read_limit
from app.api.parts import farm_of
from app.api.schemas import schema_of
from app.plan_data import plan_data
from app.statuses import read_statuses
from db import events
from db.films import films, listing, user_actions
from db.films.listing import FilmRow
from db.segments import progress, takes
from film.errors import NotFoundError
from film.types import to_json
from flows.cleaning import remove_films
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
    limit: str = "50",
) -> Response:
    """The films, newest first, a page at a time."""
    count = read_limit(limit, MOST_LISTED)
    with farm_of(request).database.read() as connection:
        rows = listing.find_films(
            connection,
            after=after,
            limit=count + 1,
            campaign_id=campaign,
            statuses=read_statuses(status),
            text=text,
        )
    following = rows[count - 1].id if len(rows) > count else None
    return json_answer({"items": [to_json(row) for row in rows[:count]], "next": following})


@router.get("/{film_id}", response_model=schema_of(FilmRow))
def show(request: Request, film_id: str) -> Response:
    """A film as listings show it."""
    with farm_of(request).database.read() as connection:
        films.status(connection, film_id)
        (row,) = listing.films_of(connection, film_id)
    return json_answer(to_json(row))


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
def history(request: Request, film_id: str) -> Response:
    """What happened to the film, oldest first."""
    with farm_of(request).database.read() as connection:
        films.status(connection, film_id)
        found = events.of_film(connection, film_id)
    return json_answer({"items": [to_json(event) for event in found]})


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
def requeue(request: Request, film_id: str) -> Response:
    """Queues a failed or cancelled film again."""
    with farm_of(request).database.write() as connection:
        films.status(connection, film_id)
        return json_answer({"queued": user_actions.requeue(connection, film_id)})


@router.post("/{film_id}/retake", status_code=201)
def retake(request: Request, film_id: str, wanted: Retake) -> Response:
    """Submits the film again with other seeds for some scenes: only these are rendered."""
    farm = farm_of(request)
    made = retake_film(farm, film_id, wanted.seeds)
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
