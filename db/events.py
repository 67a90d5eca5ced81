"""What happened to a film, kept for whoever asks later."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db.clock import now
from db.tables import events
from film.types import Struct


class Event(Struct, frozen=True, kw_only=True):
    """One thing that happened."""

    at: float
    """Seconds since 1970."""
    kind: str
    segment: int | None
    """Position in the film, None where the film itself is meant."""
    message: str
    detail: str | None
    """A traceback, where there is one."""


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
    connection.execute(
        events.insert().values(
            film_id=film_id, kind=kind, message=message, segment=segment, detail=detail, at=now()
        )
    )


def of_film(connection: Connection, film_id: str) -> list[Event]:
    """The events of a film, oldest first."""
    columns = [events.c[field] for field in Event.__struct_fields__]
    rows = connection.execute(
        sa.select(*columns).where(events.c.film_id == film_id).order_by(events.c.id)
    )
    return [Event(**row._mapping) for row in rows]


def count(connection: Connection, film_id: str, kind: str) -> int:
    """How often something of `kind` happened to a film."""
    query = sa.select(sa.func.count()).where(events.c.film_id == film_id, events.c.kind == kind)
    return connection.execute(query).scalar_one()
