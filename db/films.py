"""One film: its values, the lease on its flow, and every transition of its status."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db import events
from db.clock import now
from db.readiness import adopt_takes, wake
from db.tables import LEASED, campaigns, films, segments, takes
from db.tables import events as event_table
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

T = TypeVar("T")

OPEN = (FilmStatus.QUEUED, FilmStatus.RENDERING, FilmStatus.STITCHING)
"""Statuses in which a film's flow has something to do."""

RECENT_EVENTS = 500
"""Events that count as told lately."""
BATCH = 1_000
"""Films named in one statement; databases bound the number of parameters."""


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


def deliveries(connection: Connection, name: str) -> list[tuple[str, Delivery]]:
    """The delivered films that `name` means (a film, or a campaign), and where they are."""
    rows = connection.execute(
        sa.select(films.c.id, films.c.delivery)
        .where(named(name), films.c.status == FilmStatus.DELIVERED)
        .order_by(films.c.position)
    )
    return [(row.id, from_json(Delivery, row.delivery)) for row in rows]


def status(connection: Connection, film_id: str) -> FilmStatus:
    """The status of a film. Raises `NotFoundError`."""
    found = connection.execute(sa.select(films.c.status).where(films.c.id == film_id)).scalar()
    if found is None:
        raise NotFoundError(f"There is no film {film_id!r}.")
    return FilmStatus(found)


# -- the lease on a film's flow ----------------------------------------------------------------


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
    """Leases the most urgent open film that nobody runs, or None; of certain campaigns only,
    where given.

    `busy_only` looks only at films whose segments are being rendered or of which something was
    told lately, which takes no longer the more films wait; `finished_only` at those with nothing
    left that anyone could render; `but_not` passes over films by id. Its `flow_run_id` is the one
    that worked on it before, where that one's lease ran out.
    """
    free = sa.or_(films.c.lease_until.is_(None), films.c.lease_until < now())
    to_render = sa.exists().where(
        segments.c.film_id == films.c.id, segments.c.status != SegmentStatus.DONE
    )
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
    if but_not:
        query = query.where(films.c.id.not_in(but_not))
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


def _busy() -> Any:
    """The films whose segments are being rendered, or of which something was told lately."""
    told = sa.select(event_table.c.film_id).order_by(event_table.c.id.desc()).limit(RECENT_EVENTS)
    return sa.union(
        sa.select(segments.c.film_id).where(LEASED), sa.select(told.subquery().c.film_id)
    )


def _renderable() -> sa.Exists:
    """What a film with nothing left to do but to be ended has not; those that wait, wait for one
    of these or for one that failed."""
    ready = segments.c.status.in_((SegmentStatus.READY, SegmentStatus.LEASED))
    return sa.exists().where(segments.c.film_id == films.c.id, ready)


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
        _settle(connection, [film.campaign])
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
        _settle(connection, [film.campaign])
        _end_segments(connection, segments.c.film_id == film.id)
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


def ended_flows(connection: Connection, seconds: float) -> list[str]:
    """The flow runs of the films that came to their end in the last `seconds`."""
    rows = connection.execute(
        sa.select(films.c.flow_run_id).where(
            films.c.finished_at > now() - seconds, films.c.flow_run_id.is_not(None)
        )
    )
    return [row.flow_run_id for row in rows]


# -- what users decide -------------------------------------------------------------------------
#
# Rows are locked in one order, films before campaigns before segments: others wait, and nobody
# waits for one who waits for him.


def named(name: str) -> sa.ColumnElement[bool]:
    """The films that `name` means: a film's own id, or all of a campaign's."""
    return sa.or_(films.c.id == name, films.c.campaign_id == name)


def cancel(connection: Connection, name: str) -> list[str]:
    """Cancels those films of `name` that are not at their end, and returns their ids.

    Their running segments lose their leases.
    """
    which = sa.and_(named(name), films.c.finished_at.is_(None))
    changes = {"status": FilmStatus.CANCELLED, "finished_at": now()}
    ended = _change(connection, which, {**changes, "owner": None, "lease_until": None})
    _settle(connection, ended.campaign_ids)
    cancelled = sa.select(films.c.id).where(named(name), films.c.status == FilmStatus.CANCELLED)
    _end_segments(connection, segments.c.film_id.in_(cancelled))
    events.record_all(connection, ended.film_ids, "cancelled", "Cancelled by the user")
    return ended.film_ids


def _end_segments(connection: Connection, which: sa.ColumnElement[bool]) -> None:
    to_do = (SegmentStatus.WAITING, SegmentStatus.READY, SegmentStatus.LEASED)
    connection.execute(
        segments.update()
        .where(which, segments.c.status.in_(to_do))
        .values(status=SegmentStatus.CANCELLED, owner=None, lease_until=None)
    )


def requeue(connection: Connection, name: str, *, failed_only: bool = False) -> list[str]:
    """Queues the failed and cancelled films of `name` again, and returns their ids.

    What they have rendered is kept. Cancelled ones are left as they are with `failed_only`.
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
    for ids in batched(opened.film_ids, BATCH):
        _requeue_segments(connection, segments.c.film_id.in_(ids))
    events.record_all(connection, opened.film_ids, "queued", why)
    return opened.film_ids


def _requeue_segments(connection: Connection, mine: sa.ColumnElement[bool]) -> None:
    first = segments.c.continues.is_(None)
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


def _settle(connection: Connection, campaign_ids: Sequence[str]) -> None:
    """Marks those campaigns inactive whose films are all at their end."""
    for campaign_id in campaign_ids:
        # Locked by a statement of its own: only the next one sees what was ended meanwhile.
        connection.execute(
            sa.select(campaigns.c.id)
            .where(campaigns.c.id == campaign_id)
            .with_for_update(key_share=True)
        )
        left = sa.exists().where(
            films.c.campaign_id == campaign_id,
            films.c.status.in_((*OPEN, FilmStatus.PAUSED)),
        )
        connection.execute(
            campaigns.update()
            .where(campaigns.c.id == campaign_id, ~left, campaigns.c.active)
            .values(active=False)
        )


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """`items` in pieces of `size`, the last one shorter."""
    return (items[start : start + size] for start in range(0, len(items), size))


def any_open(connection: Connection) -> bool:
    """Whether any film still has something to be done; those that are paused have not."""
    return (
        connection.execute(sa.select(films.c.id).where(films.c.status.in_(OPEN)).limit(1)).first()
        is not None
    )


def any_rendered(connection: Connection, owner: str) -> bool:
    """Whether an open film has nothing left that anyone could render, and nobody but `owner` has
    leased it to end it."""
    mine = sa.or_(films.c.owner.is_(None), films.c.owner == owner, films.c.lease_until < now())
    query = sa.select(films.c.id).where(films.c.status.in_(OPEN), mine, ~_renderable())
    return connection.execute(query.limit(1)).first() is not None
