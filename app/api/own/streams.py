"""Events as they happen, as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from app.api.event_hub import EventHub, Listener
from app.api.parts import farm_of
from db import events
from db.events import Event
from db.films import campaigns
from film.errors import InputError
from film.types import to_json

router = APIRouter(tags=["events"])
MOST_DIGITS = 18
"""Of a number that every database holds."""
LastEventId = Annotated[
    str | None, Header(description="Number of the last event that was received.")
]


@dataclass(frozen=True)
class Wanted:
    """What a stream is of."""

    name: str | None = None
    """Id of a film or campaign; None for the farm."""
    campaign_id: str = ""
    last: int | None = None
    """Number of the last event that the client has."""


def _wanted(request: Request, last_event_id: LastEventId = None) -> Wanted:
    """Found out before the answer begins. Raises `InputError`, `NotFoundError`."""
    last = last_event_id
    if last is not None and not (last.isascii() and last.isdigit() and len(last) <= MOST_DIGITS):
        raise InputError(f"Last-Event-ID: expected the number of an event, got {last!r}")
    number = None if last is None else int(last)
    name = request.path_params.get("film_id") or request.path_params.get("campaign_id")
    if name is None:
        return Wanted(last=number)
    with farm_of(request).database.read() as connection:
        return Wanted(name, campaigns.of(connection, name).id, number)


async def _listening(
    request: Request, wanted: Annotated[Wanted, Depends(_wanted)]
) -> AsyncIterator[Listener]:
    """A listener that receives events before the answer begins: a client that sees its headers
    misses nothing of what it does next."""
    hub: EventHub = request.app.state.hub
    listener = Listener(wanted.name, asyncio.get_running_loop())
    with ExitStack() as stack:
        await run_in_threadpool(stack.enter_context, hub.listening(listener))
        yield listener


Asked = Annotated[Wanted, Depends(_wanted)]
Listening = Annotated[Listener, Depends(_listening)]


@router.get("/stream", response_class=EventSourceResponse)
async def of_farm(
    request: Request, wanted: Asked, listener: Listening
) -> AsyncIterator[ServerSentEvent]:
    """What happens to all films from now on, or since the last event that was received."""
    async for event in _stream(request, wanted, listener):
        yield event


@router.get("/campaigns/{campaign_id}/stream", response_class=EventSourceResponse)
async def of_campaign(
    request: Request, campaign_id: str, wanted: Asked, listener: Listening
) -> AsyncIterator[ServerSentEvent]:
    """What happens to the films of a campaign."""
    async for event in _stream(request, wanted, listener):
        yield event


@router.get("/films/{film_id}/stream", response_class=EventSourceResponse)
async def of_film(
    request: Request, film_id: str, wanted: Asked, listener: Listening
) -> AsyncIterator[ServerSentEvent]:
    """What happens to a film."""
    async for event in _stream(request, wanted, listener):
        yield event


async def _stream(
    request: Request, wanted: Wanted, listener: Listener
) -> AsyncIterator[ServerSentEvent]:
    missed = await run_in_threadpool(_missed, request, wanted)
    given = {event.id for event in missed}
    for event in missed:
        yield _sent(event)
    while (new := await listener.queue.get()) is not None:
        if new.id not in given:
            yield _sent(new)


def _missed(request: Request, wanted: Wanted) -> list[Event]:
    """The events since the last one that the client has; none if it has none."""
    if wanted.last is None:
        return []
    with farm_of(request).database.read() as connection:
        if wanted.name is None:
            return events.after(connection, wanted.last)
        return events.of(connection, wanted.campaign_id, wanted.name, wanted.last)


def _sent(event: Event) -> ServerSentEvent:
    data: dict[str, Any] = to_json(event)
    del data["id"], data["detail"]
    data["campaign"] = event.film_id.rpartition("-")[0]
    return ServerSentEvent(data=data, event=event.kind, id=str(event.id))
