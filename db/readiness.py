"""Which segments may be rendered: those with nothing before them, or whose predecessor is done."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db.clock import now
from db.tables import segments, takes
from film.types import SegmentStatus


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
