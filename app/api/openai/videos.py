"""The routes of `/v1/videos`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from app.api.bodies import reading_fields
from app.api.documents import FILES, OPENAI_ERRORS, body_of
from app.api.downloads import film_response, require_variant
from app.api.openai import create as creation
from app.api.openai import fields as read
from app.api.openai.errors import ApiError
from app.api.openai.objects import POLL_AFTER, film_id, poll_after, video_id, video_objects
from app.api.openai.requests import Make, make_film
from app.api.pages import read_limit
from app.api.parts import farm_of, seen_by
from db.films import films, listing, user_actions
from film.errors import InputError
from flows.cleaning import remove_films
from flows.farm import Farm

router = APIRouter(prefix="/v1/videos", tags=["videos"], responses=OPENAI_ERRORS)
_VIDEO_ID = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
_CREATE = body_of(read.DOCUMENTED, ["prompt"])
_REMIX = body_of({"prompt": read.DOCUMENTED["prompt"]}, ["prompt"])
_EDIT = body_of({"prompt": read.DOCUMENTED["prompt"], "video": _VIDEO_ID}, ["prompt", "video"])
_EXTEND = body_of(
    {
        "prompt": read.DOCUMENTED["prompt"],
        "video": _VIDEO_ID,
        "seconds": read.DOCUMENTED["seconds"],
    },
    ["prompt", "video"],
)
MOST_LISTED = 100


@router.post("", openapi_extra=_CREATE)
async def create(request: Request) -> Response:
    """Asks for a video. Answers with it before it is rendered."""
    return await _make(request, creation.create)


@router.get("")
def list_videos(
    request: Request, after: str | None = None, limit: str = "20", order: str = "desc"
) -> Response:
    """The videos, a page at a time."""
    if order not in ("asc", "desc"):
        raise InputError("order: expected asc or desc")
    count = read_limit(limit, MOST_LISTED)
    farm = farm_of(request)
    with farm.database.read() as connection:
        rows = listing.find_films(
            connection,
            after=None if after is None else film_id(after),
            limit=count + 1,
            key_id=seen_by(request),
            ascending=order == "asc",
        )
        found = video_objects(connection, rows[:count])
    return JSONResponse(
        {
            "object": "list",
            "data": found,
            "first_id": video_id(rows[0].id) if rows else None,
            "last_id": video_id(rows[:count][-1].id) if rows else None,
            "has_more": len(rows) > count,
        }
    )


@router.post("/edits", openapi_extra=_EDIT)
async def edit(request: Request) -> Response:
    """A video like another one, with another prompt."""
    return await _make(
        request, lambda farm, asked, _: creation.remix(farm, asked, _video_of(asked.fields))
    )


@router.post("/extensions", openapi_extra=_EXTEND)
async def extend(request: Request) -> Response:
    """A video that begins with another one and continues."""
    return await _make(
        request,
        lambda farm, asked, _: creation.extend(
            farm, asked, _video_of(asked.fields), str(asked.fields.get("seconds") or "4")
        ),
    )


@router.get("/{video}")
def retrieve(request: Request, video: str) -> Response:
    """A video as it is now."""
    return _answer(farm_of(request), film_id(video))


@router.delete("/{video}")
def delete(request: Request, video: str) -> Response:
    """Cancels a video that is not finished, and removes it."""
    farm = farm_of(request)
    name = film_id(video)
    with farm.database.write() as connection:
        films.status(connection, name)
        user_actions.cancel(connection, name)
    remove_films(farm, name)
    return JSONResponse({"id": video_id(name), "object": "video.deleted", "deleted": True})


@router.get("/{video}/content", responses=FILES)
def content(request: Request, video: str, variant: str = "video") -> Response:
    """The file of a finished video, or pictures of it."""
    require_variant(variant)
    farm = farm_of(request)
    film = creation.find(farm, video)
    if film.delivery is None:
        over = film.status.final
        message = f"The video {video} is {film.status}" + ("." if over else "; ask again later.")
        raise ApiError(409 if over else 404, message, code="not_ready", retry=False)
    return film_response(farm, film, film.delivery, variant)


@router.post("/{video}/remix", openapi_extra=_REMIX)
async def remix(request: Request, video: str) -> Response:
    """A video like another one, with another prompt."""
    return await _make(request, lambda farm, asked, _: creation.remix(farm, asked, video))


async def _make(request: Request, make: Make) -> Response:
    farm = farm_of(request)
    async with reading_fields(request) as given:
        made = await run_in_threadpool(make_film, farm, request, given, make)
    return await run_in_threadpool(_answer, farm, made)


def _video_of(fields: Mapping[str, Any]) -> str:
    video = fields.get("video")
    name = video.get("id") if isinstance(video, Mapping) else video
    if not isinstance(name, str) or not name:
        raise InputError('video: give the id of a video, as {"id": "video_…"}')
    return name


def _answer(farm: Farm, name: str) -> Response:
    with farm.database.read() as connection:
        films.get(connection, name)
        (row,) = listing.films_of(connection, name)
        (found,) = video_objects(connection, [row])
    headers = {} if row.status.final else {POLL_AFTER: poll_after(row)}
    return JSONResponse(found, headers=headers)
