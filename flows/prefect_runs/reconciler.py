"""Makes Prefect's view true again after reports were lost.

A process that is killed never reports how its flow ended, and reports may be lost while the server
is away. The database knows. So every worker compares the two now and then, and ends the runs that
Prefect still has open as they ended. A run must look wrong twice, because the process that ended it
a moment ago may be about to report it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from db import flow_runs
from db.flow_runs import FilmFlow
from db.segments import segment_lease
from db.workers import placements
from db.workers.placements import PlacementEnd
from film.types import RunOutcome
from flows.farm import Farm
from flows.prefect_runs.outcomes import (
    Ending,
    flow_ending,
    segment_ending,
    step_ending,
    worker_ending,
)
from flows.prefect_runs.queries import open_flow_runs, open_task_runs, pages, read_flow_runs

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, TaskRun

FLOW = "render film"
"""Name of the films' flow in Prefect."""
PAUSE_SECONDS = 5.0
"""Shortest pause between two looks; also half a lease, and a second for each owner of leases, so
that many workers together ask the server no more often than a few do."""
ENDED_LOOKS = 2
"""How often the run of a film that ended must look right."""
ENDED_SECONDS = 600.0
"""How long after its end a film's run is examined, in seconds. By every worker, because the process
in which it ended may be gone."""

_SEGMENT_KEY = re.compile(r"(\d+)-(\d+)")


class Reconciler:
    """Compares Prefect's open runs of our films with the database. Use from one thread."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self._suspects: set[tuple[UUID, RunOutcome]] = set()
        self._right: dict[UUID, int] = {}
        self._next = time.monotonic() + self._pause(owners=0)

    def look_if_due(self, client: SyncPrefectClient) -> None:
        """Looks if it is time to; raises as `look` does."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._pause(owners=self._owners())
            self.look(client)

    def look(self, client: SyncPrefectClient) -> None:
        """Sets right what looks wrong, and did so at the last look too.

        Raises what the client does, and `DatabaseError`.
        """
        open_runs = pages(lambda offset: open_flow_runs(client, FLOW, offset))
        open_tasks = pages(lambda offset: open_task_runs(client, FLOW, offset))
        runs = {run.id: run for run in open_runs}
        others = {task.flow_run_id for task in open_tasks if task.flow_run_id} - runs.keys()
        runs |= {run.id: run for run in read_flow_runs(client, others)}
        ended = read_flow_runs(client, self._lately_ended())
        wrong = self._wrong_flow_runs([*open_runs, *ended]) | self._wrong_placed_runs(client)
        wrong_tasks = self._wrong_task_runs(open_tasks, runs)
        seen = {(run, ending.outcome) for run, ending in (wrong | wrong_tasks).items()}
        for run, ending in wrong.items():
            if (run, ending.outcome) in self._suspects:
                client.set_flow_run_state(run, ending.state(), force=True)
        for run, ending in wrong_tasks.items():
            if (run, ending.outcome) in self._suspects:
                client.set_task_run_state(run, ending.state(), force=True)
        self._suspects = seen
        for run in {run.id for run in ended} - wrong.keys():
            self._right[run] = self._right.get(run, 0) + 1

    def _pause(self, owners: int) -> float:
        return max(PAUSE_SECONDS, self._farm.settings.lease_seconds / 2) + owners

    def _owners(self) -> int:
        with self._farm.database.read() as connection:
            return len(segment_lease.owners(connection))

    def _lately_ended(self) -> list[UUID]:
        """The runs of films that finished lately, whatever their state in Prefect. Runs that looked
        right often enough are not examined again."""
        with self._farm.database.read() as connection:
            runs = {UUID(run) for run in flow_runs.ended_flows(connection, ENDED_SECONDS)}
        self._right = {run: looks for run, looks in self._right.items() if run in runs}
        return [run for run in runs if self._right.get(run, 0) < ENDED_LOOKS]

    def _wrong_flow_runs(self, runs: Sequence[FlowRun]) -> dict[UUID, Ending]:
        found = self._films(runs)
        wrong: dict[UUID, Ending] = {}
        for run in runs:
            film = _film_of(run, found)
            ending = flow_ending(str(run.id), run.parameters.get("attempt"), film) if film else None
            if ending and not (run.state and run.state.type.value == ending.outcome.upper()):
                wrong[run.id] = ending
        return wrong

    def _wrong_placed_runs(self, client: SyncPrefectClient) -> dict[UUID, Ending]:
        """Runs of work pools whose command is over; those that Prefect knows of are forgotten."""
        with self._farm.database.read() as connection:
            over = {UUID(one.flow_run_id): one for one in placements.over(connection)}
        found = {run.id: run for run in read_flow_runs(client, over)}
        wrong: dict[UUID, Ending] = {}
        for run_id, placement in over.items():
            run = found.get(run_id)
            ending = worker_ending(run, placement) if run else None
            if ending:
                wrong[run_id] = ending
            elif run is None or (run.state and run.state.is_final()):
                self._forget(placement)
        return wrong

    def _forget(self, placement: PlacementEnd) -> None:
        with self._farm.database.write() as connection:
            placements.forget(connection, placement)

    def _wrong_task_runs(
        self, tasks: Sequence[TaskRun], runs: dict[UUID, FlowRun]
    ) -> dict[UUID, Ending]:
        found = self._films(list(runs.values()))
        with self._farm.database.read() as connection:
            rows = flow_runs.ends(connection, [key[0] for key in map(_key, tasks) if key])
        wrong: dict[UUID, Ending] = {}
        for task in tasks:
            run = runs.get(task.flow_run_id) if task.flow_run_id else None
            if run is None or _film_of(run, found) is None:
                continue
            key = _key(task)
            ending = segment_ending(key[1], rows.get(key[0])) if key else step_ending(run)
            if ending:
                wrong[task.id] = ending
        return wrong

    def _films(self, runs: Sequence[FlowRun]) -> dict[str, FilmFlow]:
        ids = {str(run.parameters.get("film_id")) for run in runs}
        with self._farm.database.read() as connection:
            return flow_runs.flows(connection, sorted(ids))


def _film_of(run: FlowRun, found: dict[str, FilmFlow]) -> FilmFlow | None:
    """The film of a run, None if it is not one of this farm. A Prefect server may serve many farms,
    and two of them may have a film with the same id, but not from the same moment."""
    film = found.get(str(run.parameters.get("film_id")))
    return film if film and film.created_at == run.parameters.get("submitted_at") else None


def _key(task: TaskRun) -> tuple[int, int] | None:
    """Segment and attempt of a task run that stands for a segment; None for a flow's own step."""
    match = _SEGMENT_KEY.fullmatch(task.dynamic_key) if task.name.startswith("segment ") else None
    return (int(match[1]), int(match[2])) if match else None
