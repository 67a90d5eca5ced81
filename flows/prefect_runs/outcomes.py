"""How runs that Prefect still has open truly ended, by what the database has about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from db.films import films
from db.flow_runs import FilmFlow, SegmentEnd
from db.workers.placements import PlacementEnd
from film.types import FilmStatus, RunOutcome, SegmentStatus, Struct

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun


class Ending(Struct, frozen=True, kw_only=True):
    """How a run truly ended."""

    outcome: RunOutcome
    message: str | None = None

    def state(self, at: float | None = None) -> Any:
        """The Prefect state, entered `at` seconds since 1970, now if None."""
        from datetime import UTC, datetime

        from prefect import states

        create = {
            RunOutcome.COMPLETED: states.Completed,
            RunOutcome.FAILED: states.Failed,
            RunOutcome.CANCELLED: states.Cancelled,
            RunOutcome.CRASHED: states.Crashed,
        }[self.outcome]
        if at is None:
            return create(message=self.message)
        return create(message=self.message, timestamp=datetime.fromtimestamp(at, UTC))


GONE = Ending(
    outcome=RunOutcome.CRASHED,
    message="Its process died, or lost the film's lease while it was slow or away; the film "
    "continues under another flow run",
)
LOST = Ending(
    outcome=RunOutcome.CRASHED, message="The attempt ended with its worker, or its lease was lost"
)
COMPLETED = Ending(
    outcome=RunOutcome.COMPLETED,
    message="The worker ended; what it had started is done or given back",
)
FAILED = Ending(
    outcome=RunOutcome.FAILED, message="The worker ended with an error, which is in its log"
)
ORPHANED = Ending(
    outcome=RunOutcome.CRASHED,
    message="The flow's process was killed, as happens when its Prefect worker is stopped; "
    "what the worker had started is given back",
)
SILENT = Ending(
    outcome=RunOutcome.CRASHED,
    message="Its processes were killed, or its machine was lost; other workers take over its "
    "segments",
)


def flow_ending(run_id: str, attempt: int | None, film: FilmFlow) -> Ending | None:
    """How a flow run that was started for `attempt` of a film ended; None if it is active."""
    if film.attempt != attempt or film.flow_run_id not in (None, run_id):
        return GONE
    if film.status in films.OPEN:
        return None if film.owner else GONE
    if film.flow_run_id is None:
        return GONE
    if film.status is FilmStatus.DELIVERED:
        return Ending(outcome=RunOutcome.COMPLETED)
    if film.status is FilmStatus.FAILED:
        return Ending(outcome=RunOutcome.FAILED, message=film.error)
    return Ending(outcome=RunOutcome.CANCELLED)


def segment_ending(attempt: int, row: SegmentEnd | None) -> Ending | None:
    """How an attempt at a segment ended; None if it is active."""
    if row is None or row.attempt != attempt:
        return LOST
    if row.status is SegmentStatus.LEASED:
        return None
    return Ending(outcome=RunOutcome.COMPLETED) if row.status is SegmentStatus.DONE else LOST


def step_ending(run: FlowRun) -> Ending | None:
    """How a step of a flow ended, which is with the flow at the latest; None if it is active."""
    if run.state is None or not run.state.is_final():
        return None
    return Ending(outcome=RunOutcome.COMPLETED) if run.state.is_completed() else GONE


def worker_ending(run: FlowRun, placement: PlacementEnd) -> Ending | None:
    """How a pool's flow run whose command has ended must end; None if it is right already."""
    kind = run.state.type.value if run.state else None
    if run.run_count != placement.run_count or kind not in ("RUNNING", "CANCELLING"):
        return None  # reported already, or started again
    if kind == "CANCELLING":
        return Ending(outcome=RunOutcome.CANCELLED)
    if placement.outcome is RunOutcome.COMPLETED:
        return COMPLETED
    return FAILED if placement.outcome is RunOutcome.FAILED else SILENT
