"""What the database and Prefect have about a command that a work pool placed, until it ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import states

from db.workers import placements
from db.workers.placements import PlacementEnd
from film.errors import DatabaseError, InputError
from film.settings import Settings
from film.types import RunOutcome
from flows.farm import Farm
from flows.pools import placement
from flows.pools.placement import Place, placed
from flows.prefect_runs.outcomes import ORPHANED
from tests.db.farm import Farm as Rows
from tests.fakes import FlakyDatabase


class Stage:
    """A command that flow run `run` started, on a farm that uses the server of PREFECT_API_URL."""

    def __init__(self, farm: Farm) -> None:
        self.settings = farm.settings.model_copy(update={"prefect_api_url": "http://prefect/api"})
        self.rows = Rows(farm.database)
        self.database = FlakyDatabase(farm.database)
        self.run = uuid4()
        self.orphaned = False
        self.state = states.Running()
        self.run_count = 1
        self.away = False
        self.sent: list[tuple[UUID, str, str | None]] = []

    def placed(self, count: int = 1) -> AbstractContextManager[Place]:
        """The block of the command; the run was started `count` times."""
        return placed(
            f"{self.run}/{count}",
            lambda: self.orphaned,
            farm_here=self._open_farm,
            open_client=self._open_client,
        )

    def over(self) -> list[PlacementEnd]:
        """The placements that ended."""
        found: list[PlacementEnd] = self.rows.read(placements.over)
        return found

    def ended(self, outcome: RunOutcome, count: int = 1) -> PlacementEnd:
        """The end of this run's command."""
        return PlacementEnd(flow_run_id=str(self.run), run_count=count, outcome=outcome)

    def read_flow_run(self, run: UUID) -> Any:
        """See Prefect's client."""
        return SimpleNamespace(id=run, state=self.state, run_count=self.run_count)

    def set_flow_run_state(self, run: UUID, state: Any, *, force: bool) -> None:
        """See Prefect's client."""
        self.sent.append((run, state.type.value, state.message))

    def _open_farm(self) -> Farm:
        farm = Farm(self.settings)
        farm.__dict__["database"] = self.database
        return farm

    @contextmanager
    def _open_client(self, settings: Settings) -> Iterator[Any]:
        assert settings is self.settings
        if self.away:
            raise ConnectionError("Prefect is away")
        yield self


@pytest.fixture
def stage(small_farm: Farm) -> Stage:
    """The command of this test."""
    return Stage(small_farm)


@pytest.mark.parametrize(("code", "outcome"), [(0, RunOutcome.COMPLETED), (2, RunOutcome.FAILED)])
def test_the_end_of_a_command_is_recorded_and_left_to_its_flow_to_report(
    stage: Stage, code: int, outcome: RunOutcome
) -> None:
    with stage.placed() as place:
        assert len(stage.rows.read(placements.owners)) == 1
        assert not stage.over()
        place.code = code
    assert stage.over() == [stage.ended(outcome)]
    assert not stage.sent


def test_a_command_that_raises_failed(stage: Stage) -> None:
    with pytest.raises(InputError), stage.placed():
        raise InputError("No such model.")
    assert stage.over() == [stage.ended(RunOutcome.FAILED)]


def test_a_command_whose_flow_was_killed_reports_its_end_itself(stage: Stage) -> None:
    with stage.placed() as place:
        stage.orphaned = True
        place.code = 0
    assert stage.over() == [stage.ended(RunOutcome.CRASHED)]
    assert stage.sent == [(stage.run, "CRASHED", ORPHANED.message)]


def test_a_run_that_is_being_cancelled_is_cancelled(stage: Stage) -> None:
    stage.state = states.Cancelling()
    with stage.placed():
        stage.orphaned = True
    assert [sent[1] for sent in stage.sent] == ["CANCELLED"]


@pytest.mark.parametrize("case", ["ended", "started again"])
def test_a_run_that_is_right_already_is_left_alone(stage: Stage, case: str) -> None:
    if case == "ended":
        stage.state = states.Crashed()
    else:
        stage.run_count = 2
    with stage.placed():
        stage.orphaned = True
    assert not stage.sent


def test_a_server_that_is_away_is_logged_and_the_end_stays_recorded(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.away = True
    with caplog.at_level(logging.WARNING), stage.placed():
        stage.orphaned = True
    assert "did not receive the end" in caplog.text
    assert stage.over() == [stage.ended(RunOutcome.CRASHED)]


def test_the_embedded_server_is_not_reported_to(stage: Stage) -> None:
    stage.settings = stage.settings.model_copy(update={"prefect_api_url": None})
    with stage.placed():
        stage.orphaned = True
    assert stage.over() == [stage.ended(RunOutcome.CRASHED)]
    assert not stage.sent


def test_a_database_that_is_away_at_the_end_is_logged_and_prefect_has_the_end(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), stage.placed():
        stage.orphaned = stage.database.away = True
    assert "was not recorded" in caplog.text
    assert [sent[1] for sent in stage.sent] == ["CRASHED"]


def test_a_database_that_is_away_at_the_beginning_ends_the_command(stage: Stage) -> None:
    stage.database.away = True
    with pytest.raises(DatabaseError), stage.placed():
        pytest.fail("the command must not begin")


def test_a_run_that_is_started_again_belongs_to_its_new_command(stage: Stage) -> None:
    with stage.placed() as first, stage.placed(2) as second:
        first.code = second.code = 0
    assert stage.over() == [stage.ended(RunOutcome.COMPLETED, 2)]


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
def test_what_is_not_a_flow_run_is_refused(stage: Stage, given: str) -> None:
    opened: Callable[[], Farm] = stage._open_farm
    with (
        pytest.raises(InputError, match="--flow-run"),
        placed(given, lambda: False, farm_here=opened),
    ):
        pytest.fail("the command must not begin")


def test_a_worker_that_was_not_placed_has_no_placement() -> None:
    with placed(None, lambda: False, farm_here=lambda: pytest.fail("no farm is needed")) as place:
        place.code = 0
