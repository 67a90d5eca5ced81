"""What a key of the service may use: films at once, stored bytes, GPU time a day."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db import spending
from db.rows import whole_number
from db.tables import api_keys, campaigns, films
from film.errors import QuotaError
from film.types import Struct, counted

_FILM_BYTES = whole_number(films.c.delivery, "size_bytes")


class Limits(Struct, frozen=True, kw_only=True):
    """What a key may use; None for no limit."""

    gpu_seconds_a_day: float | None = None
    films_at_once: int | None = None
    """Films that are not finished."""
    stored_bytes: int | None = None
    """Size of its delivered films."""
    requests_a_minute: int | None = None


class Used(Struct, frozen=True, kw_only=True):
    """What a key uses."""

    gpu_seconds_today: float
    """In the last 24 hours."""
    open_films: int
    stored_bytes: int


def used_by(connection: Connection, key_id: str) -> Used:
    """What a key uses now."""
    mine = campaigns.c.key_id == key_id
    of_films = sa.select(
        sa.func.count().filter(films.c.finished_at.is_(None)).label("open"),
        sa.func.coalesce(sa.func.sum(_FILM_BYTES), 0).label("bytes"),
    )
    row = connection.execute(of_films.join_from(films, campaigns).where(mine)).one()
    return Used(
        gpu_seconds_today=spending.of_key(connection, key_id),
        open_films=row.open,
        stored_bytes=int(row.bytes),
    )


def lock(connection: Connection, key_id: str) -> None:
    """Has other submissions with this key wait until the end of the transaction, so that two at
    once do not both take what is left; only if the key is limited.

    Not by the key's row: requests note their use there.
    """
    if connection.dialect.name == "postgresql" and _limited(connection, key_id) is not None:
        name = sa.func.hashtextextended(f"quota {key_id}", 0)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(name)))


def require_open(connection: Connection, key_id: str) -> None:
    """Raises `QuotaError` if the key has more films that are not finished than it may, in this
    transaction."""
    row = _limited(connection, key_id)
    if row is None or row.films_at_once is None:
        return
    lock(connection, key_id)
    count = used_by(connection, key_id).open_films
    if count > row.films_at_once:
        raise QuotaError(
            f"This key may have {counted(row.films_at_once, 'unfinished film')} at once; with "
            f"these, it would have {count}."
        )


def _limited(connection: Connection, key_id: str) -> Any:
    """The row of a key with a limit on films; None for others."""
    row = connection.execute(sa.select(api_keys).where(api_keys.c.id == key_id)).first()
    if row is None or (row.films_at_once, row.stored_bytes, row.gpu_seconds_a_day) == (None,) * 3:
        return None
    return row


def require(connection: Connection, key_id: str, count: int) -> None:
    """Raises `QuotaError` if the key may not submit `count` films now; for certain only after
    `lock`."""
    row = _limited(connection, key_id)
    if row is None:
        return
    used = used_by(connection, key_id)
    if row.films_at_once is not None and used.open_films + count > row.films_at_once:
        most = counted(row.films_at_once, "unfinished film")
        if count > row.films_at_once:
            raise QuotaError(
                f"This key may have {most} at once, and these are {count}: submit them in parts, "
                f"or ask for a higher limit."
            )
        raise QuotaError(
            f"This key may have {most} at once and has {used.open_films}; {count} more would be "
            f"too many. Wait until some are finished, or cancel them."
        )
    if row.stored_bytes is not None and used.stored_bytes >= row.stored_bytes:
        raise QuotaError(
            f"The films of this key take up {used.stored_bytes} bytes of the {row.stored_bytes} "
            f"that it may store; remove some first."
        )
    if row.gpu_seconds_a_day is not None and used.gpu_seconds_today >= row.gpu_seconds_a_day:
        raise QuotaError(
            f"This key has used {used.gpu_seconds_today:.0f} of the {row.gpu_seconds_a_day:.0f} "
            f"GPU-seconds that it may use in 24 hours; submit again later."
        )
