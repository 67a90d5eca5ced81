"""Batches: films that a client submitted as the lines of a file."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db.clock import now
from db.rows import columns_of, read_row
from db.tables import batch_lines, batches, films
from film.errors import NotFoundError
from film.types import FilmStatus, Struct

LEASE_SECONDS = 60.0
"""How long a batch stays with a process that checks its lines and stopped renewing its lease."""


class BatchRow(Struct, frozen=True, kw_only=True):
    """A batch as it was created, and how far the work on its lines got."""

    id: str
    input_file_id: str
    endpoint: str
    completion_window: str
    details: dict[str, str]
    """The client's own notes (`metadata`)."""
    attempts: int
    """Processes that have begun to check its lines (fencing token)."""
    put_back: int
    """Those of them that put it back in good order."""
    campaign_id: str | None
    """Of its films; None until its lines are checked, and if one of them was refused."""
    errors: list[dict[str, Any]]
    """Refused lines, as OpenAI lists them."""
    total: int
    """Number of films."""
    created_at: float
    started_at: float | None
    """When its films were queued."""
    failed_at: float | None
    cancelled_at: float | None
    key_id: str | None = None
    """Id of the key that it was created with."""


class Tally(Struct, frozen=True, kw_only=True):
    """How many films of a batch have ended, and how."""

    films: int
    """All that are in the database."""
    delivered: int
    failed: int
    """Failed or cancelled."""
    finished_at: float | None
    """When the last of them ended; None if there is none."""


def create(
    connection: Connection,
    *,
    input_file_id: str,
    endpoint: str,
    completion_window: str,
    details: Mapping[str, str],
    digest: str,
    key: str | None,
    key_id: str | None = None,
) -> BatchRow:
    """Adds a batch whose lines are not checked yet."""
    batch_id = f"batch_{secrets.token_hex(12)}"
    connection.execute(
        batches.insert().values(
            id=batch_id,
            input_file_id=input_file_id,
            endpoint=endpoint,
            completion_window=completion_window,
            details=dict(details),
            errors=[],
            total=0,
            digest=digest,
            key=key,
            key_id=key_id,
            attempts=0,
            put_back=0,
            created_at=now(),
        )
    )
    return get(connection, batch_id)


def get(connection: Connection, batch_id: str) -> BatchRow:
    """One batch. Raises `NotFoundError`."""
    found = _select(connection, batches.c.id == batch_id)
    if not found:
        raise NotFoundError(f"There is no batch {batch_id!r}.")
    return found[0]


def lock(connection: Connection, batch_id: str) -> None:
    """Waits for a process that is just submitting the films of a batch, and then for none until the
    end of the transaction."""
    connection.execute(sa.select(batches.c.id).where(batches.c.id == batch_id).with_for_update())


def find(
    connection: Connection, after: str | None, limit: int, key_id: str | None = None
) -> list[BatchRow]:
    """Batches, newest first; those after the batch `after`, and of one key, if given. Raises
    `NotFoundError` if there is no such batch."""
    mine = sa.true() if key_id is None else batches.c.key_id == key_id
    if after is None:
        return _select(connection, mine, limit=limit)
    last = get(connection, after)
    place = sa.tuple_(batches.c.created_at, batches.c.id)
    here = sa.tuple_(sa.literal(last.created_at), sa.literal(last.id))
    return _select(connection, mine, place < here, limit=limit)


def repeated(
    connection: Connection,
    key: str | None,
    digest: str,
    seconds: float,
    key_id: str | None = None,
) -> tuple[BatchRow, str] | None:
    """The latest batch younger than `seconds` that the API key `key_id` created with the
    Idempotency-Key `key`, or, without that, by the same request; and the digest of its request."""
    same = batches.c.key == key if key else batches.c.digest == digest
    query = sa.select(batches.c.id, batches.c.digest).where(
        same,
        batches.c.created_at > now() - seconds,
        batches.c.key_id.is_not_distinct_from(key_id),
    )
    row = connection.execute(query.order_by(batches.c.created_at.desc())).first()
    return (get(connection, row.id), row.digest) if row else None


def start(connection: Connection, batch: BatchRow, campaign_id: str, total: int) -> bool:
    """Notes that its films are queued; False if the lease was lost, or the batch cancelled."""
    values = {"campaign_id": campaign_id, "total": total, "started_at": now()}
    return _change(connection, batch, values)


def fail(connection: Connection, batch: BatchRow, errors: Sequence[Mapping[str, Any]]) -> bool:
    """Notes why its lines are refused; False if the lease was lost, or the batch cancelled."""
    return _change(connection, batch, {"failed_at": now(), "errors": list(errors)})


def is_due(connection: Connection) -> bool:
    """True if there is a batch whose lines no process checks."""
    return connection.execute(sa.select(batches.c.id).where(_DUE).limit(1)).first() is not None


def claim(connection: Connection) -> BatchRow | None:
    """The oldest batch whose lines no process checks, leased to the caller; None if there is
    none."""
    due = sa.select(batches.c.id).where(_DUE).order_by(batches.c.created_at, batches.c.id)
    found = connection.execute(due.limit(1).with_for_update(skip_locked=True)).scalar()
    if found is None:
        return None
    values = {"lease_until": now() + LEASE_SECONDS, "attempts": batches.c.attempts + 1}
    connection.execute(batches.update().where(batches.c.id == found).values(**values))
    return get(connection, found)


def beat(connection: Connection, batch: BatchRow) -> bool:
    """Renews the lease of a batch; False if it was lost, or the batch cancelled."""
    return _change(connection, batch, {"lease_until": now() + LEASE_SECONDS})


def put_back(connection: Connection, batch: BatchRow, seconds: float = 0.0) -> bool:
    """Has another process check the lines after `seconds`; False if the lease was lost."""
    values = {"lease_until": now() + seconds, "put_back": batch.put_back + 1}
    return _change(connection, batch, values)


def cancel(connection: Connection, batch_id: str) -> None:
    """Notes that a batch was cancelled, once. Its films are another matter."""
    which = sa.and_(
        batches.c.id == batch_id, batches.c.failed_at.is_(None), batches.c.cancelled_at.is_(None)
    )
    connection.execute(batches.update().where(which).values(cancelled_at=now()))


def tallies(connection: Connection, campaign_ids: Collection[str]) -> dict[str, Tally]:
    """How the films of these campaigns stand; of those that have any."""
    ended = {FilmStatus.FAILED, FilmStatus.CANCELLED}
    columns = (
        sa.func.count().label("films"),
        _count(films.c.status == FilmStatus.DELIVERED).label("delivered"),
        _count(films.c.status.in_(ended)).label("failed"),
        sa.func.max(films.c.finished_at).label("finished_at"),
    )
    rows = connection.execute(
        sa.select(films.c.campaign_id, *columns)
        .where(films.c.campaign_id.in_(campaign_ids))
        .group_by(films.c.campaign_id)
    )
    return {
        row.campaign_id: Tally(
            films=row.films,
            delivered=row.delivered,
            failed=row.failed,
            finished_at=row.finished_at,
        )
        for row in rows
    }


def insert_lines(connection: Connection, custom_ids: Mapping[str, str]) -> None:
    """Notes what the client calls the lines of these films (film id → `custom_id`)."""
    rows = [{"film_id": film, "custom_id": name} for film, name in custom_ids.items()]
    connection.execute(batch_lines.insert(), rows)


def custom_ids(connection: Connection, film_ids: Collection[str]) -> dict[str, str]:
    """What clients call the lines of these films."""
    query = sa.select(batch_lines).where(batch_lines.c.film_id.in_(film_ids))
    return {row.film_id: row.custom_id for row in connection.execute(query)}


_CHECKING = sa.and_(
    batches.c.campaign_id.is_(None),
    batches.c.failed_at.is_(None),
    batches.c.cancelled_at.is_(None),
)

_DUE = sa.and_(_CHECKING, sa.or_(batches.c.lease_until.is_(None), batches.c.lease_until <= now()))


def _count(which: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((which, 1), else_=0)), 0)


def _change(connection: Connection, batch: BatchRow, values: Mapping[str, Any]) -> bool:
    # The attempt is the fencing token: another process that checks the lines has a higher one.
    mine = sa.and_(batches.c.id == batch.id, batches.c.attempts == batch.attempts)
    which = sa.and_(mine, _CHECKING)
    return connection.execute(batches.update().where(which).values(**values)).rowcount == 1


def _select(
    connection: Connection, *which: sa.ColumnElement[bool], limit: int | None = None
) -> list[BatchRow]:
    rows = connection.execute(
        sa.select(*columns_of(batches, BatchRow))
        .where(*which)
        .order_by(batches.c.created_at.desc(), batches.c.id.desc())
        .limit(limit)
    )
    return [read_row(BatchRow, row) for row in rows]
