"""What Prefect holds open is compared with the database: wrong runs are set right, others left."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import states
from prefect.client.schemas.objects import State

from db.films import film_lease, films, user_actions
from db.segments import segment_lease
from db.segments.claims import Lease
from db.workers import placements
from db.workers.placements import Placement, PlacementEnd
from film.types import RunOutcome
from flows.farm import Farm
from flows.prefect_runs import queries, reconciler
from flows.prefect_runs.reconciler import ENDED_LOOKS, FLOW, Reconciler
from tests.db.farm import DELIVERY, a_film
from tests.db.farm import Farm as Rows


class FakePrefect:
    """A Prefect server's runs in memory, by the requests that `queries` sends."""

    def __init__(self) -> None:
        self.flow_runs: dict[UUID, Any] = {}
        self.task_runs: dict[UUID, Any] = {}
        self.asked: list[UUID] = []
        """Ids of the flow runs that were requested by id."""
        self.away = False

    def read_flow_runs(
        self, *, flow_run_filter: Any, limit: int, flow_filter: Any = None, offset: int = 0
    ) -> list[Any]:
        """The flow runs that pass the filters."""
        self._fail()
        if flow_filter is None:
            wanted = flow_run_filter.id.any_
            self.asked += wanted
            return [self.flow_runs[run] for run in wanted if run in self.flow_runs][:limit]
        final = flow_run_filter.state.type.not_any_
        found = [
            run
            for run in self.flow_runs.values()
            if run.flow in flow_filter.name.any_ and run.state.type not in final
        ]
        return found[offset : offset + limit]

    def read_task_runs(
        self, *, flow_filter: Any, task_run_filter: Any, limit: int, offset: int
    ) -> list[Any]:
        """The task runs that pass the filters."""
        self._fail()
        kinds = task_run_filter.state.type.any_
        found = [
            run
            for run in self.task_runs.values()
            if self.flow_runs[run.flow_run_id].flow in flow_filter.name.any_
            and run.state.type in kinds
        ]
        return found[offset : offset + limit]

    def set_flow_run_state(self, run: UUID, state: State[Any], *, force: bool) -> None:
        """A flow run enters a state."""
        self._fail()
        self.flow_runs[run].state = state

    def set_task_run_state(self, run: UUID, state: State[Any], *, force: bool) -> None:
        """A task run enters a state."""
        self._fail()
        self.task_runs[run].state = state

    def state(self, run: UUID) -> str:
        """The type of a run's state."""
        return str({**self.flow_runs, **self.task_runs}[run].state.type.value)

    def message(self, run: UUID) -> str | None:
        """The message of a flow run's state."""
        found: str | None = self.flow_runs[run].state.message
        return found

    def _fail(self) -> None:
        if self.away:
            raise ConnectionError("Prefect is away")


class Stage:
    """A film with a flow run in Prefect, and a reconciler."""

    def __init__(self, farm: Farm) -> None:
        self.farm = farm
        self.rows = Rows(farm.database)
        self.prefect = FakePrefect()
        self.reconciler = Reconciler(farm)
        (self.film_id,) = self.rows.submit(a_film())
        self.film = self.rows.claim_film()
        self.run = self.flow_run(self.film)
        self.rows.write(film_lease.attach_flow_run, self.film, str(self.run))

    def look(self, times: int = 1) -> None:
        """The reconciler compares."""
        for _ in range(times):
            self.reconciler.look(self.prefect)  # type: ignore[arg-type]

    def flow_run(self, film: films.Film, **changed: Any) -> UUID:
        """A running flow run of the film's attempt; `changed` are other parameters of it."""
        parameters = {
            "film_id": film.id,
            "attempt": film.attempt,
            "submitted_at": film.created_at,
            **changed,
        }
        return self.add_run(FLOW, parameters, states.Running())

    def add_run(self, flow: str, parameters: dict[str, Any], state: State[Any]) -> UUID:
        """A flow run in Prefect."""
        run = SimpleNamespace(
            id=uuid4(), flow=flow, parameters=parameters, state=state, run_count=1
        )
        self.prefect.flow_runs[run.id] = run
        return UUID(str(run.id))

    def task_run(self, run: UUID, name: str, key: str) -> UUID:
        """A running task run under a flow run."""
        task = SimpleNamespace(
            id=uuid4(), flow_run_id=run, name=name, dynamic_key=key, state=states.Running()
        )
        self.prefect.task_runs[task.id] = task
        return UUID(str(task.id))

    def attempt_run(self, lease: Lease) -> UUID:
        """The task run of an attempt at a segment."""
        return self.task_run(self.run, "segment 1 of 3, scene 1", f"{lease.id}-{lease.attempt}")

    def placed(self, owner: str = "host/process") -> tuple[UUID, Placement]:
        """A running flow run of a work pool, and the placement of its command."""
        run = self.add_run("longreel worker", {}, states.Running())
        placement = Placement(flow_run_id=str(run), run_count=1, owner=owner, lease_seconds=60.0)
        self.rows.write(placements.place, placement)
        return run, placement

    def over(self) -> list[PlacementEnd]:
        """The placements that ended and are remembered."""
        found: list[PlacementEnd] = self.rows.read(placements.over)
        return found


@pytest.fixture
def stage(small_farm: Farm) -> Stage:
    """The film of this test."""
    return Stage(small_farm)


def test_a_run_that_is_active_is_left_alone(stage: Stage) -> None:
    stage.look(3)
    assert stage.prefect.state(stage.run) == "RUNNING"


def test_a_run_of_an_earlier_attempt_crashed(stage: Stage) -> None:
    stage.rows.write(film_lease.release, stage.film)
    again = stage.rows.claim_film()
    later = stage.flow_run(again)
    stage.rows.write(film_lease.attach_flow_run, again, str(later))
    stage.look()
    assert stage.prefect.state(stage.run) == "RUNNING", "it may be about to report its end"
    stage.look()
    assert stage.prefect.state(stage.run) == "CRASHED"
    assert stage.prefect.state(later) == "RUNNING"


def test_a_run_that_reports_its_end_between_two_looks_is_left_alone(stage: Stage) -> None:
    stage.rows.write(film_lease.release, stage.film)
    stage.look()
    own = states.Cancelled(message="This process stopped; the film continues")
    stage.prefect.set_flow_run_state(stage.run, own, force=True)
    stage.look(2)
    assert stage.prefect.message(stage.run) == own.message


def deliver(stage: Stage) -> None:
    """The film is delivered."""
    assert stage.rows.write(film_lease.finish, stage.film, DELIVERY)


def fail(stage: Stage) -> None:
    """The film fails."""
    assert stage.rows.write(film_lease.fail, stage.film, "Segment 1 failed.")


def cancel(stage: Stage) -> None:
    """The user cancels the film."""
    stage.rows.write(user_actions.cancel, stage.film_id)


@pytest.mark.parametrize(
    ("end", "state", "message"),
    [
        (deliver, "COMPLETED", None),
        (fail, "FAILED", "Segment 1 failed."),
        (cancel, "CANCELLED", None),
    ],
)
def test_a_run_ends_as_its_film_did(
    stage: Stage, end: Any, state: str, message: str | None
) -> None:
    end(stage)
    stage.look()
    assert stage.prefect.state(stage.run) == "RUNNING"
    stage.look()
    assert (stage.prefect.state(stage.run), stage.prefect.message(stage.run)) == (state, message)


def test_a_final_state_that_is_wrong_is_corrected(stage: Stage) -> None:
    deliver(stage)
    stage.prefect.set_flow_run_state(stage.run, states.Failed(), force=True)
    stage.look(2)
    assert stage.prefect.state(stage.run) == "COMPLETED"


def test_an_ended_run_is_examined_until_it_looked_right_often_enough(stage: Stage) -> None:
    deliver(stage)
    stage.prefect.set_flow_run_state(stage.run, states.Completed(), force=True)
    stage.look(ENDED_LOOKS + 3)
    assert stage.prefect.asked == [stage.run] * ENDED_LOOKS


@pytest.mark.parametrize(
    "changed", [{"submitted_at": 1.0}, {"film_id": "another-1"}], ids=["moment", "film"]
)
def test_runs_of_other_farms_are_left_alone(stage: Stage, changed: dict[str, Any]) -> None:
    foreign = stage.flow_run(stage.film, attempt=7, **changed)
    step = stage.task_run(foreign, "plan", "0")
    segment = stage.task_run(foreign, "segment 1 of 3, scene 1", "999-1")
    stage.look(3)
    assert {stage.prefect.state(run) for run in (foreign, step, segment)} == {"RUNNING"}


def test_runs_of_other_flows_are_left_alone(stage: Stage) -> None:
    parameters = stage.prefect.flow_runs[stage.run].parameters
    other = stage.add_run("something else", {**parameters, "attempt": 7}, states.Running())
    stage.look(3)
    assert stage.prefect.state(other) == "RUNNING"


def test_an_attempt_ends_as_its_segment_did(stage: Stage) -> None:
    lease = stage.rows.claim()
    rendering = stage.attempt_run(lease)
    stage.look(2)
    assert stage.prefect.state(rendering) == "RUNNING"
    assert stage.rows.finish(lease)
    stage.look()
    assert stage.prefect.state(rendering) == "RUNNING"
    stage.look()
    assert stage.prefect.state(rendering) == "COMPLETED"


def test_an_attempt_whose_lease_was_lost_crashed(stage: Stage) -> None:
    lost = stage.rows.claim("dead")
    stage.rows.write(segment_lease.release_owner, "dead")
    again = stage.rows.claim("another")
    assert (again.id, again.attempt) == (lost.id, lost.attempt + 1)
    old, new = stage.attempt_run(lost), stage.attempt_run(again)
    stage.look(2)
    assert (stage.prefect.state(old), stage.prefect.state(new)) == ("CRASHED", "RUNNING")


@pytest.mark.parametrize(
    ("end", "state"), [(states.Completed(), "COMPLETED"), (states.Crashed(), "CRASHED")]
)
def test_a_step_ends_with_its_flow(stage: Stage, end: State[Any], state: str) -> None:
    step = stage.task_run(stage.run, "gather", "0")
    stage.look(2)
    assert stage.prefect.state(step) == "RUNNING"
    stage.prefect.set_flow_run_state(stage.run, end, force=True)
    stage.look(2)
    assert stage.prefect.state(step) == state


def test_runs_on_every_page_are_compared(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "PAGE", 2)
    old = [stage.flow_run(stage.film, attempt=0) for _ in range(5)]
    steps = [stage.task_run(run, "plan", "0") for run in old]
    stage.look(2)
    assert {stage.prefect.state(run) for run in old} == {"CRASHED"}
    stage.look(2)
    assert {stage.prefect.state(step) for step in steps} == {"CRASHED"}


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (RunOutcome.COMPLETED, "COMPLETED"),
        (RunOutcome.FAILED, "FAILED"),
        (RunOutcome.CRASHED, "CRASHED"),
    ],
)
def test_a_pools_run_ends_as_its_command_did(stage: Stage, outcome: RunOutcome, state: str) -> None:
    run, placement = stage.placed()
    stage.look(2)
    assert stage.prefect.state(run) == "RUNNING"
    stage.rows.write(placements.end, placement, outcome)
    stage.look()
    assert stage.prefect.state(run) == "RUNNING"
    stage.look()
    assert stage.prefect.state(run) == state
    assert stage.over(), "it is remembered until Prefect is seen to be right"
    stage.look()
    assert not stage.over()


def test_a_suspicion_counts_for_its_outcome_only(stage: Stage) -> None:
    run, placement = stage.placed("dead")
    stage.rows.write(placements.end_owner, "dead")
    stage.look()
    stage.rows.write(placements.end, placement, RunOutcome.COMPLETED)
    stage.look()
    assert stage.prefect.state(run) == "RUNNING"
    stage.look()
    assert stage.prefect.state(run) == "COMPLETED"


def test_two_looks_count_only_if_nothing_was_right_between_them(stage: Stage) -> None:
    run, placement = stage.placed("slow")
    for _ in range(2):
        stage.rows.write(placements.end_owner, "slow")
        stage.look()
        assert stage.rows.write(placements.beat, placement)
        stage.look()
    assert stage.prefect.state(run) == "RUNNING"


def test_a_pools_run_that_prefect_starts_again_is_remembered(stage: Stage) -> None:
    run, placement = stage.placed()
    stage.prefect.set_flow_run_state(run, states.Scheduled(), force=True)
    stage.rows.write(placements.end, placement, RunOutcome.CRASHED)
    stage.look(2)
    assert stage.prefect.state(run) == "SCHEDULED"
    assert stage.over()


def test_a_pools_run_that_prefect_does_not_have_is_forgotten(stage: Stage) -> None:
    run, placement = stage.placed()
    del stage.prefect.flow_runs[run]
    stage.rows.write(placements.end, placement, RunOutcome.CRASHED)
    stage.look()
    assert not stage.over()


def test_a_look_that_prefect_did_not_answer_keeps_its_suspicions(stage: Stage) -> None:
    deliver(stage)
    stage.look()
    stage.prefect.away = True
    with pytest.raises(ConnectionError):
        stage.look()
    stage.prefect.away = False
    stage.look()
    assert stage.prefect.state(stage.run) == "COMPLETED"


def test_the_next_look_is_due_after_half_a_lease_and_a_second_for_each_owner(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(reconciler, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    looks: list[float] = []
    watcher = Reconciler(stage.farm)
    monkeypatch.setattr(watcher, "look", lambda client: looks.append(clock[0]))
    stage.rows.claim("one")  # in addition to the owner of the film's flow
    half = stage.farm.settings.lease_seconds / 2
    for clock[0] in (100.0, 99.9 + half, 100.0 + half, 101.9 + 2 * half, 102.0 + 2 * half):
        watcher.look_if_due(stage.prefect)  # type: ignore[arg-type]
    assert looks == [100.0 + half, 102.0 + 2 * half]
