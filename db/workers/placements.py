"""Placements: the flow run of a work pool that started each `longreel worker`.

Processes on its machine report to Prefect how such a run ended. If all of them are killed, none is
left to report it. These rows show it to other workers, until Prefect's view is right.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db.clock import now
from db.rows import upsert
from db.tables import placements
from film.types import RunOutcome, Struct


class Placement(Struct, frozen=True, kw_only=True):
    """A command at work for a flow run."""

    flow_run_id: str
    run_count: int
    """Number of times that Prefect had started the run: a run that is started again belongs to
    another command."""
    owner: str
    """The process of the command, as in leases."""
    lease_seconds: float
    """It promises to renew its row within this time."""


class PlacementEnd(Struct, frozen=True, kw_only=True):
    """A placement whose command has ended, or has stopped renewing its row."""

    flow_run_id: str
    run_count: int
    outcome: RunOutcome | None
    """None if its worker stopped answering without an end."""


def place(connection: Connection, placement: Placement) -> None:
    """The command begins; it takes the run over from one before it."""
    fresh: dict[str, Any] = {
        **{field: getattr(placement, field) for field in Placement.__struct_fields__},
        "seen_at": now(),
        "how": None,
    }
    upsert(connection, placements, "flow_run_id", fresh)


def beat(connection: Connection, placement: Placement) -> bool:
    """Renews the placement; False if another command has the run."""
    done = connection.execute(
        placements.update().where(_is(placement)).values(seen_at=now(), how=None)
    )
    return done.rowcount == 1


def end(connection: Connection, placement: Placement, outcome: RunOutcome) -> None:
    """Records that the command ended."""
    connection.execute(placements.update().where(_is(placement)).values(seen_at=now(), how=outcome))


def end_owner(connection: Connection, owner: str) -> None:
    """A command's process is known to be dead."""
    connection.execute(
        placements.update()
        .where(placements.c.owner == owner, placements.c.how.is_(None))
        .values(how=RunOutcome.CRASHED)
    )


def owners(connection: Connection) -> set[str]:
    """The processes of the commands that have not ended, by their rows."""
    query = sa.select(placements.c.owner).where(placements.c.how.is_(None))
    return set(connection.execute(query).scalars())


def over(connection: Connection) -> list[PlacementEnd]:
    """The placements that ended or fell silent, and were not forgotten yet."""
    fields = (placements.c.flow_run_id, placements.c.run_count, placements.c.how)
    return [
        PlacementEnd(
            flow_run_id=row.flow_run_id,
            run_count=row.run_count,
            outcome=RunOutcome(row.how) if row.how else None,
        )
        for row in connection.execute(sa.select(*fields).where(_over()))
    ]


def forget(connection: Connection, placement: PlacementEnd) -> None:
    """Prefect's view of its run is right."""
    connection.execute(
        placements.delete().where(
            placements.c.flow_run_id == placement.flow_run_id,
            placements.c.run_count == placement.run_count,
            _over(),
        )
    )


def _is(placement: Placement) -> sa.ColumnElement[bool]:
    return sa.and_(
        placements.c.flow_run_id == placement.flow_run_id,
        placements.c.run_count == placement.run_count,
        placements.c.owner == placement.owner,
    )


def _over() -> sa.ColumnElement[bool]:
    silent = now() - placements.c.seen_at > placements.c.lease_seconds
    return sa.or_(placements.c.how.is_not(None), silent)
