"""What Prefect's view of films and segments is compared with (flows/prefect_runs/reconciler.py)."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db.clock import now
from db.rows import columns_of, read_row
from db.tables import films, segments
from film.types import FilmStatus, SegmentStatus, Struct


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
    query = sa.select(*columns_of(films, FilmFlow)).where(films.c.id.in_(ids))
    return {row.id: read_row(FilmFlow, row) for row in connection.execute(query)}


def ended_flows(connection: Connection, seconds: float) -> list[str]:
    """The flow runs of the films that finished in the last `seconds`."""
    rows = connection.execute(
        sa.select(films.c.flow_run_id).where(
            films.c.finished_at > now() - seconds, films.c.flow_run_id.is_not(None)
        )
    )
    return [row.flow_run_id for row in rows]


class SegmentEnd(Struct, frozen=True, kw_only=True):
    """How far a segment is, for who looks at one of its attempts."""

    status: SegmentStatus
    attempt: int


def ends(connection: Connection, ids: Sequence[int]) -> dict[int, SegmentEnd]:
    """Those of the segments `ids` that there are, by their ids."""
    rows = connection.execute(
        sa.select(segments.c.id, segments.c.status, segments.c.attempt).where(
            segments.c.id.in_(ids)
        )
    )
    return {
        row.id: SegmentEnd(status=SegmentStatus(row.status), attempt=row.attempt) for row in rows
    }
