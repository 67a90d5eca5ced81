"""One film: its values, the lease on its flow, and every transition of its status."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db import events
from db.clock import now
from db.readiness import adopt_takes
from db.tables import films, segments, takes
from film.errors import NotFoundError
from film.types import (
    Delivery,
    FilmRequest,
    FilmStatus,
    Plan,
    SegmentStatus,
    Struct,
    from_json,
    to_json,
)

OPEN = (FilmStatus.QUEUED, FilmStatus.PLANNING, FilmStatus.RENDERING, FilmStatus.STITCHING)
"""Statuses in which a film's flow has something to do."""


class Film(Struct, frozen=True, kw_only=True):
    """A film with everything that its flow needs."""

    id: str
    campaign: str
    title: str
    status: FilmStatus
    attempt: int
    owner: str | None
    flow_run_id: str | None
    request: FilmRequest
    plan: Plan
    delivery: Delivery | None
    created_at: float
    """Seconds since 1970; with the id it tells the films of different databases apart."""


def get(connection: Connection, film_id: str) -> Film:
    """One film whole. Raises `NotFoundError`."""
    row = connection.execute(sa.select(films).where(films.c.id == film_id)).first()
    if row is None:
        raise NotFoundError(f"There is no film {film_id!r}.")
    return Film(
        id=row.id,
        campaign=row.campaign_id,
        title=row.title,
        status=FilmStatus(row.status),
        attempt=row.attempt,
        owner=row.owner,
        flow_run_id=row.flow_run_id,
        request=from_json(FilmRequest, row.request),
        plan=from_json(Plan, row.plan),
        delivery=from_json(Delivery, row.delivery) if row.delivery else None,
        created_at=row.created_at,
    )


def status(connection: Connection, film_id: str) -> FilmStatus:
    """The status of a film. Raises `NotFoundError`."""
    found = connection.execute(sa.select(films.c.status).where(films.c.id == film_id)).scalar()
    if found is None:
        raise NotFoundError(f"There is no film {film_id!r}.")
    return FilmStatus(found)


# -- the lease on a film's flow ----------------------------------------------------------------


def claim(
    connection: Connection, owner: str, lease_seconds: float, ids: Sequence[str] | None = None
) -> Film | None:
    """Leases the most urgent open film that nobody runs, or None; of `ids` only, where given.

    Its `flow_run_id` is the one that worked on it before, where that one's lease ran out.
    """
    free = sa.or_(films.c.lease_until.is_(None), films.c.lease_until < now())
    to_render = sa.exists().where(
        segments.c.film_id == films.c.id, segments.c.status != SegmentStatus.DONE
    )
    query = (
        sa.select(films.c.id)
        .where(films.c.status.in_(OPEN), free)
        # A film whose flow would only wait must not keep a finished one from being stitched.
        .order_by(to_render, films.c.priority.desc(), films.c.created_at, films.c.position)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if ids is not None:
        query = query.where(films.c.id.in_(ids))
    film_id = connection.execute(query).scalar()
    if film_id is None:
        return None
    before = get(connection, film_id)
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
    return msgspec.structs.replace(before, owner=owner, attempt=before.attempt + 1)


def _held(film: Film) -> sa.ColumnElement[bool]:
    return sa.and_(
        films.c.id == film.id,
        films.c.attempt == film.attempt,
        films.c.owner == film.owner,
        films.c.status.in_(OPEN),
    )


def beat(connection: Connection, film: Film, lease_seconds: float) -> bool:
    """Extends the lease; False where it was lost, or the film cancelled."""
    result = connection.execute(
        films.update().where(_held(film)).values(lease_until=now() + lease_seconds)
    )
    return result.rowcount == 1


def advance(connection: Connection, film: Film, status: FilmStatus, message: str) -> bool:
    """Moves a leased film on to an open `status`; False where the lease was lost."""
    result = connection.execute(films.update().where(_held(film)).values(status=status))
    if result.rowcount:
        events.record(connection, film.id, status, message)
    return result.rowcount == 1


def attach_flow_run(connection: Connection, film: Film, flow_run_id: str) -> None:
    """Notes the Prefect flow run that works on the film."""
    connection.execute(films.update().where(_held(film)).values(flow_run_id=flow_run_id))


def finish(connection: Connection, film: Film, delivery: Delivery) -> bool:
    """Marks a leased film delivered; False where the lease was lost.

    True also where this very attempt has done so already: a database that is killed right after
    it has written may never say that it did.
    """
    result = connection.execute(
        films.update()
        .where(_held(film))
        .values(
            status=FilmStatus.DELIVERED,
            delivery=to_json(delivery),
            finished_at=now(),
            owner=None,
            lease_until=None,
            error=None,
        )
    )
    if result.rowcount:
        events.record(
            connection,
            film.id,
            "delivered",
            f"{delivery.num_frames} frames, {delivery.size_bytes} bytes, at {delivery.key}",
        )
        return True
    mine = sa.and_(
        films.c.id == film.id,
        films.c.attempt == film.attempt,
        films.c.status == FilmStatus.DELIVERED,
    )
    return connection.execute(sa.select(films.c.id).where(mine)).first() is not None


def fail(connection: Connection, film: Film, error: str, detail: str | None = None) -> bool:
    """Marks a leased film failed; False where the lease was lost."""
    result = connection.execute(
        films.update()
        .where(_held(film))
        .values(
            status=FilmStatus.FAILED, error=error, finished_at=now(), owner=None, lease_until=None
        )
    )
    if result.rowcount:
        _end_segments(connection, film.id)
        events.record(connection, film.id, "failed", error, detail=detail)
    return result.rowcount == 1


def release(connection: Connection, film: Film) -> None:
    """Gives the lease back, so that another flow may go on at once."""
    connection.execute(
        films.update()
        .where(_held(film))
        .values(owner=None, lease_until=None, flow_run_id=None, status=FilmStatus.QUEUED)
    )


def release_owner(connection: Connection, owner: str) -> list[str]:
    """Ends the leases of an owner that is known to be dead; returns the flow runs it left."""
    mine = films.c.owner == owner
    left = connection.execute(sa.select(films.c.flow_run_id).where(mine)).scalars().all()
    connection.execute(
        films.update()
        .where(mine)
        .values(owner=None, lease_until=None, flow_run_id=None, status=FilmStatus.QUEUED)
    )
    return [run for run in left if run]


# -- for Prefect's view ------------------------------------------------------------------------


class FilmFlow(Struct, frozen=True, kw_only=True):
    """A film as far as its flow runs are concerned."""

    id: str
    created_at: float
    status: FilmStatus
    attempt: int
    owner: str | None
    flow_run_id: str | None
    error: str | None


def flows(connection: Connection, ids: Sequence[str]) -> dict[str, FilmFlow]:
    """Those of the films `ids` that there are, by their ids."""
    columns = [films.c[field] for field in FilmFlow.__struct_fields__]
    rows = connection.execute(sa.select(*columns).where(films.c.id.in_(ids)))
    return {row.id: FilmFlow(**{**row._mapping, "status": FilmStatus(row.status)}) for row in rows}


# -- what users decide -------------------------------------------------------------------------


def cancel(connection: Connection, film_id: str) -> bool:
    """Cancels a film that is not at its end; its running segments lose their leases."""
    result = connection.execute(
        films.update()
        .where(films.c.id == film_id, films.c.status.in_((*OPEN, FilmStatus.PAUSED)))
        .values(status=FilmStatus.CANCELLED, finished_at=now(), owner=None, lease_until=None)
    )
    if result.rowcount:
        _end_segments(connection, film_id)
        events.record(connection, film_id, "cancelled", "Cancelled by the user")
    return result.rowcount == 1


def _end_segments(connection: Connection, film_id: str) -> None:
    connection.execute(
        segments.update()
        .where(
            segments.c.film_id == film_id,
            segments.c.status.in_(
                (
                    SegmentStatus.WAITING,
                    SegmentStatus.READY,
                    SegmentStatus.LEASED,
                    SegmentStatus.HELD,
                )
            ),
        )
        .values(status=SegmentStatus.CANCELLED, owner=None, lease_until=None)
    )


def retry(connection: Connection, film_id: str) -> bool:
    """Queues a failed or cancelled film again; what it has rendered is kept."""
    result = connection.execute(
        films.update()
        .where(
            films.c.id == film_id,
            films.c.status.in_((FilmStatus.FAILED, FilmStatus.CANCELLED)),
        )
        .values(status=FilmStatus.QUEUED, error=None, finished_at=None)
    )
    if result.rowcount:
        _requeue_segments(connection, film_id)
        events.record(connection, film_id, "queued", "Queued again")
    return result.rowcount == 1


def _requeue_segments(connection: Connection, film_id: str) -> None:
    first = segments.c.continues.is_(None)
    mine = segments.c.film_id == film_id
    ended = segments.c.status.in_((SegmentStatus.FAILED, SegmentStatus.CANCELLED))
    # A film at its end keeps its segments done when their takes are forgotten.
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


def reopen(connection: Connection, film_id: str) -> None:
    """Queues a delivered film again, whose file is gone from the store; no other film."""
    result = connection.execute(
        films.update()
        .where(films.c.id == film_id, films.c.status == FilmStatus.DELIVERED)
        .values(status=FilmStatus.QUEUED, delivery=None, finished_at=None)
    )
    if result.rowcount:
        _requeue_segments(connection, film_id)
        events.record(connection, film_id, "queued", "The film's file is gone: made again")


def any_open(connection: Connection) -> bool:
    """Whether any film still has something to be done."""
    return (
        connection.execute(sa.select(films.c.id).where(films.c.status.in_(OPEN)).limit(1)).first()
        is not None
    )
