"""Endpoints of webhooks, and the outbox: what is to be sent is written in the transaction that
makes it true, so that no crash loses it."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db.clock import now
from db.rows import columns_of, read_row
from db.tables import webhook_endpoints, webhook_outbox
from film.errors import NotFoundError
from film.types import FilmStatus, Struct

EVENT_TYPES = ("video.completed", "video.failed")
PAUSES = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 28800.0)
"""Seconds until the next attempt, after the first, second, … one failed: a day in all."""
LEASE_SECONDS = 60.0
"""How long a note stays with the process that sends it."""
OLD_SECRET_SECONDS = 24 * 3600.0
"""How long the secret of before signs too, if that is wanted when it is rotated."""
AT_ONCE = 20
KEPT_SECONDS = 7 * 24 * 3600.0


class Endpoint(Struct, frozen=True, kw_only=True):
    """Where notes go."""

    id: str
    name: str
    url: str
    event_types: tuple[str, ...]
    secret: str
    """As `whsec_` and base64 (Standard Webhooks)."""
    old_secret: str | None
    old_until: float | None
    created_at: float
    updated_at: float


class Note(Struct, frozen=True, kw_only=True):
    """One thing to be sent, and its endpoint."""

    id: int
    film_id: str
    event_type: str
    created_at: float
    attempts: int
    endpoint: Endpoint
    at: float
    """Now, by the database's clock."""


class NoteRow(Struct, frozen=True, kw_only=True):
    """A note as listings show it."""

    id: int
    endpoint_id: str
    film_id: str
    event_type: str
    state: str
    """`waiting`, `sent` or `dead`: given up after a day."""
    attempts: int
    created_at: float
    error: str | None


def new_secret() -> str:
    """A secret of 256 random bits."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def create(connection: Connection, name: str, url: str, event_types: Sequence[str]) -> Endpoint:
    """Adds an endpoint."""
    endpoint_id = f"we_{secrets.token_hex(8)}"
    connection.execute(
        webhook_endpoints.insert().values(
            id=endpoint_id,
            name=name,
            url=url,
            event_types=list(event_types),
            secret=new_secret(),
            created_at=now(),
            updated_at=now(),
        )
    )
    return get(connection, endpoint_id)


def get(connection: Connection, endpoint_id: str) -> Endpoint:
    """One endpoint. Raises `NotFoundError`."""
    found = next((one for one in listing(connection) if one.id == endpoint_id), None)
    if found is None:
        raise NotFoundError(f"There is no webhook endpoint {endpoint_id!r}.")
    return found


def listing(connection: Connection) -> list[Endpoint]:
    """All endpoints, newest first."""
    query = sa.select(*columns_of(webhook_endpoints, Endpoint)).order_by(
        webhook_endpoints.c.created_at.desc(), webhook_endpoints.c.id
    )
    return [
        read_row(Endpoint, row, event_types=tuple(row.event_types))
        for row in connection.execute(query)
    ]


def update(connection: Connection, endpoint_id: str, **changes: Any) -> Endpoint:
    """Changes name, url or event_types. Raises `NotFoundError`."""
    if changes:
        _change(connection, endpoint_id, {**changes, "updated_at": now()})
    return get(connection, endpoint_id)


def rotate(connection: Connection, endpoint_id: str, *, keep_old: bool) -> Endpoint:
    """Gives an endpoint another secret; with `keep_old`, the one of before signs too for a day.

    Raises `NotFoundError`.
    """
    before = get(connection, endpoint_id)
    old = {
        "old_secret": before.secret if keep_old else None,
        "old_until": now() + OLD_SECRET_SECONDS if keep_old else None,
    }
    _change(connection, endpoint_id, {"secret": new_secret(), "updated_at": now(), **old})
    return get(connection, endpoint_id)


def delete(connection: Connection, endpoint_id: str) -> None:
    """Removes an endpoint with what was to be sent to it. Raises `NotFoundError`."""
    get(connection, endpoint_id)
    connection.execute(webhook_outbox.delete().where(webhook_outbox.c.endpoint_id == endpoint_id))
    connection.execute(webhook_endpoints.delete().where(webhook_endpoints.c.id == endpoint_id))


def _change(connection: Connection, endpoint_id: str, values: dict[str, Any]) -> None:
    connection.execute(
        webhook_endpoints.update().where(webhook_endpoints.c.id == endpoint_id).values(**values)
    )


def enqueue(connection: Connection, film_ids: Sequence[str], status: FilmStatus) -> None:
    """Writes a note for each endpoint that wants to know that these films ended like this."""
    kind = "video.completed" if status is FilmStatus.DELIVERED else "video.failed"
    wanted = [one.id for one in listing(connection) if kind in one.event_types]
    notes = [
        {"endpoint_id": endpoint_id, "film_id": film_id, "event_type": kind}
        for film_id in film_ids
        for endpoint_id in wanted
    ]
    if notes:
        connection.execute(_NOTE, notes)


_NOTE = webhook_outbox.insert().values(state="waiting", attempts=0, created_at=now(), next_at=now())
_DUE = sa.and_(
    webhook_outbox.c.state == sa.literal_column("'waiting'"), webhook_outbox.c.next_at <= now()
)


def claim(connection: Connection) -> list[Note]:
    """Notes that are due, which no other process sends within the next minute."""
    due = (
        sa.select(webhook_outbox.c.id)
        .where(_DUE)
        .order_by(webhook_outbox.c.next_at)
        .limit(AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    ids = connection.execute(due).scalars().all()
    if not ids:
        return []
    connection.execute(
        webhook_outbox.update()
        .where(webhook_outbox.c.id.in_(ids))
        .values(next_at=now() + LEASE_SECONDS, attempts=webhook_outbox.c.attempts + 1)
    )
    endpoints = {one.id: one for one in listing(connection)}
    rows = connection.execute(
        sa.select(webhook_outbox, now().label("at"))
        .where(webhook_outbox.c.id.in_(ids))
        .order_by(webhook_outbox.c.id)
    )
    return [
        Note(
            id=row.id,
            film_id=row.film_id,
            event_type=row.event_type,
            created_at=row.created_at,
            attempts=row.attempts,
            endpoint=endpoints[row.endpoint_id],
            at=row.at,
        )
        for row in rows
        if row.endpoint_id in endpoints
    ]


def note_sent(connection: Connection, note: Note) -> None:
    """It arrived."""
    connection.execute(
        webhook_outbox.update()
        .where(webhook_outbox.c.id == note.id)
        .values(state="sent", error=None)
    )


def note_failed(connection: Connection, note: Note, error: str) -> bool:
    """It did not arrive: it is sent again later, or (True) given up after the last attempt."""
    dead = note.attempts > len(PAUSES)
    values: dict[str, Any] = {"error": error}
    if dead:
        values["state"] = "dead"
    else:
        values["next_at"] = now() + PAUSES[note.attempts - 1]
    connection.execute(
        webhook_outbox.update().where(webhook_outbox.c.id == note.id).values(**values)
    )
    return dead


def forget_sent(connection: Connection) -> None:
    """Removes notes that arrived a week ago or before."""
    old = webhook_outbox.c.created_at < now() - KEPT_SECONDS
    connection.execute(webhook_outbox.delete().where(webhook_outbox.c.state == "sent", old))


def replay(connection: Connection, endpoint_id: str) -> int:
    """Sends again what was given up; the number of notes. Raises `NotFoundError`."""
    get(connection, endpoint_id)
    result = connection.execute(
        webhook_outbox.update()
        .where(webhook_outbox.c.endpoint_id == endpoint_id, webhook_outbox.c.state == "dead")
        .values(state="waiting", attempts=0, next_at=now())
    )
    return int(result.rowcount)


def outbox(connection: Connection, endpoint_id: str, limit: int) -> list[NoteRow]:
    """The latest notes for an endpoint, newest first."""
    rows = connection.execute(
        sa.select(*columns_of(webhook_outbox, NoteRow))
        .where(webhook_outbox.c.endpoint_id == endpoint_id)
        .order_by(webhook_outbox.c.id.desc())
        .limit(limit)
    )
    return [read_row(NoteRow, row) for row in rows]
