"""Takes: kept by their address, shared by all who need them, forgotten when they are gone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db.clock import now
from db.rows import RELEASED, insert_into
from db.segments.readiness import wake
from db.tables import films, segments, takes
from film.types import SegmentStatus, Take, from_json, to_json


def find(connection: Connection, address: str) -> Take | None:
    """The take of an address; None if there is none."""
    row = connection.execute(sa.select(takes.c.take).where(takes.c.address == address)).first()
    return from_json(Take, row.take) if row else None


def of_film(connection: Connection, film_id: str) -> list[Take | None]:
    """The takes of a film's segments in order; None for one that is not rendered."""
    rows = connection.execute(
        sa.select(segments.c.position, takes.c.take)
        .join(takes, takes.c.address == segments.c.address, isouter=True)
        .where(segments.c.film_id == film_id)
        .order_by(segments.c.position)
    ).all()
    return [row.take and from_json(Take, row.take) for row in rows]


def made_by(connection: Connection, film_id: str) -> dict[int, dict[str, Any]]:
    """What made the takes of a film, by the positions of its segments; of those that have one."""
    rows = connection.execute(
        sa.select(segments.c.position, takes.c.take)
        .join(takes, takes.c.address == segments.c.address)
        .where(segments.c.film_id == film_id)
    )
    return {row.position: row.take["made_by"] for row in rows}


def keep(connection: Connection, take: Take) -> None:
    """Adds a take; the first one of an address stays."""
    connection.execute(
        _KEEP[connection.dialect.name],
        {"address": take.address, "video_key": take.video_key, "take": to_json(take)},
    )


# Two films may render the same address at once, and both get here.
_KEEP = {
    dialect: insert_into(takes, dialect).values(created_at=now()).on_conflict_do_nothing()
    for dialect in ("sqlite", "postgresql")
}


def share(connection: Connection, address: str) -> None:
    """The take of `address` exists: every segment that waits for it is done with it.

    A segment that a worker claims in this moment is skipped, because waiting for each other would
    be a deadlock: its claim finds the take itself.
    """
    waiting = connection.execute(_SHARING, {"made": address}).scalars().all()
    _done(connection, waiting)


_SHARING = (
    sa.select(segments.c.id)
    .where(
        segments.c.address == sa.bindparam("made"),
        segments.c.status.in_((SegmentStatus.READY, SegmentStatus.WAITING)),
    )
    .order_by(segments.c.id)
    .with_for_update(skip_locked=True)
)


def take_over(connection: Connection, segment_id: int) -> bool:
    """Ends a lease at once whose work was done meanwhile for another film; False otherwise."""
    if connection.execute(_TAKE_OF, {"of_segment": segment_id}).first():
        _done(connection, [segment_id])
        return True
    return False


_TAKE_OF = sa.select(takes.c.address).join(segments, segments.c.address == takes.c.address)
_TAKE_OF = _TAKE_OF.where(segments.c.id == sa.bindparam("of_segment"))


def _done(connection: Connection, ids: Sequence[int]) -> None:
    """These segments are done with a take that was rendered for others."""
    if not ids:
        return
    which = segments.c.id.in_(ids)
    connection.execute(
        segments.update()
        .where(which)
        .values(
            status=SegmentStatus.DONE,
            reused=True,
            finished_at=now(),
            error=None,
            **RELEASED,
        )
    )
    wake(connection, segments.c.film_id.in_(sa.select(segments.c.film_id).where(which)))


def forget(connection: Connection, address: str, video_key: str | None = None) -> None:
    """Drops a take whose files are damaged or gone from the store; what needs it is rendered again.

    With `video_key`, does nothing if another take was recorded for the address meanwhile.
    """
    dropping = takes.delete().where(takes.c.address == address)
    if video_key is not None:
        dropping = dropping.where(takes.c.video_key == video_key)
    if not connection.execute(dropping).rowcount and video_key is not None:
        return
    _render_again(connection, address)


def require(connection: Connection, address: str) -> None:
    """Has the segments of `address` rendered again that are done, although there is no take any
    more: it was forgotten or removed while their film was submitted."""
    if find(connection, address) is None:
        _render_again(connection, address)


def unneeded(
    connection: Connection, addresses: Collection[str], *, finished_seconds: float | None = None
) -> set[str]:
    """Those of `addresses` that no film has; also those that only films have that are finished for
    `finished_seconds`, if given."""
    needing = sa.select(segments.c.address).where(segments.c.address.in_(addresses))
    if finished_seconds is not None:
        young = films.c.finished_at > now() - finished_seconds
        needing = needing.join(films).where(sa.or_(films.c.finished_at.is_(None), young))
    return set(addresses) - set(connection.execute(needing.distinct()).scalars())


def rendered(connection: Connection, addresses: Collection[str]) -> set[str]:
    """Those of `addresses` that have a take."""
    query = sa.select(takes.c.address).where(takes.c.address.in_(addresses))
    return set(connection.execute(query).scalars())


def recorded_keys(connection: Connection, addresses: Collection[str]) -> set[str]:
    """The keys of the files of the takes of these addresses."""
    rows = connection.execute(sa.select(takes.c.take).where(takes.c.address.in_(addresses)))
    found = [from_json(Take, row.take) for row in rows]
    return {key for take in found for key in (take.video_key, take.tail_key, take.sound_key) if key}


def remove(connection: Connection, addresses: Collection[str]) -> None:
    """Drops takes that nothing needs."""
    connection.execute(takes.delete().where(takes.c.address.in_(addresses)))


def _render_again(connection: Connection, address: str) -> None:
    done = sa.and_(segments.c.address == address, segments.c.status == SegmentStatus.DONE)
    # Only open films lose it: a delivered one has its own file.
    open_films = sa.select(films.c.id).where(films.c.finished_at.is_(None))
    affected = sa.and_(done, segments.c.film_id.in_(open_films))
    first = segments.c.continues.is_(None)
    film_ids = list(
        connection.execute(sa.select(segments.c.film_id).where(affected).distinct()).scalars()
    )
    connection.execute(
        segments.update()
        .where(affected)
        .values(
            status=sa.case((first, SegmentStatus.READY), else_=SegmentStatus.WAITING),
            reused=False,
            progress=0.0,
        )
    )
    # The segments that would continue it must wait for it again. A worker that renders one loses
    # the lease, because it has no tail to continue from (and if released, the segment would be
    # ready too early).
    before = segments.alias()
    connection.execute(
        segments.update()
        .where(
            segments.c.film_id.in_(film_ids),
            segments.c.status.in_((SegmentStatus.READY, SegmentStatus.LEASED)),
        )
        .where(
            sa.exists().where(
                before.c.film_id == segments.c.film_id,
                before.c.position == segments.c.continues,
                before.c.status != SegmentStatus.DONE,
            )
        )
        .values(status=SegmentStatus.WAITING, progress=0.0, **RELEASED)
    )
    wake(connection, segments.c.film_id.in_(film_ids))
