"""What users decide about films: to cancel them, and to queue them again.

Rows are locked in one order, films before campaigns before segments, so that two transactions never
wait for each other.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db import events, quotas, webhooks
from db.clock import now
from db.films.films import BATCH, batched, end_segments, named, settle
from db.segments.readiness import adopt_takes, wake
from db.tables import campaigns, films, segments, takes
from film.types import FilmStatus, SegmentStatus, Struct


def cancel(connection: Connection, name: str, why: str = "Cancelled by the user") -> list[str]:
    """Cancels the films of `name` that are not finished, and returns their ids.

    Their running segments lose their leases.
    """
    which = sa.and_(named(name), films.c.finished_at.is_(None))
    changes = {"status": FilmStatus.CANCELLED, "finished_at": now()}
    ended = _change(connection, which, {**changes, "owner": None, "lease_until": None})
    settle(connection, ended.campaign_ids)
    cancelled = sa.select(films.c.id).where(named(name), films.c.status == FilmStatus.CANCELLED)
    end_segments(connection, segments.c.film_id.in_(cancelled))
    events.record_all(connection, ended.film_ids, "cancelled", why)
    webhooks.enqueue(connection, ended.film_ids, FilmStatus.CANCELLED)
    return ended.film_ids


def requeue(connection: Connection, name: str, *, failed_only: bool = False) -> list[str]:
    """Queues the failed and cancelled films of `name` again, and returns their ids.

    What they have rendered is kept. Cancelled ones are left as they are with `failed_only`. Raises
    `QuotaError` if their key may not have as many films at once.
    """
    ended = [FilmStatus.FAILED] if failed_only else [FilmStatus.FAILED, FilmStatus.CANCELLED]
    which = sa.and_(named(name), films.c.status.in_(ended))
    return _open_again(connection, which, {"error": None}, "Queued again")


def reopen(connection: Connection, film_id: str) -> bool:
    """Queues a delivered film again, whose file is gone from the store; no other film."""
    which = sa.and_(films.c.id == film_id, films.c.status == FilmStatus.DELIVERED)
    why = "The film's file is gone: made again"
    # SQL's NULL, which the JSON null that None would mean is not.
    return bool(_open_again(connection, which, {"delivery": sa.null()}, why))


def _open_again(
    connection: Connection, which: sa.ColumnElement[bool], changes: dict[str, Any], why: str
) -> list[str]:
    paused = sa.exists().where(
        campaigns.c.id == films.c.campaign_id, campaigns.c.paused_at.is_not(None)
    )
    status = sa.case((paused, FilmStatus.PAUSED), else_=FilmStatus.QUEUED)
    opened = _change(connection, which, {**changes, "status": status, "finished_at": None})
    connection.execute(
        campaigns.update().where(campaigns.c.id.in_(opened.campaign_ids)).values(active=True)
    )
    for key_id in _keys_of(connection, opened.campaign_ids):
        quotas.require_open(connection, key_id)
    for ids in batched(opened.film_ids, BATCH):
        _requeue_segments(connection, segments.c.film_id.in_(ids))
    events.record_all(connection, opened.film_ids, "queued", why)
    return opened.film_ids


def _keys_of(connection: Connection, campaign_ids: list[str]) -> list[str]:
    """The keys that these campaigns were submitted with."""
    query = sa.select(campaigns.c.key_id).where(
        campaigns.c.id.in_(campaign_ids), campaigns.c.key_id.is_not(None)
    )
    return list(connection.execute(query.distinct()).scalars())


def _requeue_segments(connection: Connection, mine: sa.ColumnElement[bool]) -> None:
    first = segments.c.continues.is_(None)
    ended = segments.c.status.in_((SegmentStatus.FAILED, SegmentStatus.CANCELLED))
    # A finished film keeps its segments done when their takes are forgotten.
    forgotten = sa.and_(
        segments.c.status == SegmentStatus.DONE,
        segments.c.address.not_in(sa.select(takes.c.address)),
    )
    connection.execute(
        segments.update()
        .where(mine, sa.or_(ended, forgotten))
        .values(
            status=sa.case((first, SegmentStatus.READY), else_=SegmentStatus.WAITING),
            failures=0,
            error=None,
            progress=0.0,
            reused=False,
        )
    )
    adopt_takes(connection, mine)
    wake(connection, mine)


class _Changed(Struct, frozen=True, kw_only=True):
    """Films that a statement changed."""

    film_ids: list[str]
    campaign_ids: list[str]


def _change(
    connection: Connection, which: sa.ColumnElement[bool], values: dict[str, Any]
) -> _Changed:
    rows = connection.execute(
        films.update().where(which).values(**values).returning(films.c.id, films.c.campaign_id)
    ).all()
    return _Changed(
        film_ids=[row.id for row in rows],
        campaign_ids=sorted({row.campaign_id for row in rows}),
    )
