"""Prefect's view made true again, where nobody was left to tell it or its server was away.

A process that is killed never says how its flow ended, and what ends while the server is away
may never be heard. The database knows: so whoever works compares the two now and then, and sets
what Prefect still holds open to what became of it. A run must look wrong twice, since whoever
ended it a moment ago may be about to say so.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from db import films, segments
from db.films import FilmFlow
from db.segments import SegmentEnd
from film.types import FilmStatus, SegmentStatus, Struct
from flows.wiring import Farm

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
"""So long after its end a film's run is looked at. By everyone, since the process in which it ended
may be gone."""
PAGE = 200
"""Most that Prefect's API gives in one answer."""

_SEGMENT_KEY = re.compile(r"(\d+)-(\d+)")
T = TypeVar("T")


class Ending(Struct, frozen=True, kw_only=True):
    """How a run truly ended."""

    how: str
    """completed, failed, cancelled or crashed."""
    message: str | None = None


GONE = Ending(
    how="crashed", message="The process that ran it ended; the film goes on under another flow run"
)
LOST = Ending(how="crashed", message="The attempt ended with its worker, or was lost by it")


class Reconciler:
    """Compares Prefect's open runs of our films with the database. Use from one thread."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self._suspects: set[tuple[UUID, str]] = set()
        self._right: dict[UUID, int] = {}
        self._next = time.monotonic() + self._pause(owners=0)

    def look_if_due(self, client: SyncPrefectClient) -> None:
        """Looks where it is time to; raises as `look` does."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._pause(owners=self._owners())
            self.look(client)

    def look(self, client: SyncPrefectClient) -> None:
        """Sets right what looks wrong, and did so at the last look too.

        Raises what the client does, and `DatabaseError`.
        """
        open_runs = _pages(lambda offset: _open_flow_runs(client, offset))
        open_tasks = _pages(lambda offset: _open_task_runs(client, offset))
        runs = {run.id: run for run in open_runs}
        others = {task.flow_run_id for task in open_tasks if task.flow_run_id} - runs.keys()
        runs |= {run.id: run for run in _flow_runs(client, others)}
        ended = _flow_runs(client, self._lately_ended())
        wrong = self._wrong_flow_runs([*open_runs, *ended])
        wrong_tasks = self._wrong_task_runs(open_tasks, runs)
        seen = {(run, ending.how) for run, ending in (wrong | wrong_tasks).items()}
        for run, ending in wrong.items():
            if (run, ending.how) in self._suspects:
                client.set_flow_run_state(run, _state(ending), force=True)
        for run, ending in wrong_tasks.items():
            if (run, ending.how) in self._suspects:
                client.set_task_run_state(run, _state(ending), force=True)
        self._suspects = seen
        for run in {run.id for run in ended} - wrong.keys():
            self._right[run] = self._right.get(run, 0) + 1

    def _pause(self, owners: int) -> float:
        return max(PAUSE_SECONDS, self._farm.settings.lease_seconds / 2) + owners

    def _owners(self) -> int:
        with self._farm.database.read() as connection:
            return len(segments.owners(connection))

    def _lately_ended(self) -> list[UUID]:
        """The runs of films that came to their end, whatever Prefect made of them; those that
        looked right often enough are not looked at again."""
        with self._farm.database.read() as connection:
            runs = {UUID(run) for run in films.ended_flows(connection, ENDED_SECONDS)}
        self._right = {run: looks for run, looks in self._right.items() if run in runs}
        return [run for run in runs if self._right.get(run, 0) < ENDED_LOOKS]

    def _wrong_flow_runs(self, runs: Sequence[FlowRun]) -> dict[UUID, Ending]:
        found = self._films(runs)
        wrong: dict[UUID, Ending] = {}
        for run in runs:
            film = _film_of(run, found)
            ending = flow_ending(str(run.id), run.parameters.get("attempt"), film) if film else None
            if ending and not (run.state and run.state.type.value == ending.how.upper()):
                wrong[run.id] = ending
        return wrong

    def _wrong_task_runs(
        self, tasks: Sequence[TaskRun], runs: dict[UUID, FlowRun]
    ) -> dict[UUID, Ending]:
        found = self._films(list(runs.values()))
        with self._farm.database.read() as connection:
            rows = segments.ends(connection, [key[0] for key in map(_key, tasks) if key])
        wrong: dict[UUID, Ending] = {}
        for task in tasks:
            run = runs.get(task.flow_run_id) if task.flow_run_id else None
            if run is None or _film_of(run, found) is None:
                continue
            key = _key(task)
            ending = segment_ending(key[1], rows.get(key[0])) if key else _step_ending(run)
            if ending:
                wrong[task.id] = ending
        return wrong

    def _films(self, runs: Sequence[FlowRun]) -> dict[str, FilmFlow]:
        ids = {str(run.parameters.get("film_id")) for run in runs}
        with self._farm.database.read() as connection:
            return films.flows(connection, sorted(ids))


def flow_ending(run_id: str, attempt: int | None, film: FilmFlow) -> Ending | None:
    """What became of a flow run that was started for `attempt` of a film; None: it is at work."""
    if film.attempt != attempt or film.flow_run_id not in (None, run_id):
        return GONE
    if film.status in films.OPEN:
        return None if film.owner else GONE
    if film.flow_run_id is None:
        return GONE
    if film.status is FilmStatus.DELIVERED:
        return Ending(how="completed")
    if film.status is FilmStatus.FAILED:
        return Ending(how="failed", message=film.error)
    return Ending(how="cancelled")


def segment_ending(attempt: int, row: SegmentEnd | None) -> Ending | None:
    """What became of an attempt at a segment; None: it is at work."""
    if row is None or row.attempt != attempt:
        return LOST
    if row.status is SegmentStatus.LEASED:
        return None
    return Ending(how="completed") if row.status is SegmentStatus.DONE else LOST


def _step_ending(run: FlowRun) -> Ending | None:
    """What became of a step of a flow: it ended with that at the latest."""
    if run.state is None or not run.state.is_final():
        return None
    return Ending(how="completed") if run.state.is_completed() else GONE


def _film_of(run: FlowRun, found: dict[str, FilmFlow]) -> FilmFlow | None:
    """The film of a run, None where it is not ours: a Prefect server may serve many farms, and
    two of them may have a film of one id, but not from the same moment."""
    film = found.get(str(run.parameters.get("film_id")))
    return film if film and film.created_at == run.parameters.get("submitted_at") else None


def _key(task: TaskRun) -> tuple[int, int] | None:
    """Segment and attempt of a task run that stands for a segment; None for a flow's own step."""
    match = _SEGMENT_KEY.fullmatch(task.dynamic_key) if task.name.startswith("segment ") else None
    return (int(match[1]), int(match[2])) if match else None


def _open_flow_runs(client: SyncPrefectClient, offset: int) -> list[FlowRun]:
    from prefect.client.schemas import filters

    named = filters.FlowFilter(name=filters.FlowFilterName(any_=[FLOW]))
    kind = filters.FlowRunFilterStateType(not_any_=_final())
    left = filters.FlowRunFilter(state=filters.FlowRunFilterState(type=kind))
    return client.read_flow_runs(flow_filter=named, flow_run_filter=left, limit=PAGE, offset=offset)


def _open_task_runs(client: SyncPrefectClient, offset: int) -> list[TaskRun]:
    from prefect.client.schemas import filters

    named = filters.FlowFilter(name=filters.FlowFilterName(any_=[FLOW]))
    kind = filters.TaskRunFilterStateType(any_=_not_final())
    left = filters.TaskRunFilter(state=filters.TaskRunFilterState(type=kind))
    return client.read_task_runs(flow_filter=named, task_run_filter=left, limit=PAGE, offset=offset)


def _flow_runs(client: SyncPrefectClient, ids: Iterable[UUID]) -> list[FlowRun]:
    from prefect.client.schemas import filters

    wanted, found = sorted(ids), []
    for begin in range(0, len(wanted), PAGE):
        some = filters.FlowRunFilterId(any_=wanted[begin : begin + PAGE])
        found += client.read_flow_runs(flow_run_filter=filters.FlowRunFilter(id=some), limit=PAGE)
    return found


def _pages(page: Callable[[int], list[T]]) -> list[T]:
    found: list[T] = []
    while True:
        more = page(len(found))
        found += more
        if len(more) < PAGE:
            return found


def _final() -> list[Any]:
    from prefect.client.schemas.objects import TERMINAL_STATES

    return sorted(TERMINAL_STATES)


def _not_final() -> list[Any]:
    from prefect.client.schemas.objects import TERMINAL_STATES, StateType

    return [kind for kind in StateType if kind not in TERMINAL_STATES]


def _state(ending: Ending) -> Any:
    from prefect import states

    make = {
        "completed": states.Completed,
        "failed": states.Failed,
        "cancelled": states.Cancelled,
        "crashed": states.Crashed,
    }[ending.how]
    return make(message=ending.message)
