"""Removing finished films, and what films still refer to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db import characters
from db.clock import now
from db.films.films import BATCH, batched, named
from db.rows import whole_number
from db.tables import batch_lines, campaigns, events, films, kinds, segments, videos
from film.errors import InputError
from film.types import FilmStatus, Struct

_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
_KEY = films.c.delivery["key"].as_string()


class Removed(Struct, frozen=True, kw_only=True):
    """Films that are not in the database any more."""

    film_ids: tuple[str, ...]
    keys: tuple[str, ...]
    """Objects of delivered films that no other film has."""


class Expired(Struct, frozen=True, kw_only=True):
    """A film that was kept for long enough."""

    id: str
    size_bytes: int
    """Of its file; 0 if it has none."""


def expired(connection: Connection, seconds: float) -> list[Expired]:
    """The films that were finished longer ago than that."""
    rows = connection.execute(
        sa.select(films.c.id, whole_number(films.c.delivery, "size_bytes").label("size_bytes"))
        .where(films.c.finished_at < now() - seconds)
        .order_by(films.c.id)
    )
    return [Expired(id=row.id, size_bytes=row.size_bytes or 0) for row in rows]


def remove(connection: Connection, name: str) -> Removed:
    """Removes the film `name`, or the films of that campaign, with their events; takes stay.

    Raises `InputError` if one of them is not finished; nothing is removed then.
    """
    rows = connection.execute(
        sa.select(films.c.id, films.c.campaign_id, films.c.status, _KEY.label("key"))
        .where(named(name))
        .order_by(films.c.campaign_id, films.c.position)
        .with_for_update()
    ).all()
    unfinished = [row.id for row in rows if not FilmStatus(row.status).final]
    if len(unfinished) > 1:
        raise InputError(
            f"{len(unfinished)} films of {name} are not finished; `longreel cancel {name}` first."
        )
    if unfinished:
        raise InputError(
            f"{unfinished[0]} is not finished; `longreel cancel {unfinished[0]}` first."
        )
    for some in batched([row.id for row in rows], BATCH):
        for table in (events, segments):
            connection.execute(table.delete().where(table.c.film_id.in_(some)))
        for asked in (videos, batch_lines):
            connection.execute(asked.delete().where(asked.c.film_id.in_(some)))
        connection.execute(films.delete().where(films.c.id.in_(some)))
    _remove_empty(connection, {row.campaign_id for row in rows})
    keys = {row.key for row in rows if row.key}
    return Removed(
        film_ids=tuple(row.id for row in rows),
        keys=tuple(sorted(keys - delivered_keys(connection))),
    )


def _remove_empty(connection: Connection, campaign_ids: set[str]) -> None:
    """Removes those of the campaigns that have no film left."""
    for campaign_id in sorted(campaign_ids):
        left = sa.select(films.c.id).where(films.c.campaign_id == campaign_id).limit(1)
        if connection.execute(left).first() is None:
            connection.execute(kinds.delete().where(kinds.c.campaign_id == campaign_id))
            connection.execute(campaigns.delete().where(campaigns.c.id == campaign_id))


def delivered_keys(connection: Connection) -> set[str]:
    """The keys of all films that were delivered."""
    keys = connection.execute(sa.select(_KEY).where(_KEY.is_not(None))).scalars()
    return set(keys)


def uploads_needed(connection: Connection) -> set[str]:
    """Digests of the pictures and LoRAs that a film or a character refers to (and others, which do
    no harm)."""
    needed = {digest for text in _requests(connection) for digest in _DIGEST.findall(text)}
    return needed | characters.images(connection)


def _requests(connection: Connection) -> Iterator[str]:
    query: Any = sa.select(sa.cast(films.c.request, sa.Text))
    yield from connection.execution_options(yield_per=BATCH).execute(query).scalars()
