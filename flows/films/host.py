"""The process in which films' flows run: its parts, and the leases of the films that it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from db.films import film_lease
from db.films.films import Film
from flows.farm import Farm
from flows.periodic import LeaseKeeper
from flows.run_reporter import RunReporter


@dataclass(frozen=True)
class Host:
    """What the flows of this process work with."""

    farm: Farm
    stopping: Callable[[], bool]
    """True once this process stops."""
    reporter: RunReporter
    keepers: dict[tuple[str, int], LeaseKeeper] = field(default_factory=dict)
    """Keepers of the film leases that this process holds, by film id and attempt."""

    @contextmanager
    def holding(self, film: Film) -> Iterator[None]:
        """Keeps the lease of a claimed film, from the claim on: Prefect may be slow to start."""

        def extend() -> bool:
            with self.farm.database.write() as connection:
                return film_lease.beat(connection, film, self.farm.settings.lease_seconds)

        seconds = self.farm.settings.lease_seconds
        with LeaseKeeper("The film's lease", extend, seconds, film.log_ids) as keeper:
            self.keepers[film.id, film.attempt] = keeper
            try:
                yield
            finally:
                del self.keepers[film.id, film.attempt]


_host: list[Host] = []


def host_flows(host: Host) -> None:
    """Sets what the flows of this process work with.

    Prefect starts a flow with parameters that are JSON, and database engines, locks and threads are
    not. So the flow finds them in its process.
    """
    _host[:] = [host]


def current_host() -> Host:
    """What `host_flows` set."""
    return _host[0]
