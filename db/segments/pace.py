"""How long segments take, by the latest of the same kind, and how long films take at that pace."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db.clock import now
from db.tables import LEASED, segments
from film.types import SegmentStatus, Struct

LATEST = 20
"""Segments whose median is the pace of their kind."""
LEAST_PROGRESS = 0.05
"""A segment that is rendered now tells the pace of its kind from here on, if none is done yet."""

_DONE = sa.and_(segments.c.status == sa.literal_column("'done'"), sa.not_(segments.c.reused))
_TO_RENDER = (SegmentStatus.WAITING, SegmentStatus.READY, SegmentStatus.LEASED)


class Work(Struct, frozen=True, kw_only=True):
    """What is left to be rendered of a film or a campaign."""

    by_kind: Mapping[str, float]
    """Segments by their kind; the part of a segment that is rendered already is not counted."""
    workers: int
    """Worker processes that render it now."""

    def seconds_at(self, paces: Mapping[str, float]) -> float | None:
        """How long it takes these workers; None if nobody renders it, or a pace is not known."""
        if not self.workers or not self.by_kind.keys() <= paces.keys():
            return None
        return sum(count * paces[kind] for kind, count in self.by_kind.items()) / self.workers


def of_films(connection: Connection, film_ids: Sequence[str]) -> dict[str, Work]:
    """What is left of each of these films."""
    return _left(connection, segments.c.film_id, segments.c.film_id.in_(film_ids))


def of_campaign(connection: Connection, campaign_id: str) -> Work:
    """What is left of a campaign."""
    mine = segments.c.campaign_id == campaign_id
    found = _left(connection, segments.c.campaign_id, mine)
    return found.get(campaign_id, Work(by_kind={}, workers=0))


def _left(
    connection: Connection, owner: sa.ColumnElement[Any], mine: sa.ColumnElement[bool]
) -> dict[str, Work]:
    rendered = sa.func.sum(sa.case((LEASED, segments.c.progress), else_=0.0))
    rows = connection.execute(
        sa.select(owner.label("of"), segments.c.kind, (sa.func.count() - rendered).label("left"))
        .where(mine, segments.c.status.in_(_TO_RENDER))
        .group_by(owner, segments.c.kind)
    )
    by_kind: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows:
        by_kind[row.of][row.kind] = row.left
    # One process may hold two segments: the next one is claimed while it renders.
    workers = connection.execute(
        sa.select(owner.label("of"), sa.func.count(segments.c.owner.distinct()).label("workers"))
        .where(mine, LEASED)
        .group_by(owner)
    )
    counts = {row.of: row.workers for row in workers}
    return {of: Work(by_kind=kinds, workers=counts.get(of, 0)) for of, kinds in by_kind.items()}


def of_kinds(connection: Connection, kinds: Iterable[str]) -> dict[str, float]:
    """Seconds that a worker needs for a segment of each kind; of those of which it is known."""
    found: dict[str, float] = {}
    unknown = set()
    for kind in set(kinds):
        times = connection.execute(_LATEST, {"of_kind": kind}).scalars().all()
        if times:
            found[kind] = max(0.0, median(times))
        else:
            unknown.add(kind)
    return found | _under_way(connection, unknown)


_LATEST = (
    sa.select(segments.c.finished_at - segments.c.started_at)
    .where(segments.c.kind == sa.bindparam("of_kind"), _DONE, segments.c.started_at.is_not(None))
    .order_by(segments.c.finished_at.desc())
    .limit(LATEST)
)


def _under_way(connection: Connection, kinds: Collection[str]) -> dict[str, float]:
    if not kinds:
        return {}
    seconds = (now() - segments.c.started_at) / segments.c.progress
    rows = connection.execute(
        sa.select(segments.c.kind, sa.func.avg(seconds).label("seconds"))
        .where(LEASED, segments.c.kind.in_(kinds), segments.c.progress >= LEAST_PROGRESS)
        .group_by(segments.c.kind)
    )
    return {row.kind: max(0.0, row.seconds) for row in rows}
