"""How runs in Prefect end, and the small parts around them that need no server."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from db.workers.placements import PlacementEnd
from film.errors import InputError
from film.settings import Settings
from film.types import RunOutcome
from flows.farm import Farm
from flows.films import prefect_step
from flows.pools import placement, worker_flow
from flows.pools.worker_reports import WorkerReport, read_last_report, send_report
from flows.prefect_runs import outcomes, prefect_server, queries
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


def test_the_two_sentences_of_a_completed_worker_agree() -> None:
    assert outcomes.COMPLETED.message == worker_flow.ENDED


@pytest.mark.parametrize(
    ("code", "error", "orphaned", "state", "message"),
    [
        (0, "", False, "COMPLETED", worker_flow.ENDED),
        (2, "No such model.", False, "FAILED", "The worker ended (exit code 2): No such model."),
        (-9, "", False, "FAILED", "The worker ended (killed by SIGKILL)"),
        (
            0,
            "",
            True,
            "CRASHED",
            "Its Prefect worker was killed; what it had started is given back",
        ),
    ],
)
def test_a_run_ends_as_its_command_did(
    code: int, error: str, orphaned: bool, state: str, message: str
) -> None:
    found = worker_flow.end_state(code, error, orphaned=orphaned)
    assert (found.type.value, found.message) == (state, message)


def test_the_options_of_a_placed_worker() -> None:
    assert worker_flow._options(models="demo", tags=None, processes=2) == [
        *("--models", "demo", "--processes", "2")
    ]


def test_the_last_report_of_a_worker_counts() -> None:
    reading, writing = os.pipe()
    assert read_last_report(reading) is None
    for error in ("First.", "Second: “zweitens”."):
        send_report(writing, WorkerReport(error))
    os.close(writing)
    assert read_last_report(reading) == WorkerReport("Second: “zweitens”.")
    assert read_last_report(reading) is None
    os.close(reading)


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


@pytest.mark.parametrize(
    ("code", "orphaned", "outcome"),
    [
        (0, False, RunOutcome.COMPLETED),
        (2, False, RunOutcome.FAILED),
        (None, False, RunOutcome.FAILED),
        (0, True, RunOutcome.CRASHED),
    ],
)
def test_the_outcome_of_a_placement(code: int | None, orphaned: bool, outcome: RunOutcome) -> None:
    assert placement._outcome(code, orphaned) is outcome


@pytest.mark.parametrize("given", ["", "run/1", "0c7f1f5e-0000-4000-8000-000000000000/x"])
def test_what_is_not_a_flow_run_is_refused(small_farm: Farm, given: str) -> None:
    with pytest.raises(InputError, match="--flow-run"):
        placement._placement(small_farm, given)


def test_a_worker_that_was_not_placed_has_no_placement() -> None:
    with placement.placed(None, lambda: False) as place:
        place.code = 0


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert prefect_server._free_port(port) not in (0, port)
    assert prefect_server._free_port(port) == port


def test_no_prefect_setting_of_the_user_reaches_the_embedded_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "postgresql://mine")
    monkeypatch.setenv("prefect_home", "/mine")
    monkeypatch.setenv("OTHER", "stays")
    left = prefect_server._foreign_settings_removed()
    assert not [name for name in left if name.upper().startswith("PREFECT_")]
    assert left["OTHER"] == "stays"
    own = prefect_server._own_settings(tmp_path)
    assert own["PREFECT_HOME"] == str(tmp_path)
    assert own["PREFECT_API_KEY"] == ""


def test_a_note_about_a_process_that_is_gone_is_no_server(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, prefect_api_url=None)
    assert prefect_server._state(settings) is None
    (tmp_path / "prefect").mkdir()
    state = {"pid": os.getpid(), "started": "another time", "url": "http://127.0.0.1:1/api"}
    prefect_server._note(tmp_path / "prefect", state)
    assert json.loads((tmp_path / "prefect" / "server.json").read_text()) == state
    assert prefect_server._found(settings, lambda: False) is None
    assert not prefect_server.stop(settings)
