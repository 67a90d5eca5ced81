"""Releases, every few seconds, what dead workers held."""

from __future__ import annotations

import logging

from db.engine import Database
from db.films import film_lease
from db.segments import segment_lease
from db.workers import placements, registry
from flows.farm import Farm
from flows.machine import process_identity
from flows.periodic import Periodic
from flows.run_reporter import RunReporter

logger = logging.getLogger(__name__)

REAP_SECONDS = 5.0
"""Pause between two looks for leases that ran out, or whose owner is dead."""


def reaping(farm: Farm, reporter: RunReporter) -> Periodic:
    """Releases the leases of dead processes, of this machine and of all others, in a thread."""
    return Periodic(
        "The reaper", REAP_SECONDS, lambda: release_lost(farm, reporter), immediately=True
    )


def release_lost(farm: Farm, reporter: RunReporter) -> None:
    """Releases leases that ran out or whose owner is dead. Raises `DatabaseError`."""
    for flow_run_id in release_dead(farm.database):
        reporter.orphaned(flow_run_id)
    attempts = farm.settings.segment_attempts
    with farm.database.write() as connection:
        count = segment_lease.reap(connection, attempts, but_of=farm.owner)
    if count:
        logger.info("Released %d leases that had run out", count)


def release_dead(database: Database) -> list[str]:
    """Ends what dead processes of this machine held: leases, workers, placements.

    Returns the flow runs of the films that they left. Raises `DatabaseError`.
    """
    with database.read() as connection:
        known = segment_lease.owners(connection) | registry.owners(connection)
        known |= placements.owners(connection)
    dead = [name for name in known if process_identity.is_dead(name)]
    left: list[str] = []
    for name in dead:
        with database.write() as connection:
            segment_lease.release_owner(connection, name)
            registry.end_owner(connection, name)
            placements.end_owner(connection, name)
            left += film_lease.release_owner(connection, name)
    return left
