"""How runs in Prefect end, and the small parts around them that need no server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from db.workers.placements import PlacementEnd
from film.types import RunOutcome
from flows.films import prefect_step
from flows.prefect_runs import outcomes, queries
from flows.prefect_runs.outcomes import Ending, step_ending, worker_ending


@pytest.mark.parametrize("outcome", RunOutcome)
def test_each_outcome_is_a_state_of_prefect(outcome: RunOutcome) -> None:
    state = Ending(outcome=outcome, message="why").state(at=86_400.0)
    assert (state.type.value, state.message) == (outcome.value.upper(), "why")
    assert state.timestamp.timestamp() == 86_400.0
    assert Ending(outcome=outcome).state().timestamp.timestamp() > 86_400.0


def run_in(state: str, count: int = 1) -> Any:
    """A flow run as Prefect's client returns it."""
    final = state in ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
    return SimpleNamespace(
        run_count=count,
        state=SimpleNamespace(
            type=SimpleNamespace(value=state),
            is_final=lambda: final,
            is_completed=lambda: state == "COMPLETED",
        ),
    )


def over(outcome: RunOutcome | None) -> PlacementEnd:
    """A placement that has ended."""
    return PlacementEnd(flow_run_id="run", run_count=1, outcome=outcome)


@pytest.mark.parametrize(
    ("run", "outcome", "ending"),
    [
        (run_in("RUNNING"), RunOutcome.COMPLETED, outcomes.COMPLETED),
        (run_in("RUNNING"), RunOutcome.FAILED, outcomes.FAILED),
        (run_in("RUNNING"), RunOutcome.CRASHED, outcomes.SILENT),
        (run_in("RUNNING"), None, outcomes.SILENT),
        (run_in("CANCELLING"), None, Ending(outcome=RunOutcome.CANCELLED)),
        (run_in("COMPLETED"), RunOutcome.COMPLETED, None),
        (run_in("SCHEDULED"), RunOutcome.CRASHED, None),
        (run_in("RUNNING", count=2), RunOutcome.CRASHED, None),
    ],
)
def test_how_a_placed_worker_ended(
    run: Any, outcome: RunOutcome | None, ending: Ending | None
) -> None:
    assert worker_ending(run, over(outcome)) == ending


def test_how_a_step_ended() -> None:
    assert step_ending(run_in("RUNNING")) is None
    assert step_ending(run_in("COMPLETED")) == Ending(outcome=RunOutcome.COMPLETED)
    assert step_ending(run_in("CRASHED")) == outcomes.GONE


def test_pages_are_read_until_one_is_not_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "PAGE", 3)
    rows = list(range(7))
    assert queries.pages(lambda offset: rows[offset : offset + 3]) == rows
    assert queries.pages(lambda offset: rows[:6][offset : offset + 3]) == rows[:6]


@pytest.mark.parametrize(("transient", "again"), [(True, True), (False, False)])
def test_a_step_is_tried_again_if_its_error_is_transient(transient: bool, again: bool) -> None:
    from film.errors import DatabaseError, RenderError

    error = DatabaseError("Away.") if transient else RenderError("No.")
    state = SimpleNamespace(result=lambda raise_on_failure: error)
    assert prefect_step._is_transient(None, None, state) is again
