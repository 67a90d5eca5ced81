"""Segments: the lease, the take, and every transition between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from db import events
from db.clock import now
from db.dispatch import Abilities as Abilities
from db.dispatch import Choice, choices, has_room, served
from db.readiness import wake, wake_film
from db.tables import LEASED, films, segments, takes
from film.errors import LongreelError
from film.types import SegmentStatus, Struct, Take, from_json, to_json


class Lease(Struct, frozen=True, kw_only=True):
    """A segment in the hands of a worker. `attempt` is the fencing token."""

    id: int
    film_id: str
    position: int
    attempt: int
    owner: str
    campaign_id: str
    kind: str
    """Model, shape and required tags in one word (see `db.kinds`)."""


class SegmentRow(Struct, frozen=True, kw_only=True):
    """A segment as listings show it."""

    position: int
    status: SegmentStatus
    address: str
    attempt: int
    failures: int
    progress: float
    """Of its rendering, 0 to 1."""
    reused: bool
    owner: str | None
    started_at: float | None
    finished_at: float | None
    error: str | None


class SegmentEnd(Struct, frozen=True, kw_only=True):
    """How far a segment is, for who looks at one of its attempts."""

    status: SegmentStatus
    attempt: int


def claim(
    connection: Connection, owner: str, able: Abilities, lease_seconds: float
) -> Lease | None:
    """Leases the next ready segment that the worker can render, or None where there is none.

    Whose turn it is `db.dispatch` says; within a campaign the kind that the worker has warm comes
    first, then the oldest segment. Work that is being done for another film, or has been done
    meanwhile, is not done again.
    """
    waited = False
    turns = choices(connection, able)
    for choice in turns:
        # Waits for another claim only as long as it holds nothing itself: no deadlock.
        if not has_room(connection, choice, wait=not waited):
            continue
        waited = waited or choice.max_workers is not None
        lease = _claim_of(connection, choice, owner, able, lease_seconds)
        if lease is not None:
            if len(turns) > 1:
                served(connection, choice.campaign_id)
            return lease
    return None


def _claim_of(
    connection: Connection, choice: Choice, owner: str, able: Abilities, lease_seconds: float
) -> Lease | None:
    """Leases the oldest segment of a kind in a campaign that nobody renders."""
    values = {
        "of_campaign": choice.campaign_id,
        "of_kind": choice.kind,
        "avoid": able.avoid,
        "by": owner,
        "for_seconds": lease_seconds,
    }
    while True:
        try:
            with connection.begin_nested():
                row = connection.execute(_LEASE, values).first()
        except IntegrityError:
            continue  # another worker leased the same work in this very moment: passed over now
        if row is None:
            return None
        lease = Lease(**row._mapping)
        # Looked for with the lease in hand: from now on nobody else can finish this work.
        if not _take_over(connection, lease):
            return lease


def _take_over(connection: Connection, lease: Lease) -> bool:
    """Ends a lease at once whose work was done meanwhile for another film; False otherwise."""
    if connection.execute(_TAKE_OF, {"of_segment": lease.id}).first():
        _done(connection, [lease.id])
        return True
    return False


def _lease_statement() -> Any:
    """Leases the oldest ready segment of a campaign and kind whose address nobody renders."""
    ready, same = segments.alias(), segments.alias()
    # A subquery rather than EXISTS, which PostgreSQL would turn into a join with all that is ready.
    being_done = (
        sa.select(same.c.id)
        .where(same.c.address == ready.c.address, same.c.status == sa.literal_column("'leased'"))
        .limit(1)
        .scalar_subquery()
    )
    oldest = (
        sa.select(ready.c.id)
        .where(
            ready.c.status == sa.literal_column("'ready'"),
            ready.c.campaign_id == sa.bindparam("of_campaign"),
            ready.c.kind == sa.bindparam("of_kind"),
            ready.c.id.not_in(sa.bindparam("avoid", expanding=True)),
            being_done.is_(None),
        )
        .order_by(ready.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    return (
        segments.update()
        .where(segments.c.id == oldest)
        .values(
            status=SegmentStatus.LEASED,
            owner=sa.bindparam("by"),
            lease_until=now() + sa.bindparam("for_seconds", type_=sa.Double),
            attempt=segments.c.attempt + 1,
            progress=0.0,
            started_at=now(),
            finished_at=None,
        )
        .returning(*(segments.c[field] for field in Lease.__struct_fields__))
    )


# Built once: a claim is made hundreds of times a second.
_LEASE = _lease_statement()
_TAKE_OF = sa.select(takes.c.address).join(segments, segments.c.address == takes.c.address)
_TAKE_OF = _TAKE_OF.where(segments.c.id == sa.bindparam("of_segment"))


def _held(lease: Lease) -> sa.ColumnElement[bool]:
    return sa.and_(
        segments.c.id == lease.id,
        segments.c.attempt == lease.attempt,
        segments.c.owner == lease.owner,
        LEASED,
    )


def beat(connection: Connection, lease: Lease, lease_seconds: float, progress: float) -> bool:
    """Extends the lease and notes how far it is; False where the lease was lost."""
    result = connection.execute(
        segments.update()
        .where(_held(lease))
        .values(lease_until=now() + lease_seconds, progress=progress)
    )
    return result.rowcount == 1


def finish(connection: Connection, lease: Lease, take: Take) -> bool:
    """Records the take of a leased segment and wakes what continues it.

    False, and nothing recorded, where the lease was lost. Segments of other films with the same
    address are done with it.
    """
    held = {"held": lease.id, "held_attempt": lease.attempt, "held_by": lease.owner}
    result = connection.execute(_FINISH, held)
    if result.rowcount == 0:
        return _finished_before(connection, lease)
    keep_take(connection, take)
    _share(connection, take.address)
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


def _finished_before(connection: Connection, lease: Lease) -> bool:
    """Whether this very attempt was recorded: a database that is killed right after it has
    written may never say that it did."""
    mine = sa.and_(
        segments.c.id == lease.id,
        segments.c.attempt == lease.attempt,
        segments.c.status == SegmentStatus.DONE,
        segments.c.reused.is_(False),
    )
    return connection.execute(sa.select(segments.c.id).where(mine)).first() is not None


def _share(connection: Connection, address: str) -> None:
    """The take of `address` is there: every segment that waits for it is done with it.

    A segment that a worker claims in this moment is passed over, since waiting for each other
    would be a deadlock: its claim finds the take by itself.
    """
    waiting = connection.execute(_SHARING, {"made": address}).scalars().all()
    _done(connection, waiting)


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
        owner=None,
        lease_until=None,
        progress=1.0,
        finished_at=now(),
        error=None,
    )
)
_SHARING = (
    sa.select(segments.c.id)
    .where(
        segments.c.address == sa.bindparam("made"),
        segments.c.status.in_((SegmentStatus.READY, SegmentStatus.WAITING)),
    )
    .order_by(segments.c.id)
    .with_for_update(skip_locked=True)
)


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
            owner=None,
            lease_until=None,
        )
    )
    wake(connection, segments.c.film_id.in_(sa.select(segments.c.film_id).where(which)))


def keep_take(connection: Connection, take: Take) -> None:
    """Adds a take; the first one of an address stays."""
    connection.execute(
        _KEEP[connection.dialect.name],
        {"address": take.address, "video_key": take.video_key, "take": to_json(take)},
    )


# Two films may render the same address at once, and both get here.
_KEEP = {
    name: dialect.insert(takes).values(created_at=now()).on_conflict_do_nothing()
    for name, dialect in (("sqlite", sqlite), ("postgresql", postgresql))
}


def give_up(
    connection: Connection,
    lease: Lease,
    error: str,
    detail: str | None,
    *,
    permanent: bool,
    attempts: int,
) -> bool:
    """Ends a leased attempt with `error`: ready again, or failed where nothing more is to try.

    False where the lease was lost. A failed segment takes its film with it (the film's flow sees
    it); other films go on.
    """
    last = sa.or_(sa.literal(permanent), segments.c.failures + 1 >= attempts)
    result = connection.execute(
        segments.update()
        .where(_held(lease))
        .values(
            status=sa.case((last, SegmentStatus.FAILED), else_=SegmentStatus.READY),
            failures=segments.c.failures + 1,
            owner=None,
            lease_until=None,
            progress=0.0,
            error=error,
            finished_at=now(),
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
    result = connection.execute(
        segments.update()
        .where(_held(lease))
        .values(status=SegmentStatus.READY, owner=None, lease_until=None, progress=0.0)
    )
    return result.rowcount == 1


def reap(connection: Connection, attempts: int, but_of: str = "") -> int:
    """Ends leases that ran out: ready again, or failed after `attempts`. Returns how many.

    Those of the owner `but_of` are left alone: the caller knows that it lives, and may only not
    have been able to say so while the database was away.
    """
    lost = connection.execute(
        sa.select(*(segments.c[field] for field in Lease.__struct_fields__))
        .where(LEASED, segments.c.lease_until < now(), segments.c.owner != but_of)
        .with_for_update(skip_locked=True)
    ).all()
    for row in lost:
        give_up(
            connection,
            Lease(**row._mapping),
            f"The worker {row.owner} stopped answering",
            None,
            permanent=False,
            attempts=attempts,
        )
    return len(lost)


def release_owner(connection: Connection, owner: str) -> int:
    """Ends the leases of an owner that is known to be dead; not counted as failures."""
    result = connection.execute(
        segments.update()
        .where(LEASED, segments.c.owner == owner)
        .values(status=SegmentStatus.READY, owner=None, lease_until=None, progress=0.0)
    )
    return result.rowcount


def owners(connection: Connection) -> set[str]:
    """Everyone who holds the lease of a segment or of a film's flow."""
    of_segments = sa.select(segments.c.owner).where(LEASED)
    of_films = sa.select(films.c.owner).where(films.c.owner.is_not(None))
    return {name for name in connection.execute(of_segments.union(of_films)).scalars() if name}


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


def find_take(connection: Connection, address: str) -> Take | None:
    """The take of an address, None where it was never rendered."""
    data = connection.execute(sa.select(takes.c.take).where(takes.c.address == address)).scalar()
    return None if data is None else from_json(Take, data)


def forget_take(connection: Connection, address: str) -> None:
    """Drops a take whose objects are gone from the store; what needs it is rendered again."""
    connection.execute(takes.delete().where(takes.c.address == address))
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
    # What would continue it must wait for it again; who renders that now loses the lease, as it
    # has no tail to go on from (and released, it would be ready too early).
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
        .values(status=SegmentStatus.WAITING, owner=None, lease_until=None, progress=0.0)
    )
    wake(connection, segments.c.film_id.in_(film_ids))


def takes_of(connection: Connection, film_id: str) -> list[Take]:
    """The takes of a film in order. Raises `LongreelError` where one is missing."""
    rows = connection.execute(
        sa.select(segments.c.position, takes.c.take)
        .join(takes, takes.c.address == segments.c.address, isouter=True)
        .where(segments.c.film_id == film_id)
        .order_by(segments.c.position)
    ).all()
    for row in rows:
        if row.take is None:
            raise LongreelError(f"Segment {row.position + 1} of {film_id} has no take yet.")
    return [from_json(Take, row.take) for row in rows]


def made_by(connection: Connection, film_id: str) -> dict[int, dict[str, Any]]:
    """What made the takes of a film, by the positions of its segments; of those that have one."""
    rows = connection.execute(
        sa.select(segments.c.position, takes.c.take)
        .join(takes, takes.c.address == segments.c.address)
        .where(segments.c.film_id == film_id)
    )
    return {row.position: row.take["made_by"] for row in rows}


def of_film(connection: Connection, film_id: str) -> list[SegmentRow]:
    """The segments of a film in order."""
    columns = [segments.c[field] for field in SegmentRow.__struct_fields__]
    rows = connection.execute(
        sa.select(*columns).where(segments.c.film_id == film_id).order_by(segments.c.position)
    )
    return [SegmentRow(**{**row._mapping, "status": SegmentStatus(row.status)}) for row in rows]


def tally(connection: Connection, film_id: str) -> dict[SegmentStatus, int]:
    """How many segments of a film are in each status."""
    rows = connection.execute(
        sa.select(segments.c.status, sa.func.count())
        .where(segments.c.film_id == film_id)
        .group_by(segments.c.status)
    )
    return {SegmentStatus(status): count for status, count in rows}
