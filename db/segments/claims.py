"""The next segment for a worker: found and leased in one statement."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from db.clock import now
from db.rows import columns_of, read_row
from db.segments import takes
from db.segments.fair_share import Abilities, Choice, choices, has_room, served
from db.tables import LEASED, segments
from film.logs import ids
from film.types import SegmentStatus, Struct


class Lease(Struct, frozen=True, kw_only=True):
    """A segment in the hands of a worker. `attempt` is the fencing token."""

    id: int
    film_id: str
    position: int
    attempt: int
    owner: str
    campaign_id: str
    kind: str
    """Model, shape and required tags in one word (see `db.segments.work_kinds`)."""

    @property
    def log_ids(self) -> dict[str, Any]:
        """What log records about it carry."""
        return ids(film=self.film_id, position=self.position, attempt=self.attempt)


def held(lease: Lease) -> sa.ColumnElement[bool]:
    """True if a segment's row is still the one that `lease` was given for."""
    return sa.and_(
        segments.c.id == lease.id,
        segments.c.attempt == lease.attempt,
        segments.c.owner == lease.owner,
        LEASED,
    )


def claim(
    connection: Connection, owner: str, able: Abilities, lease_seconds: float
) -> Lease | None:
    """Leases the next ready segment that the worker can render, or None if there is none.

    `db.segments.fair_share` decides whose turn it is. Within a campaign, the kind that the worker
    has warm comes first, then the oldest segment. Work that is being done for another film, or has
    been done meanwhile, is not done again.
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
    """Leases the oldest segment of a kind in a campaign that no worker renders."""
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
        lease = read_row(Lease, row)
        # Read while holding the lease: from now on no other worker can finish this work.
        if not takes.take_over(connection, lease.id):
            return lease


def _lease_statement() -> Any:
    """Leases the oldest ready segment of a campaign and kind whose address no worker renders."""
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
        .returning(*columns_of(segments, Lease))
    )


# Built once: a claim is made hundreds of times a second.
_LEASE = _lease_statement()
