"""Reports to Prefect: in order, repeated, dropped; and cancelling in its dashboard."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from db.films import film_lease
from db.segments.claims import Lease
from film.types import FilmStatus, RunOutcome
from flows.farm import Farm
from flows.prefect_runs import reconciler
from flows.prefect_runs import reporter as task_runs
from flows.prefect_runs.reporter import PrefectReporter, Queued
from tests.db.farm import Farm as Rows
from tests.db.farm import a_film

RUN = uuid4()


class FakeClient:
    """A Prefect client that remembers what it received; it fails `failing` times."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.failing = 0
        self.flow_state = "RUNNING"
        self.open_tasks: list[Any] = []

    def create_task_run(self, **values: Any) -> Any:
        """A task run."""
        self._fail()
        self.calls.append(("create", values["name"]))
        return SimpleNamespace(id=uuid4())

    def set_task_run_state(self, run: UUID, state: Any, *, force: bool) -> None:
        """Its state."""
        self._fail()
        self.calls.append(("task", state.type.value))

    def set_flow_run_state(self, run: UUID, state: Any, *, force: bool) -> None:
        """A flow run's state."""
        self._fail()
        self.calls.append(("flow", state.type.value))

    def read_task_runs(self, **_: Any) -> list[Any]:
        """The open ones of a flow run."""
        self._fail()
        return self.open_tasks

    def read_flow_run(self, run: UUID) -> Any:
        """A flow run."""
        self._fail()
        return SimpleNamespace(state=SimpleNamespace(type=SimpleNamespace(value=self.flow_state)))

    def _fail(self) -> None:
        if self.failing:
            self.failing -= 1
            raise ConnectionError("Prefect is away")


class Stage:
    """A reporter whose client is a fake, and a film with a flow run."""

    def __init__(self, farm: Farm) -> None:
        self.rows = Rows(farm.database)
        self.client = FakeClient()
        self.reporter = PrefectReporter(farm, self.open_client)
        (self.film_id,) = self.rows.submit(a_film())
        self.film = self.rows.claim_film()
        self.lease: Lease = self.rows.claim()

    @contextmanager
    def open_client(self) -> Iterator[Any]:
        """The fake."""
        yield self.client

    def attach(self) -> None:
        """The film's flow has started."""
        self.rows.write(film_lease.attach_flow_run, self.film, str(RUN))

    def send(self, count: int = 1) -> None:
        """Sends reports that wait, one after another."""
        for _ in range(count):
            queued: Queued = self.reporter._queue.get_nowait()
            self.reporter._try(self.client, queued)  # type: ignore[arg-type]


@pytest.fixture
def stage(small_farm: Farm, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """The reporter of this test; its pauses take no time."""
    for name in ("AWAY_SECONDS", "NOT_YET_SECONDS", "IDLE_SECONDS"):
        monkeypatch.setattr(task_runs, name, 0.0)
    monkeypatch.setattr(reconciler, "PAUSE_SECONDS", 3600.0)
    return Stage(small_farm)


@pytest.mark.parametrize("outcome", RunOutcome)
def test_an_attempt_is_a_task_run_that_ends_as_it_did(stage: Stage, outcome: RunOutcome) -> None:
    stage.attach()
    stage.reporter.started(stage.lease)
    stage.reporter.ended(stage.lease, outcome, "why")
    stage.send(2)
    assert stage.client.calls == [
        ("create", "segment 1 of 3, scene 1"),
        ("task", outcome.value.upper()),
    ]
    assert stage.reporter._queue.empty()


def test_an_end_waits_for_its_beginning(stage: Stage) -> None:
    stage.attach()
    stage.reporter.ended(stage.lease, RunOutcome.COMPLETED)
    stage.reporter.started(stage.lease)
    stage.send(3)
    assert [kind for kind, _ in stage.client.calls] == ["create", "task"]


def test_a_report_waits_for_the_films_flow_run(stage: Stage) -> None:
    stage.reporter.started(stage.lease)
    stage.send(3)
    assert stage.client.calls == []
    stage.attach()
    stage.send()
    assert stage.client.calls == [("create", "segment 1 of 3, scene 1")]


def test_a_report_is_repeated_while_prefect_is_away_and_logged_once(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.attach()
    stage.client.failing = 5
    stage.reporter.started(stage.lease)
    stage.send(6)
    assert stage.client.calls == [("create", "segment 1 of 3, scene 1")]
    (record,) = [r for r in caplog.records if "gets it again" in r.getMessage()]
    assert (record.__dict__["film"], record.__dict__["segment"]) == (stage.film_id, 1)


@pytest.mark.parametrize("away", [True, False])
def test_a_report_that_is_never_received_is_dropped(
    stage: Stage, caplog: pytest.LogCaptureFixture, away: bool
) -> None:
    stage.client.failing = 1000 if away else 0
    if away:
        stage.attach()
    stage.reporter.started(stage.lease)
    with caplog.at_level(logging.DEBUG):
        stage.send(task_runs.REPORT_TRIES + 1)
    assert stage.reporter._queue.empty()
    dropped = [r for r in caplog.records if "dropped" in r.getMessage()]
    assert [r.levelno for r in dropped] == [logging.WARNING if away else logging.DEBUG]


def test_an_orphaned_flow_run_and_its_tasks_crashed(stage: Stage) -> None:
    def task(final: bool) -> Any:
        return SimpleNamespace(id=uuid4(), state=SimpleNamespace(is_final=lambda: final))

    stage.client.open_tasks = [task(False), task(True), task(False)]
    stage.reporter.orphaned(str(RUN))
    stage.send()
    assert stage.client.calls == [("task", "CRASHED")] * 2 + [("flow", "CRASHED")]


def test_cancelling_in_prefect_cancels_the_film(stage: Stage) -> None:
    stage.reporter.watch(stage.film_id, 1, str(RUN))
    stage.reporter._look(stage.client)  # type: ignore[arg-type]
    assert stage.rows.status(stage.film_id) is FilmStatus.QUEUED
    stage.client.flow_state = "CANCELLING"
    stage.reporter._look(stage.client)  # type: ignore[arg-type]
    assert stage.rows.status(stage.film_id) is FilmStatus.CANCELLED


def test_a_film_that_is_not_watched_any_more_is_left_alone(stage: Stage) -> None:
    stage.reporter.watch(stage.film_id, 1, str(RUN))
    stage.reporter.unwatch(stage.film_id, 1)
    stage.client.flow_state = "CANCELLING"
    stage.reporter._look(stage.client)  # type: ignore[arg-type]
    assert stage.rows.status(stage.film_id) is FilmStatus.QUEUED


def test_a_look_that_fails_is_logged(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.reporter.watch(stage.film_id, 1, str(RUN))
    stage.client.failing = 1
    stage.reporter._look(stage.client)  # type: ignore[arg-type]
    assert caplog.records[-1].__dict__["film"] == stage.film_id


def test_nothing_is_sent_before_prefect_can_be_reached(stage: Stage) -> None:
    stage.attach()
    with stage.reporter as reporter:
        reporter.started(stage.lease)
    assert stage.client.calls == []


def test_what_waits_is_sent_before_the_process_ends(stage: Stage) -> None:
    stage.attach()
    with stage.reporter as reporter:
        reporter.connect()
        reporter.started(stage.lease)
        reporter.ended(stage.lease, RunOutcome.COMPLETED)
    assert [kind for kind, _ in stage.client.calls] == ["create", "task"]
