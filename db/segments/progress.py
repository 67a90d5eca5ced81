"""How far the segments of a film are."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db.rows import columns_of, read_row
from db.tables import segments
from film.types import SegmentStatus, Struct


class SegmentRow(Struct, frozen=True, kw_only=True):
    """A segment as listings show it."""

    position: int
    status: SegmentStatus
    address: str
    attempt: int
    failures: int
    progress: float
    """Progress of its rendering, 0 to 1."""
    reused: bool
    owner: str | None
    started_at: float | None
    finished_at: float | None
    error: str | None


def of_film(connection: Connection, film_id: str) -> list[SegmentRow]:
    """The segments of a film in order."""
    rows = connection.execute(
        sa.select(*columns_of(segments, SegmentRow))
        .where(segments.c.film_id == film_id)
        .order_by(segments.c.position)
    )
    return [read_row(SegmentRow, row) for row in rows]


def tally(connection: Connection, film_id: str) -> dict[SegmentStatus, int]:
    """How many segments of a film are in each status."""
    rows = connection.execute(
        sa.select(segments.c.status, sa.func.count())
        .where(segments.c.film_id == film_id)
        .group_by(segments.c.status)
    )
    return {SegmentStatus(status): count for status, count in rows}
