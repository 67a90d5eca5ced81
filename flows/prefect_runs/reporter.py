"""Segments as task runs in the Prefect dashboard, under the flow run of their film.

The worker's reports are sent by a thread of their own over Prefect's public client: a server that
is slow or away never delays a render, and the database stays the truth. A report that could not be
sent is sent later, as long as this process lives.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any
from uuid import UUID

from db.films import films, user_actions
from db.segments.claims import Lease
from film.logs import ids, trace
from film.types import RunOutcome, Struct
from flows.farm import Farm
from flows.prefect_runs.outcomes import GONE, Ending
from flows.prefect_runs.reconciler import Reconciler

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

logger = logging.getLogger(__name__)

IDLE_SECONDS = 2.0
"""Pause between two looks for flow runs that a user cancelled in the dashboard, in seconds."""
AWAY_SECONDS = 2.0
"""Pause after a report that failed, in seconds."""
NOT_YET_SECONDS = 0.2
"""Pause before a report is tried again whose film has no flow run yet, in seconds."""
CLOSING_SECONDS = 5.0
"""How long a process that ends waits for reports that are not sent yet, in seconds."""
REPORT_TRIES = 30
"""Number of tries after which a report is dropped: a line is missing on a page."""


class Started(Struct, frozen=True, kw_only=True):
    """A segment is being rendered."""

    lease: Lease
    at: float


class Ended(Struct, frozen=True, kw_only=True):
    """An attempt at a segment ended."""

    lease: Lease
    ending: Ending
    at: float


class Orphaned(Struct, frozen=True, kw_only=True):
    """A flow run lost its process or its film."""

    flow_run_id: str


Report = Started | Ended | Orphaned


class Queued(Struct, frozen=True, kw_only=True):
    """A report that Prefect has not received yet."""

    report: Report
    tries: int = 0
    failures: int = 0
    """Tries at which Prefect did not answer, rather than had no flow run yet."""


OpenClient = Callable[[], AbstractContextManager["SyncPrefectClient"]]


def open_prefect_client() -> AbstractContextManager[SyncPrefectClient]:
    """A client of the server that PREFECT_API_URL names."""
    from prefect import get_client

    return get_client(sync_client=True)


class PrefectReporter:
    """A `RunReporter` that reports to Prefect. Use as a context manager."""

    def __init__(self, farm: Farm, open_client: OpenClient = open_prefect_client) -> None:
        self._farm = farm
        self._open_client = open_client
        self._queue: queue.Queue[Queued] = queue.Queue()
        self._thread = threading.Thread(target=self._report_all, name="reporter", daemon=True)
        self._runs: dict[tuple[int, int], UUID] = {}
        self._watched: dict[tuple[str, int], str] = {}
        self._reconciler = Reconciler(farm)
        self._closing = threading.Event()
        self._ready = threading.Event()

    def __enter__(self) -> PrefectReporter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        if self._ready.is_set():
            self._thread.join(CLOSING_SECONDS)

    def connect(self) -> None:
        """See `RunReporter`; PREFECT_API_URL names a server that answers."""
        self._ready.set()

    def started(self, lease: Lease) -> None:
        """See `RunReporter`."""
        self._put(Started(lease=lease, at=time.time()))

    def ended(self, lease: Lease, outcome: RunOutcome, message: str | None = None) -> None:
        """See `RunReporter`."""
        ending = Ending(outcome=outcome, message=message)
        self._put(Ended(lease=lease, ending=ending, at=time.time()))

    def orphaned(self, flow_run_id: str) -> None:
        """See `RunReporter`."""
        self._put(Orphaned(flow_run_id=flow_run_id))

    def watch(self, film_id: str, attempt: int, flow_run_id: str) -> None:
        """See `RunReporter`."""
        self._watched[film_id, attempt] = flow_run_id

    def unwatch(self, film_id: str, attempt: int) -> None:
        """See `RunReporter`."""
        self._watched.pop((film_id, attempt), None)

    def _put(self, report: Report) -> None:
        self._queue.put(Queued(report=report))

    def _report_all(self) -> None:
        while not self._ready.wait(0.2):
            if self._closing.is_set():
                return
        with self._open_client() as client:
            while not (self._closing.is_set() and self._queue.empty()):
                self._reconcile(client)
                try:
                    queued = self._queue.get(timeout=0.1 if self._closing.is_set() else 1.0)
                except queue.Empty:
                    self._look(client)
                    continue
                self._try(client, queued)

    def _reconcile(self, client: SyncPrefectClient) -> None:
        if self._closing.is_set():
            return
        try:
            self._reconciler.look_if_due(client)
        except Exception as error:
            logger.warning("Prefect's runs could not be compared: %s", error, exc_info=trace(error))

    def _try(self, client: SyncPrefectClient, queued: Queued) -> None:
        again = queued.replace(tries=queued.tries + 1)
        try:
            if not self._report(client, queued.report):
                self._later(again, NOT_YET_SECONDS)
        except Exception as error:
            if not queued.failures:
                message = "Prefect did not receive a report and gets it again: %s"
                logger.warning(message, error, exc_info=trace(error), extra=_ids(queued.report))
            self._later(again.replace(failures=queued.failures + 1), AWAY_SECONDS)

    def _later(self, queued: Queued, pause: float) -> None:
        """To the back of the queue, so that one report does not delay the others."""
        if queued.tries <= REPORT_TRIES:
            self._queue.put(queued)
        else:
            # Without failures, its film never got a flow run in Prefect that could show it.
            level = logging.WARNING if queued.failures else logging.DEBUG
            message = "Prefect never received a report, which is dropped after %d tries"
            logger.log(level, message, REPORT_TRIES, extra=_ids(queued.report))
        self._closing.wait(pause)

    def _report(self, client: SyncPrefectClient, report: Report) -> bool:
        """Sends it; False if it cannot be sent yet."""
        if isinstance(report, Orphaned):
            _crash(client, UUID(report.flow_run_id))
            return True
        key = (report.lease.id, report.lease.attempt)
        if isinstance(report, Started):
            run = self._create(client, report.lease, report.at)
            if run is not None:
                self._runs[key] = run
            return run is not None
        if key not in self._runs:
            return False
        state = report.ending.state(report.at)
        client.set_task_run_state(self._runs[key], state, force=True)
        del self._runs[key]
        return True

    def _create(self, client: SyncPrefectClient, lease: Lease, at: float) -> UUID | None:
        """Creates the task run of a segment; None as long as its film has no flow run."""
        with self._farm.database.read() as connection:
            film = films.get(connection, lease.film_id)
        if film.flow_run_id is None:
            return None
        segment = film.plan.segments[lease.position]
        again = f", attempt {lease.attempt}" if lease.attempt > 1 else ""
        name = f"segment {lease.position + 1} of {len(film.plan.segments)}"
        run = client.create_task_run(
            task=_segment_task(),
            flow_run_id=UUID(film.flow_run_id),
            dynamic_key=f"{lease.id}-{lease.attempt}",
            name=f"{name}, scene {segment.scene + 1}{again}",
            state=_running(at),
            task_inputs={},
        )
        return run.id

    def _look(self, client: SyncPrefectClient) -> None:
        """Cancels the films whose flow runs a user cancels in the dashboard."""
        for (film_id, _), flow_run_id in list(self._watched.items()):
            try:
                state = client.read_flow_run(UUID(flow_run_id)).state
                if state is not None and state.type.value == "CANCELLING":
                    with self._farm.database.write() as connection:
                        user_actions.cancel(connection, film_id)
            except Exception as error:
                message = "It is not known if the flow run is cancelled in Prefect: %s"
                logger.warning(message, error, exc_info=trace(error), extra=ids(film=film_id))
                return
        self._closing.wait(IDLE_SECONDS)


def _ids(report: Report) -> dict[str, object]:
    if isinstance(report, Orphaned):
        return {}
    lease = report.lease
    return ids(film=lease.film_id, position=lease.position, attempt=lease.attempt)


def _crash(client: SyncPrefectClient, flow_run_id: UUID) -> None:
    from prefect.client.schemas import filters

    run = filters.FlowRunFilter(id=filters.FlowRunFilterId(any_=[flow_run_id]))
    for task_run in client.read_task_runs(flow_run_filter=run):
        if task_run.state and not task_run.state.is_final():
            client.set_task_run_state(task_run.id, GONE.state(), force=True)
    client.set_flow_run_state(flow_run_id, GONE.state(), force=True)


def _running(at: float) -> Any:
    from datetime import UTC, datetime

    from prefect.states import Running

    return Running(timestamp=datetime.fromtimestamp(at, UTC))


def _segment_task() -> Any:
    from prefect import task

    @task(name="segment", persist_result=False)
    def segment() -> None:
        """Shows a segment's rendering in the dashboard; the worker renders it."""

    return segment
