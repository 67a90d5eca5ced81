"""What listings show: films with their progress, and a campaign's segments by status."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db.films.films import BATCH, batched, named
from db.tables import LEASED, campaigns, films, segments
from film.types import FilmStatus, SegmentStatus, Struct


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
    sound: bool
    """True if it has sound, or will have."""
    segments: int
    done: int
    """Segments whose takes are in the store."""
    reused: int
    """Those of `done` that had been rendered before."""
    error: str | None
    created_at: float
    finished_at: float | None


class Tally(Struct, frozen=True, kw_only=True):
    """How far a campaign is."""

    films: dict[FilmStatus, int]
    segments: dict[SegmentStatus, int]


def films_of(
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
            *columns,
            campaigns.c.name.label("campaign_name"),
            films.c.plan["sound"].as_boolean().label("sound"),
        )
        .join(campaigns)
        .order_by(campaigns.c.created_at.desc(), films.c.campaign_id, films.c.position)
        .limit(limit)
    )
    if of is None and limit is not None:
        # No film beyond these is among the first ones, and the indexes lead to them.
        last = sa.select(campaigns.c.id).order_by(campaigns.c.created_at.desc()).limit(limit)
        newest = newest.where(films.c.campaign_id.in_(last), films.c.position <= limit)
    elif limit is not None:
        first = sa.and_(films.c.campaign_id == of, films.c.position <= limit)
        newest = newest.where(sa.or_(films.c.id == of, first))
    elif of is not None:
        newest = newest.where(named(of))
    rows = connection.execute(newest).all()
    counts: dict[str, Any] = {}
    for some in batched(rows, BATCH):
        counts.update(_counts(connection, [row.id for row in some]))
    return [_film_row(row, counts[row.id]) for row in rows]


def _counts(connection: Connection, film_ids: list[str]) -> dict[str, Any]:
    """How many segments each film has, how many are done, and what is under way."""
    under_way = sa.case((LEASED, segments.c.progress), else_=0.0)
    done = sa.case((segments.c.status == SegmentStatus.DONE, 1), else_=0)
    rows = connection.execute(
        sa.select(
            segments.c.film_id,
            sa.func.count().label("segments"),
            sa.func.sum(done).label("done"),
            sa.func.sum(sa.case((segments.c.reused, 1), else_=0)).label("reused"),
            sa.func.sum(under_way).label("part"),
        )
        .where(segments.c.film_id.in_(film_ids))
        .group_by(segments.c.film_id)
    )
    return {row.film_id: row for row in rows}


def _film_row(row: Any, counts: Any) -> FilmRow:
    status = FilmStatus(row.status)
    part = (counts.done + counts.part) / max(counts.segments, 1)
    return FilmRow(
        id=row.id,
        campaign=row.campaign_id,
        campaign_name=row.campaign_name,
        title=row.title,
        status=status,
        # Joining and checking are work too: all segments are not yet the whole film.
        progress=1.0 if status is FilmStatus.DELIVERED else round(min(part, 0.99), 3),
        frames=row.num_frames,
        seconds=row.seconds,
        sound=bool(row.sound),  # None in plans from before films had sound
        segments=counts.segments,
        done=counts.done,
        reused=counts.reused,
        error=row.error,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )


def tally(connection: Connection, campaign_id: str) -> Tally:
    """How many of a campaign's films and segments are in each status."""
    return Tally(
        films={
            FilmStatus(status): count
            for status, count in connection.execute(_by_status(films, campaign_id))
        },
        segments={
            SegmentStatus(status): count
            for status, count in connection.execute(_by_status(segments, campaign_id))
        },
    )


def _by_status(table: sa.Table, campaign_id: str) -> sa.Select[Any]:
    return (
        sa.select(table.c.status, sa.func.count())
        .where(table.c.campaign_id == campaign_id)
        .group_by(table.c.status)
    )
