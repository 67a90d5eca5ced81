"""Working on this machine: a worker and a conductor together, until told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from film.models import MODELS
from flows import owner
from flows.conductor import Conductor
from flows.gpu_worker import GpuWorker
from flows.task_runs import TaskRuns
from flows.wiring import Farm


class LocalWork:
    """A worker and a conductor at work in threads of this process."""

    def __init__(self, worker: GpuWorker, failures: list[Exception]) -> None:
        self._worker = worker
        self._failures = failures

    @property
    def ready_at(self) -> float | None:
        """When the model was loaded, by `time.monotonic`; None where it is not, or not needed."""
        return self._worker.ready_at

    def require_working(self) -> None:
        """Raises what ended the worker or the conductor, where something has."""
        if self._failures:
            raise self._failures[0]


@contextmanager
def working(
    farm: Farm,
    *,
    models: Sequence[str] = tuple(MODELS),
    films_only: Sequence[str] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[LocalWork]:
    """Renders what is submitted while in the block; gives back what it holds at its end.

    `tell` hears a line for each film whose flow begins or ends here.
    """
    _ = farm.scratch  # opened now, since that removes what dead processes left in theirs
    with TaskRuns(farm) as task_runs:
        for flow_run_id in owner.release_dead(farm.database):
            task_runs.orphaned(flow_run_id)
        worker = GpuWorker(farm, task_runs, models=models, films_only=films_only)
        conductor = Conductor(farm, task_runs, films_only, tell)
        failures: list[Exception] = []
        threads: list[threading.Thread] = []
        try:
            threads += [_thread(part.run, failures) for part in (worker, conductor)]
            yield LocalWork(worker, failures)
        finally:
            worker.stopping.set()
            conductor.stopping.set()
            for thread in threads:
                thread.join()


def _thread(run: Callable[[], None], failures: list[Exception]) -> threading.Thread:
    def target() -> None:
        try:
            run()
        except Exception as error:  # noqa: BLE001  (handed to the main thread)
            failures.append(error)

    thread = threading.Thread(target=target, name=getattr(run, "__qualname__", None))
    thread.start()
    return thread
