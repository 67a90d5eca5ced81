"""The history of a film."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db.clock import now
from db.rows import columns_of, read_row
from db.tables import events, films
from film.types import Struct


class Event(Struct, frozen=True, kw_only=True):
    """One thing that happened."""

    id: int
    """Later ones have higher numbers."""
    film_id: str
    at: float
    """Seconds since 1970."""
    kind: str
    segment: int | None
    """Position in the film, None for the film itself."""
    message: str
    detail: str | None
    """A traceback, if there is one."""


def record(
    connection: Connection,
    film_id: str,
    kind: str,
    message: str,
    *,
    segment: int | None = None,
    detail: str | None = None,
) -> None:
    """Adds an event, in the transaction that makes it true."""
    values = {"film_id": film_id, "kind": kind, "message": message}
    connection.execute(_RECORD, {**values, "segment": segment, "detail": detail})


_RECORD = events.insert().values(at=now())


def record_all(connection: Connection, film_ids: Sequence[str], kind: str, message: str) -> None:
    """Adds the same event for many films."""
    if not film_ids:
        return
    at = connection.execute(sa.select(now())).scalar_one()
    connection.execute(
        events.insert(),
        [{"film_id": one, "kind": kind, "message": message, "at": at} for one in film_ids],
    )


def of_film(connection: Connection, film_id: str) -> list[Event]:
    """The events of a film, oldest first."""
    return _found(connection, events.c.film_id == film_id)


def of(connection: Connection, campaign_id: str, name: str, after: int = 0) -> list[Event]:
    """The events of a campaign, or of its film `name`, oldest first; those after event `after`."""
    mine = events.c.film_id == name
    if name == campaign_id:
        mine = events.c.film_id.in_(sa.select(films.c.id).where(films.c.campaign_id == campaign_id))
    return _found(connection, mine, events.c.id > after)


def latest(connection: Connection) -> int:
    """The number of the latest event; 0 if there is none."""
    return connection.execute(sa.select(sa.func.max(events.c.id))).scalar() or 0


def after(connection: Connection, number: int) -> list[Event]:
    """The events of all films with higher numbers, oldest first."""
    return _found(connection, events.c.id > number)


def _found(connection: Connection, *which: sa.ColumnElement[bool]) -> list[Event]:
    query = sa.select(*columns_of(events, Event)).where(*which).order_by(events.c.id)
    return [read_row(Event, row) for row in connection.execute(query)]


def count(connection: Connection, film_id: str, kind: str) -> int:
    """How often something of `kind` happened to a film."""
    query = sa.select(sa.func.count()).where(events.c.film_id == film_id, events.c.kind == kind)
    return connection.execute(query).scalar_one()
