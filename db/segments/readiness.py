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
    adopted = connection.execute(
        segments.update()
        .where(mine, waiting, known)
        .values(status=SegmentStatus.DONE, reused=True, finished_at=now())
    )
    if adopted.rowcount:
        wake(connection, mine)


def wake(connection: Connection, which: sa.ColumnElement[bool]) -> None:
    """Makes those waiting segments of `which` ready whose predecessor has its take."""
    connection.execute(_WAKE.where(which))


def wake_film(connection: Connection, film_id: str) -> None:
    """The same for one film."""
    connection.execute(_WAKE_FILM, {"of_film": film_id})


_before = segments.alias()
_WAKE = (
    segments.update()
    .where(
        segments.c.status == SegmentStatus.WAITING,
        sa.exists().where(
            _before.c.film_id == segments.c.film_id,
            _before.c.position == segments.c.continues,
            _before.c.status == SegmentStatus.DONE,
        ),
    )
    .values(status=SegmentStatus.READY)
)
_WAKE_FILM = _WAKE.where(segments.c.film_id == sa.bindparam("of_film"))
