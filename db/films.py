"""Campaigns and films: inserting, listing, and the transitions of a film."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from db import events
from db.clock import now
from db.tables import campaigns, films, segments, takes
from film.errors import NotFoundError
from film.types import (
    Delivery,
    FilmRequest,
    FilmStatus,
    Plan,
    SegmentStatus,
    Struct,
    counted,
    from_json,
    to_json,
)

BATCH = 2_000
"""Rows in one INSERT; bounds the memory of a large submission."""

OPEN = (FilmStatus.QUEUED, FilmStatus.PLANNING, FilmStatus.RENDERING, FilmStatus.STITCHING)
"""Statuses in which a film's flow has something to do."""


class FilmRow(Struct, frozen=True, kw_only=True):
    """A film as listings show it."""

    id: str
    campaign: str
    """Id of its campaign."""
    campaign_name: str
    title: str
    status: FilmStatus
    progress: float
    """0 to 1; 1 only when delivered."""
    frames: int
    """Frames of the finished film."""
    seconds: float
    segments: int
    done: int
    """Segments whose takes are in the store."""
    reused: int
    """Those of `done` that had been rendered before."""
    error: str | None
    created_at: float
    finished_at: float | None


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


# -- submitting --------------------------------------------------------------------------------


def insert_campaign(connection: Connection, campaign_id: str, name: str, priority: int) -> bool:
    """Adds a campaign without films; False where there is one by that id."""
    values = {"id": campaign_id, "name": name, "priority": priority, "created_at": now()}
    try:
        with connection.begin_nested():
            connection.execute(campaigns.insert().values(**values))
    except IntegrityError:
        return False
    return True


def insert_films(
    connection: Connection,
    campaign_id: str,
    priority: int,
    planned: Iterable[tuple[FilmRequest, Plan]],
) -> list[str]:
    """Adds films with all their segments, and returns the films' ids.

    Segments that were rendered before are done from the beginning.
    """
    ids: list[str] = []
    created = connection.execute(sa.select(now())).scalar_one()
    batch: list[dict[str, Any]] = []
    for position, (request, plan) in enumerate(planned, 1):
        film_id = f"{campaign_id}-{position}"
        ids.append(film_id)
        connection.execute(
            films.insert(),
            _film_values(film_id, campaign_id, position, priority, request, plan, created),
        )
        events.record(connection, film_id, "queued", _summary(plan))
        batch += _segment_values(film_id, priority, plan)
        if len(batch) >= BATCH:
            connection.execute(segments.insert(), batch)
            batch = []
    if batch:
        connection.execute(segments.insert(), batch)
    in_campaign = sa.select(films.c.id).where(films.c.campaign_id == campaign_id)
    adopt_takes(connection, segments.c.film_id.in_(in_campaign))
    return ids


def _film_values(
    film_id: str,
    campaign_id: str,
    position: int,
    priority: int,
    request: FilmRequest,
    plan: Plan,
    created: float,
) -> dict[str, Any]:
    return {
        "id": film_id,
        "campaign_id": campaign_id,
        "position": position,
        "title": request.title,
        "status": FilmStatus.QUEUED,
        "priority": priority,
        "request": to_json(request),
        "plan": to_json(plan),
        "num_frames": plan.num_frames,
        "seconds": plan.seconds,
        "created_at": created,
    }


def _segment_values(film_id: str, priority: int, plan: Plan) -> list[dict[str, Any]]:
    return [
        {
            "film_id": film_id,
            "position": segment.index,
            "continues": segment.continues,
            "address": segment.address,
            "model": plan.model,
            "rank": -priority,
            "status": SegmentStatus.READY if segment.continues is None else SegmentStatus.WAITING,
        }
        for segment in plan.segments
    ]


def _summary(plan: Plan) -> str:
    return (
        f"{counted(plan.num_frames, 'frame')} ({plan.seconds:g} s) in "
        f"{counted(len(plan.scenes), 'scene')}, {counted(len(plan.segments), 'segment')}"
    )


def adopt_takes(connection: Connection, mine: sa.ColumnElement[bool]) -> None:
    """Marks those segments of `mine` done that have a take already, and wakes what follows."""
    waiting = segments.c.status.in_((SegmentStatus.READY, SegmentStatus.WAITING))
    known = segments.c.address.in_(sa.select(takes.c.address))
    connection.execute(
        segments.update()
        .where(mine, waiting, known)
        .values(status=SegmentStatus.DONE, reused=True, finished_at=now())
    )
    wake(connection, mine)


def wake(connection: Connection, which: sa.ColumnElement[bool]) -> None:
    """Makes those waiting segments of `which` ready whose predecessor has its take."""
    before = segments.alias()
    connection.execute(
        segments.update()
        .where(which, segments.c.status == SegmentStatus.WAITING)
        .where(
            sa.exists().where(
                before.c.film_id == segments.c.film_id,
                before.c.position == segments.c.continues,
                before.c.status == SegmentStatus.DONE,
            )
        )
        .values(status=SegmentStatus.READY)
    )


# -- reading -----------------------------------------------------------------------------------


def resolve(connection: Connection, name: str) -> list[str]:
    """Ids of the films that `name` means: a film's own id, or all of a campaign's.

    Raises `NotFoundError`.
    """
    rows = connection.execute(sa.select(films.c.id).where(_named(name)).order_by(films.c.position))
    ids = list(rows.scalars())
    if not ids:
        raise NotFoundError(
            f"There is no film or campaign {name!r}; `longreel ls` lists what there is."
        )
    return ids


def _named(name: str) -> sa.ColumnElement[bool]:
    return sa.or_(films.c.id == name, films.c.campaign_id == name)


def listing(
    connection: Connection, of: str | None = None, limit: int | None = None
) -> list[FilmRow]:
    """Films with their progress, newest campaign first; all, or the film or campaign `of`."""
    columns = (
        films.c[name]
        for name in (
            *("id", "campaign_id", "position", "title", "status", "num_frames", "seconds"),
            *("error", "created_at", "finished_at"),
        )
    )
    newest = (
        sa.select(
            *columns, campaigns.c.name.label("campaign_name"), campaigns.c.created_at.label("c")
        )
        .join(campaigns)
        .order_by(campaigns.c.created_at.desc(), films.c.campaign_id, films.c.position)
        .limit(limit)
    )
    if of is not None:
        newest = newest.where(_named(of))
    film = newest.subquery()
    leased_part = sa.case(
        (segments.c.status == SegmentStatus.LEASED, sa.func.coalesce(segments.c.progress, 0.0)),
        else_=0.0,
    )
    done = sa.case((segments.c.status == SegmentStatus.DONE, 1), else_=0)
    counts = (
        sa.select(
            segments.c.film_id,
            sa.func.count().label("segments"),
            sa.func.sum(done).label("done"),
            sa.func.sum(sa.case((segments.c.reused, 1), else_=0)).label("reused"),
            sa.func.sum(leased_part).label("part"),
        )
        .where(segments.c.film_id.in_(sa.select(film.c.id)))
        .group_by(segments.c.film_id)
        .subquery()
    )
    rows = connection.execute(
        sa.select(film, counts)
        .join(counts, counts.c.film_id == film.c.id)
        .order_by(film.c.c.desc(), film.c.campaign_id, film.c.position)
    )
    return [_film_row(row._mapping) for row in rows]


def _film_row(row: Any) -> FilmRow:
    status = FilmStatus(row["status"])
    part = (row["done"] + row["part"]) / max(row["segments"], 1)
    return FilmRow(
        id=row["id"],
        campaign=row["campaign_id"],
        campaign_name=row["campaign_name"],
        title=row["title"],
        status=status,
        # Joining and checking are work too: all segments are not yet the whole film.
        progress=1.0 if status is FilmStatus.DELIVERED else round(min(part, 0.99), 3),
        frames=row["num_frames"],
        seconds=row["seconds"],
        segments=row["segments"],
        done=row["done"],
        reused=row["reused"],
        error=row["error"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
    )


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
    """Marks a leased film delivered; False where the lease was lost."""
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
    return result.rowcount == 1


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
