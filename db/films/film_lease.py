"""The lease on a film's flow, from its claim to the film's end."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db import events, webhooks
from db.clock import now
from db.films.films import OPEN, Film, end_segments, get, settle
from db.rows import RELEASED
from db.tables import LEASED, campaigns, films, segments
from db.tables import events as event_table
from film.errors import UnreadableFilmError
from film.logs import ids
from film.types import Delivery, FilmStatus, SegmentStatus, to_json

logger = logging.getLogger(__name__)

RECENT_EVENTS = 500
"""Events that count as recent."""


def claim(
    connection: Connection,
    owner: str,
    lease_seconds: float,
    campaign_ids: Sequence[str] | None = None,
    *,
    busy_only: bool = False,
    finished_only: bool = False,
    but_not: Sequence[str] = (),
) -> Film | None:
    """Leases the most urgent open film that no process runs, or None; only of `campaigns`, if
    given.

    `busy_only` examines only films whose segments are being rendered or that have a recent event,
    which takes no longer if more films wait; `finished_only` those with nothing left to render;
    `but_not` skips films by id; one that this version cannot read is skipped too. Its
    `flow_run_id` is the one that worked on it before, if the lease of that one ran out.
    """
    free = sa.or_(films.c.lease_until.is_(None), films.c.lease_until < now())
    to_render = sa.exists().where(
        segments.c.film_id == films.c.id, segments.c.status != SegmentStatus.DONE
    )
    skipped = list(but_not)
    query = (
        sa.select(films.c.id)
        .join(campaigns)
        .where(films.c.status.in_(OPEN), free)
        # A film whose flow would only wait must not keep a finished one from being stitched.
        .order_by(
            to_render,
            campaigns.c.priority.desc(),
            campaigns.c.deadline.nulls_last(),
            films.c.created_at,
            films.c.position,
        )
        .limit(1)
        .with_for_update(of=films, skip_locked=True)
    )
    if campaign_ids is not None:
        query = query.where(films.c.campaign_id.in_(campaign_ids))
    if busy_only:
        query = query.where(films.c.id.in_(_busy()))
    if finished_only:
        query = query.where(~_renderable())
    while True:
        film_id = connection.execute(query.where(films.c.id.not_in(skipped))).scalar()
        if film_id is None:
            return None
        try:
            before = get(connection, film_id)
            break
        except UnreadableFilmError as error:  # a process of its version continues it
            logger.warning("%s", error, extra=ids(film=film_id))
            skipped.append(film_id)
    connection.execute(
        films.update()
        .where(films.c.id == film_id)
        .values(
            owner=owner,
            lease_until=now() + lease_seconds,
            attempt=films.c.attempt + 1,
            flow_run_id=None,
        )
    )
    return before.replace(owner=owner, attempt=before.attempt + 1)


def _busy() -> Any:
    """The films whose segments are being rendered, or that have a recent event."""
    told = sa.select(event_table.c.film_id).order_by(event_table.c.id.desc()).limit(RECENT_EVENTS)
    return sa.union(
        sa.select(segments.c.film_id).where(LEASED), sa.select(told.subquery().c.film_id)
    )


def _renderable() -> sa.Exists:
    """What a film with nothing left to do but to be ended has not; those that wait, wait for one
    of these or for one that failed."""
    ready = segments.c.status.in_((SegmentStatus.READY, SegmentStatus.LEASED))
    return sa.exists().where(segments.c.film_id == films.c.id, ready)


def any_rendered(connection: Connection, owner: str) -> bool:
    """True if an open film has nothing left to render, and no process but `owner` has leased it to
    finish it."""
    mine = sa.or_(films.c.owner.is_(None), films.c.owner == owner, films.c.lease_until < now())
    query = sa.select(films.c.id).where(films.c.status.in_(OPEN), mine, ~_renderable())
    return connection.execute(query.limit(1)).first() is not None


def _held(film: Film) -> sa.ColumnElement[bool]:
    return sa.and_(
        films.c.id == film.id,
        films.c.attempt == film.attempt,
        films.c.owner == film.owner,
        films.c.status.in_(OPEN),
    )


def beat(connection: Connection, film: Film, lease_seconds: float) -> bool:
    """Extends the lease; False if it was lost, or the film cancelled."""
    result = connection.execute(
        films.update().where(_held(film)).values(lease_until=now() + lease_seconds)
    )
    return result.rowcount == 1


def advance(connection: Connection, film: Film, status: FilmStatus, message: str) -> bool:
    """Moves a leased film to an open `status`; False if the lease was lost."""
    result = connection.execute(films.update().where(_held(film)).values(status=status))
    if result.rowcount:
        events.record(connection, film.id, status, message)
    return result.rowcount == 1


def attach_flow_run(connection: Connection, film: Film, flow_run_id: str) -> None:
    """Notes the Prefect flow run that works on the film."""
    connection.execute(films.update().where(_held(film)).values(flow_run_id=flow_run_id))


def finish(connection: Connection, film: Film, delivery: Delivery) -> bool:
    """Marks a leased film as delivered; False if the lease was lost.

    True also if this very attempt has done so already: a database that is killed right after
    writing may never answer.
    """
    result = connection.execute(
        films.update()
        .where(_held(film))
        .values(
            status=FilmStatus.DELIVERED,
            delivery=to_json(delivery),
            finished_at=now(),
            error=None,
            **RELEASED,
        )
    )
    if result.rowcount:
        events.record(
            connection,
            film.id,
            "delivered",
            f"{delivery.num_frames} frames, {delivery.size_bytes} bytes, at {delivery.key}",
        )
        settle(connection, [film.campaign])
        webhooks.enqueue(connection, [film.id], FilmStatus.DELIVERED)
        return True
    mine = sa.and_(
        films.c.id == film.id,
        films.c.attempt == film.attempt,
        films.c.status == FilmStatus.DELIVERED,
    )
    return connection.execute(sa.select(films.c.id).where(mine)).first() is not None


def fail(connection: Connection, film: Film, error: str, detail: str | None = None) -> bool:
    """Marks a leased film as failed; False if the lease was lost."""
    result = connection.execute(
        films.update()
        .where(_held(film))
        .values(status=FilmStatus.FAILED, error=error, finished_at=now(), **RELEASED)
    )
    if result.rowcount:
        settle(connection, [film.campaign])
        end_segments(connection, segments.c.film_id == film.id)
        events.record(connection, film.id, "failed", error, detail=detail)
        webhooks.enqueue(connection, [film.id], FilmStatus.FAILED)
    return result.rowcount == 1


def release(connection: Connection, film: Film) -> None:
    """Gives the lease back, so that another flow can continue at once."""
    connection.execute(
        films.update()
        .where(_held(film))
        .values(flow_run_id=None, status=FilmStatus.QUEUED, **RELEASED)
    )


def release_owner(connection: Connection, owner: str) -> list[str]:
    """Ends the leases of an owner that is known to be dead; returns the flow runs it left."""
    mine = films.c.owner == owner
    left = connection.execute(sa.select(films.c.flow_run_id).where(mine)).scalars().all()
    connection.execute(
        films.update().where(mine).values(flow_run_id=None, status=FilmStatus.QUEUED, **RELEASED)
    )
    return [run for run in left if run]
