"""Stand-ins for the costly parts of a farm, for tests of the logic between them."""

from __future__ import annotations

from dataclasses import dataclass, field

from db.claiming import Lease
from film.types import RunOutcome


@dataclass
class RecordingReporter:
    """A `RunReporter` that remembers what it received."""

    connected: int = 0
    started_segments: list[int] = field(default_factory=list)
    """Ids of segments."""
    ended_segments: list[tuple[int, RunOutcome, str | None]] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    watched: dict[tuple[str, int], str] = field(default_factory=dict)

    def connect(self) -> None:
        """See `RunReporter`."""
        self.connected += 1

    def started(self, lease: Lease) -> None:
        """See `RunReporter`."""
        self.started_segments.append(lease.id)

    def ended(self, lease: Lease, outcome: RunOutcome, message: str | None = None) -> None:
        """See `RunReporter`."""
        self.ended_segments.append((lease.id, outcome, message))

    def orphaned(self, flow_run_id: str) -> None:
        """See `RunReporter`."""
        self.orphans.append(flow_run_id)

    def watch(self, film_id: str, attempt: int, flow_run_id: str) -> None:
        """See `RunReporter`."""
        self.watched[film_id, attempt] = flow_run_id

    def unwatch(self, film_id: str, attempt: int) -> None:
        """See `RunReporter`."""
        self.watched.pop((film_id, attempt), None)
