"""The reports of a worker and a conductor to the place that shows their runs to people."""

from __future__ import annotations

from typing import Protocol

from db.segments.claims import Lease
from film.types import RunOutcome


class RunReporter(Protocol):
    """Receives what happens to segments and flows. No method waits, and none raises.

    The database has the truth already: what a reporter loses is missing on a page only.
    """

    def started(self, lease: Lease) -> None:
        """A segment is being rendered from now on."""

    def ended(self, lease: Lease, outcome: RunOutcome, message: str | None = None) -> None:
        """The attempt at a segment ended; `message` is the reason if it has no take."""

    def orphaned(self, flow_run_id: str) -> None:
        """The process of a flow run died or lost its film: the run and its tasks crashed."""

    def watch(self, film_id: str, attempt: int, flow_run_id: str) -> None:
        """From now on, a user who cancels this flow run cancels the film."""

    def unwatch(self, film_id: str, attempt: int) -> None:
        """The flow of this attempt at the film has ended."""

    def connect(self) -> None:
        """The place that runs are reported to can be reached from now on."""
