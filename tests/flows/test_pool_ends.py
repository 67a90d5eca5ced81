"""However a placed worker ends, its flow run ends too, with the reason."""

from __future__ import annotations

import os
import signal
from uuid import uuid4

import psutil
import pytest

from db.workers import placements
from db.workers.placements import Placement
from film.types import RunOutcome
from flows.farm import Farm
from flows.prefect_runs.reconciler import Reconciler
from tests.conftest import Installation
from tests.flows.placing import Prefect, ended, flow_run
from tests.flows.test_campaign import wait_for
from tests.flows.test_workers import Start, becomes, segments, start, submit, worker

__all__ = ["start"]
pytestmark = pytest.mark.slow

TERM, KILL = signal.SIGTERM, signal.SIGKILL


class Placed:
    """The processes of one run, found by the name of its worker."""

    def __init__(self, prefect: Prefect, place: Installation, name: str) -> None:
        self.name, self._place = name, place
        self.run_id = prefect.place("processes=1", f"name={name}")

    def wait(self) -> None:
        """Until its worker works."""
        wait_for(lambda: worker(self._place, self.name).get("state") is not None, self.name)
        pid = int(worker(self._place, self.name)["owner"].split("/")[2])
        self.command = psutil.Process(pid)
        self.flow = self.command.parent()
        assert self.flow is not None

    def is_gone(self) -> bool:
        """True if both processes have ended."""
        return not any(
            one.is_running() and one.status() != psutil.STATUS_ZOMBIE
            for one in (self.flow, self.command)
        )

    def end(self) -> tuple[str, str]:
        """State and message, once the run has ended."""
        wait_for(lambda: ended(self.run_id), f"the run of {self.name}", seconds=60)
        wait_for(self.is_gone, f"the processes of {self.name}", seconds=60)
        state = flow_run(self.run_id).state
        return state.name, state.message


@pytest.mark.usefixtures("pool")
def test_a_run_ends_with_its_processes(served: Installation, prefect: Prefect) -> None:
    names = ("flow-term", "flow-kill", "command-term", "command-kill", "orphan")
    runs = [Placed(prefect, served, name) for name in names]
    for run in runs:
        run.wait()
    runs[0].flow.send_signal(TERM)
    runs[1].flow.send_signal(KILL)
    runs[2].command.send_signal(TERM)
    runs[3].command.send_signal(KILL)
    ends = [run.end() for run in runs[:4]]
    assert [name for name, _ in ends] == ["Crashed", "Crashed", "Completed", "Failed"], ends
    assert ends[3][1] == "The worker ended (killed by SIGKILL)"

    (film,) = submit(served, '{"prompt": "A blue ball.", "seconds": 60, "title": "Long"}')
    becomes(served, "orphan", "rendering")
    prefect.stop_worker()
    name, message = runs[4].end()
    assert name == "Crashed"
    told = ("The flow's process was killed,", "Its Prefect worker was killed;")
    assert message.startswith(told), message
    parts = segments(served, film)
    assert "leased" not in {part["status"] for part in parts}
    assert {part["failures"] for part in parts} == {0}


@pytest.mark.usefixtures("pool")
def test_a_run_ends_when_its_prefect_worker_is_killed_or_all_of_it(
    served: Installation, prefect: Prefect, start: Start
) -> None:
    served.environment["LONGREEL_LEASE_SECONDS"] = "6"  # looks come more often then
    orphan = Placed(prefect, served, "orphan")
    orphan.wait()
    prefect.workers[0].send_signal(KILL)
    assert orphan.end() == (
        "Crashed",
        "Its Prefect worker was killed; what it had started is given back",
    )

    prefect.start_worker()
    killed = Placed(prefect, served, "killed")
    killed.wait()
    for pid in (prefect.workers[1].pid, killed.flow.pid, killed.command.pid):
        os.kill(pid, KILL)
    start("worker", "--name", "killed")  # the machine comes back, with another worker of the name
    name, message = killed.end()
    assert name == "Crashed"
    assert message.startswith("Its processes were killed, or its machine was lost"), message


def test_a_run_on_a_machine_that_is_lost_is_ended_by_the_others(
    farm: Farm, prefect_api: str
) -> None:
    os.environ["PREFECT_API_URL"] = prefect_api
    from prefect import flow, get_client, states

    @flow(name="longreel worker")
    def stand_in() -> None:
        """Only its name is asked for."""

    def placed(owner: str, outcome: RunOutcome | None = None) -> str:
        run = str(client.create_flow_run(stand_in, state=states.Running()).id)
        count = client.read_flow_run(run).run_count
        one = Placement(flow_run_id=run, run_count=count, owner=owner, lease_seconds=0.2)
        with farm.database.write() as connection:
            placements.place(connection, one)
            if outcome:
                placements.end(connection, one, outcome)
        return run

    def state(run: str) -> str:
        return str(client.read_flow_run(run).state.type.value)

    with get_client(sync_client=True) as client:
        lost = placed("another machine")
        done, failed = placed("me", RunOutcome.COMPLETED), placed("me", RunOutcome.FAILED)
        cancelled = placed("me", RunOutcome.CRASHED)
        client.set_flow_run_state(cancelled, states.Cancelling(), force=True)
        begun_again = placed("elsewhere", RunOutcome.CRASHED)
        client.set_flow_run_state(begun_again, states.AwaitingRetry(), force=True)
        unknown = str(uuid4())
        gone = Placement(flow_run_id=unknown, run_count=1, owner="me", lease_seconds=0.0)
        with farm.database.write() as connection:
            placements.place(connection, gone)
        reconciler = Reconciler(farm)
        wait_for(lambda: _over(farm) == 6, "the silence")
        reconciler.look(client)
        assert state(lost) == "RUNNING", "it may be about to be heard of"
        reconciler.look(client)
        found = [state(run) for run in (lost, done, failed, cancelled, begun_again)]
        assert found == ["CRASHED", "COMPLETED", "FAILED", "CANCELLED", "SCHEDULED"]
        reconciler.look(client)
        assert _over(farm) == 1, "what may still begin again is kept"


def _over(farm: Farm) -> int:
    with farm.database.read() as connection:
        return len(placements.over(connection))
