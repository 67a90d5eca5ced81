"""Segments as task runs in the Prefect dashboard, under the flow run of their film.

Told by the worker, reported by a thread of its own over Prefect's public client: a server that
is slow or away never holds up a render, and the database stays the truth. What could not be told
in time is told later, oldest first.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any

from db import films
from db.segments import Lease
from film.errors import LongreelError
from flows.wiring import Farm

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

PATIENCE_SECONDS = 60.0
"""How long a report waits for its film's flow run, and a closing reporter for the server."""


class TaskRuns:
    """Reports the segments that this process renders. Use as a context manager."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self._reports: queue.Queue[tuple[Any, ...] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._report_all, name="task runs", daemon=True)
        self._open: dict[tuple[int, int], Any] = {}
        self.ready = threading.Event()
        """Set once PREFECT_API_URL points at a server that answers."""

    def __enter__(self) -> TaskRuns:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._reports.put(None)
        self._thread.join(PATIENCE_SECONDS if self.ready.is_set() else 0.1)

    def started(self, lease: Lease) -> None:
        """A segment is being worked on since now."""
        self._reports.put(("started", lease, time.time(), None))

    def ended(self, lease: Lease, how: str, message: str | None = None) -> None:
        """It ended: `how` is completed, failed, cancelled or crashed."""
        self._reports.put((how, lease, time.time(), message))

    def orphaned(self, flow_run_id: str) -> None:
        """A flow run whose process died: it and what ran under it crashed."""
        self._reports.put(("orphaned", flow_run_id))

    def _report_all(self) -> None:
        self.ready.wait()
        from prefect import get_client

        with get_client(sync_client=True) as client:
            while (report := self._reports.get()) is not None:
                try:
                    if report[0] == "orphaned":
                        _crash(client, report[1])
                    else:
                        self._report(client, *report)
                except Exception:  # noqa: BLE001  (a lost report costs a line on a page)
                    continue

    def _report(
        self, client: SyncPrefectClient, how: str, lease: Lease, at: float, message: str | None
    ) -> None:
        key = (lease.id, lease.attempt)
        if how == "started":
            self._open[key] = self._create(client, lease, at)
        elif key in self._open:
            client.set_task_run_state(self._open.pop(key), _state(how, at, message), force=True)

    def _create(self, client: SyncPrefectClient, lease: Lease, at: float) -> Any:
        flow_run_id, name = self._place(lease)
        run = client.create_task_run(
            task=_segment_task(),
            flow_run_id=flow_run_id,
            dynamic_key=f"{lease.id}-{lease.attempt}",
            name=name,
            state=_state("running", at, None),
            task_inputs={},
        )
        return run.id

    def _place(self, lease: Lease) -> tuple[Any, str]:
        """The flow run that the segment belongs to, once there is one, and the segment's name."""
        from uuid import UUID

        for _ in range(int(PATIENCE_SECONDS / 0.2)):
            with self._farm.database.read() as connection:
                film = films.get(connection, lease.film_id)
            if film.flow_run_id:
                segment = film.plan.segments[lease.position]
                name = (
                    f"segment {lease.position + 1} of {len(film.plan.segments)}, "
                    f"scene {segment.scene + 1}"
                )
                again = f", attempt {lease.attempt}" if lease.attempt > 1 else ""
                return UUID(film.flow_run_id), name + again
            time.sleep(0.2)
        raise LongreelError(f"The film {lease.film_id} has no flow run.")


def _crash(client: SyncPrefectClient, flow_run_id: str) -> None:
    from uuid import UUID

    from prefect.client.schemas import filters

    message = "The process that ran it died; the film goes on under another flow run"
    run = filters.FlowRunFilter(id=filters.FlowRunFilterId(any_=[UUID(flow_run_id)]))
    for task_run in client.read_task_runs(flow_run_filter=run):
        if task_run.state and not task_run.state.is_final():
            state = _state("crashed", time.time(), message)
            client.set_task_run_state(task_run.id, state, force=True)
    state = _state("crashed", time.time(), message)
    client.set_flow_run_state(UUID(flow_run_id), state, force=True)


def _state(how: str, at: float, message: str | None) -> Any:
    from datetime import UTC, datetime

    from prefect import states

    make = {
        "running": states.Running,
        "completed": states.Completed,
        "failed": states.Failed,
        "cancelled": states.Cancelled,
        "crashed": states.Crashed,
    }[how]
    return make(message=message, timestamp=datetime.fromtimestamp(at, UTC))


def _segment_task() -> Any:
    from prefect import task

    @task(name="segment", persist_result=False)
    def segment() -> None:
        """Stands for a segment's rendering in the dashboard; the worker does the work."""

    return segment
