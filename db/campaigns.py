"""Campaigns with their films: adding them, finding and listing them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from db import events
from db.clock import now
from db.readiness import adopt_takes
from db.tables import campaigns, films, segments
from film.errors import NotFoundError
from film.types import (
    FilmRequest,
    FilmStatus,
    Plan,
    SegmentStatus,
    Struct,
    counted,
    to_json,
)

BATCH = 2_000
"""Rows in one INSERT; bounds the memory of a large submission."""


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
