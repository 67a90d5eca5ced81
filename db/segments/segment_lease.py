"""The lease on a segment, from its claim until it ends."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db import events, spending
from db.clock import now
from db.rows import RELEASED, columns_of, read_row
from db.segments import takes
from db.segments.claims import Lease, held
from db.segments.readiness import wake_film
from db.tables import LEASED, films, segments, workers
from film.types import SegmentStatus, Take


def beat(connection: Connection, lease: Lease, lease_seconds: float, progress: float) -> bool:
    """Extends the lease and notes the progress; False if the lease was lost."""
    result = connection.execute(
        segments.update()
        .where(held(lease))
        .values(lease_until=now() + lease_seconds, progress=progress)
    )
    return result.rowcount == 1


def finish(connection: Connection, lease: Lease, take: Take) -> bool:
    """Records the take of a leased segment and wakes the segments that continue it.

    False, and nothing recorded, if the lease was lost. Segments of other films with the same
    address are done with it.
    """
    holder = {"held": lease.id, "held_attempt": lease.attempt, "held_by": lease.owner}
    result = connection.execute(_FINISH, holder)
    if result.rowcount == 0:
        return _finished_before(connection, lease)
    spending.record_take(connection, lease, take)
    takes.keep(connection, take)
    takes.share(connection, take.address)
    wake_film(connection, lease.film_id)
    seconds = sum(take.made_by.get(f"{stage}_seconds", 0.0) for stage in ("render", "encode"))
    events.record(
        connection,
        lease.film_id,
        "rendered",
        f"Segment {lease.position + 1}: {take.num_frames} frames in {seconds:.1f} s",
        segment=lease.position,
    )
    return True


_FINISH = (
    segments.update()
    .where(
        segments.c.id == sa.bindparam("held"),
        segments.c.attempt == sa.bindparam("held_attempt"),
        segments.c.owner == sa.bindparam("held_by"),
        LEASED,
    )
    .values(
        status=SegmentStatus.DONE,
        progress=1.0,
        finished_at=now(),
        error=None,
        **RELEASED,
    )
)


def _finished_before(connection: Connection, lease: Lease) -> bool:
    """True if this very attempt was recorded already: a database that is killed right after writing
    may never answer."""
    mine = sa.and_(
        segments.c.id == lease.id,
        segments.c.attempt == lease.attempt,
        segments.c.status == SegmentStatus.DONE,
        segments.c.reused.is_(False),
    )
    return connection.execute(sa.select(segments.c.id).where(mine)).first() is not None


def give_up(
    connection: Connection,
    lease: Lease,
    error: str,
    detail: str | None,
    *,
    permanent: bool,
    attempts: int,
) -> bool:
    """Ends a leased attempt with `error`: ready again, or failed if no attempt is left.

    False if the lease was lost. A failed segment fails its film, whose flow sees it; other films
    continue.
    """
    spending.record_lost(connection, held(lease))
    last = sa.or_(sa.literal(permanent), segments.c.failures + 1 >= attempts)
    result = connection.execute(
        segments.update()
        .where(held(lease))
        .values(
            status=sa.case((last, SegmentStatus.FAILED), else_=SegmentStatus.READY),
            failures=segments.c.failures + 1,
            progress=0.0,
            error=error,
            finished_at=now(),
            **RELEASED,
        )
    )
    if result.rowcount:
        message = f"Segment {lease.position + 1}, attempt {lease.attempt}: {error}"
        events.record(
            connection, lease.film_id, "error", message, segment=lease.position, detail=detail
        )
    return result.rowcount == 1


def release(connection: Connection, lease: Lease) -> bool:
    """Gives a leased segment back untouched (the worker stops); it does not count as a failure."""
    spending.record_lost(connection, held(lease))
    result = connection.execute(
        segments.update()
        .where(held(lease))
        .values(status=SegmentStatus.READY, progress=0.0, **RELEASED)
    )
    return result.rowcount == 1


def reap(connection: Connection, attempts: int, but_of: str = "") -> int:
    """Ends leases that ran out: ready again, or failed after `attempts`. Returns their number.

    Leases of the owner `but_of` are left alone: the caller knows that it lives, and perhaps could
    not renew them while the database was away.
    """
    lost = connection.execute(
        sa.select(*columns_of(segments, Lease))
        .where(LEASED, segments.c.lease_until < now(), segments.c.owner != but_of)
        .with_for_update(skip_locked=True)
    ).all()
    for row in lost:
        give_up(
            connection,
            read_row(Lease, row),
            f"The worker {_name_of(connection, row.owner)} stopped answering",
            None,
            permanent=False,
            attempts=attempts,
        )
    return len(lost)


def _name_of(connection: Connection, owner: str) -> str:
    """The name that people know a worker by; its process if it has none any more."""
    query = sa.select(workers.c.name).where(workers.c.owner == owner)
    return connection.execute(query.limit(1)).scalar() or owner


def release_owner(connection: Connection, owner: str) -> int:
    """Ends the leases of an owner that is known to be dead; not counted as failures."""
    spending.record_lost(connection, segments.c.owner == owner)
    result = connection.execute(
        segments.update()
        .where(LEASED, segments.c.owner == owner)
        .values(status=SegmentStatus.READY, progress=0.0, **RELEASED)
    )
    return result.rowcount


def release_unheld(connection: Connection, owner: str, held: Collection[int]) -> int:
    """Ends the leases of `owner` on segments whose ids are not in `held`; not counted as failures.

    A claim whose answer was lost leaves such a lease: its owner lives, and does not know of it.
    """
    result = connection.execute(
        segments.update()
        .where(LEASED, segments.c.owner == owner, segments.c.id.not_in(held))
        .values(status=SegmentStatus.READY, progress=0.0, **RELEASED)
    )
    return result.rowcount


def owners(connection: Connection) -> set[str]:
    """Every holder of a lease on a segment or on a film's flow."""
    of_segments = sa.select(segments.c.owner).where(LEASED)
    of_films = sa.select(films.c.owner).where(films.c.owner.is_not(None))
    return {name for name in connection.execute(of_segments.union(of_films)).scalars() if name}
