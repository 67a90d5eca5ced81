"""Releases, every few seconds, what dead workers held."""

from __future__ import annotations

import logging
from collections.abc import Callable

from db.engine import Database
from db.films import film_lease
from db.segments import segment_lease
from db.workers import placements, registry
from flows.farm import Farm
from flows.machine import process_identity
from flows.machine.clock import elapsed_seconds
from flows.periodic import Periodic
from flows.run_reporter import RunReporter

logger = logging.getLogger(__name__)

REAP_SECONDS = 5.0
"""Pause between two looks for leases that ran out, or whose owner is dead."""


def reaping(farm: Farm, reporter: RunReporter) -> Periodic:
    """Releases the leases of dead processes, of this machine and of all others, in a thread."""
    return Periodic("The reaper", REAP_SECONDS, Reaper(farm, reporter).look, immediately=True)


class Reaper:
    """Releases leases that ran out, or whose owner is dead.

    After an outage of the database, or a suspension of this machine, leases have run out that their
    holders could not renew. So it gives them the time of one lease first.
    """

    def __init__(
        self, farm: Farm, reporter: RunReporter, clock: Callable[[], float] = elapsed_seconds
    ) -> None:
        self._farm = farm
        self._reporter = reporter
        self._clock = clock
        self._looked: float | None = None
        self._patient_until = clock()

    def look(self) -> None:
        """Releases what is lost now. Raises `DatabaseError`."""
        now = self._clock()
        lease = self._farm.settings.lease_seconds
        if self._looked is not None and now - self._looked > REAP_SECONDS + lease / 2:
            self._patient_until = now + lease
            self._looked = now
        for flow_run_id in release_dead(self._farm.database):
            self._reporter.orphaned(flow_run_id)
        if now >= self._patient_until:
            self._release_expired()
        self._looked = self._clock()

    def _release_expired(self) -> None:
        attempts = self._farm.settings.segment_attempts
        with self._farm.database.write() as connection:
            count = segment_lease.reap(connection, attempts, but_of=self._farm.owner)
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
