"""`POST /v1/videos/sync`: a video that is answered with its file once it is finished."""

from __future__ import annotations

import asyncio
import math
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse

from app.api.bodies import reading_fields
from app.api.documents import OPENAI_ERRORS, VIDEO_FILE, body_of
from app.api.event_hub import EventHub, Listener
from app.api.openai import create as creation
from app.api.openai import fields as read
from app.api.openai.errors import ApiError, answer
from app.api.openai.objects import video_id
from app.api.openai.requests import make_film
from app.api.parts import farm_of
from db.films import films, listing
from film.errors import InputError
from film.reading.values import short
from film.types import FilmStatus
from flows.deliveries import fetch_film, film_file_name
from flows.farm import Farm

router = APIRouter(prefix="/v1/videos", tags=["videos"], responses=OPENAI_ERRORS)
MOST_WAITING = 64
"""Requests of one process that may wait at the same time."""
LOOK_SECONDS = 5.0
"""Pause between two looks at a film of which no event came."""
GONE_SECONDS = 1.0
"""Pause between two looks at whether the client is still there."""
AGAIN_SECONDS = "10"
_ENDS = ("delivered", "failed", "cancelled")
_TIMEOUT = {"timeout": {"type": "number", "description": "Seconds to wait at most."}}
_CREATE = body_of({**read.DOCUMENTED, **_TIMEOUT}, ["prompt"])
_GONE = Response(status_code=499)
"""For the log: nobody receives it."""


class WaitingRoom:
    """The requests of this process that wait for their film."""

    def __init__(self) -> None:
        self._count = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for one request, while in the block. Raises `ApiError` if there is none.

        Called in the event loop only.
        """
        if self._count >= MOST_WAITING:
            message = (
                f"{MOST_WAITING} requests wait for their film already; try again later, or ask "
                f"POST /v1/videos, which does not wait."
            )
            raise ApiError(429, message, code="rate_limit_exceeded")
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1


@router.post("/sync", openapi_extra=_CREATE, responses=VIDEO_FILE)
async def create(request: Request) -> Response:
    """Asks for a video, and answers with its file. A client that leaves, or waits in vain, finds
    the video under the id in the header `x-video-id`."""
    farm = farm_of(request)
    room: WaitingRoom = request.app.state.waiting_room
    try:
        with room.place():
            async with reading_fields(request) as given:
                until = time.monotonic() + _patience(farm, given.pop("timeout", None))
                film = await run_in_threadpool(make_film, farm, request, given, creation.create)
            found = await _wait(request, film, until)
    except ApiError as error:
        if error.status != 429:
            raise
        refused = answer(error)
        refused.headers["retry-after"] = AGAIN_SECONDS
        return refused
    if found is None:
        return _GONE
    return await run_in_threadpool(_respond, farm, film, found)


def _patience(farm: Farm, value: Any) -> float:
    """The seconds to wait that a request asks for. Raises `InputError`."""
    most = farm.settings.sync_seconds
    if value is None or value == "":
        return most
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= most:
        raise InputError(f"timeout: expected seconds above 0, up to {most:g}, got {short(value)}")
    return seconds


async def _wait(request: Request, film: str, until: float) -> FilmStatus | None:
    """The status in which a film ended; None if the client left. Raises `ApiError` if the time is
    over or the service stops."""
    hub: EventHub = request.app.state.hub
    listener = Listener(film, asyncio.get_running_loop())
    with ExitStack() as stack:
        await run_in_threadpool(stack.enter_context, hub.listening(listener))
        while True:
            status = await run_in_threadpool(_status, farm_of(request), film)
            if status.final:
                return status
            if not await _pause(request, listener, until):
                return None
            if time.monotonic() >= until:
                raise _unfinished(504, film, "is not finished within the time to wait", "timeout")


async def _pause(request: Request, listener: Listener, until: float) -> bool:
    """Returns when the film may have ended, or the time is over; False if the client left."""
    next_look = min(until, time.monotonic() + LOOK_SECONDS)
    while (left := next_look - time.monotonic()) > 0:
        if await request.is_disconnected():
            return False
        try:
            event = await asyncio.wait_for(listener.queue.get(), min(left, GONE_SECONDS))
        except TimeoutError:
            continue
        if event is None:
            raise _unfinished(503, listener.name or "", "goes on without this service", "stopped")
        if event.kind in _ENDS:
            break
    return True


def _status(farm: Farm, film: str) -> FilmStatus:
    with farm.database.read() as connection:
        return films.status(connection, film)


def _unfinished(status: int, film: str, what: str, code: str) -> ApiError:
    name = video_id(film)
    message = f"The video {name} {what}; GET /v1/videos/{name} shows how far it is."
    return ApiError(status, message, code=code, retry=False)


def _respond(farm: Farm, name: str, status: FilmStatus) -> Response:
    with farm.database.read() as connection:
        film = films.get(connection, name)
        (row,) = listing.films_of(connection, name)
    if film.delivery is None:
        code = "cancelled" if status is FilmStatus.CANCELLED else "render_failed"
        message = row.error or f"The video {video_id(name)} was cancelled."
        raise ApiError(409 if code == "cancelled" else 500, message, code=code, retry=False)
    folder = Path(tempfile.mkdtemp(prefix="longreel-sync-"))
    try:
        # Not a link to the store: clients of this route do not follow redirects.
        path = folder / "film.mp4"
        fetch_film(farm.store, film.delivery, path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return FileResponse(
        path,
        media_type="video/mp4",
        filename=film_file_name(film),
        headers={"x-video-id": video_id(name)},
        background=BackgroundTask(shutil.rmtree, folder, ignore_errors=True),
    )
