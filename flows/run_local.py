"""Working on this machine: a worker and a conductor together, until they are stopped."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from db.workers import registry
from db.workers.registry import Registration
from film.errors import DatabaseError, InputError
from film.logs import ids, trace
from film.quiet import QuietHours
from film.types import Struct
from flows.farm import Farm
from flows.films.conductor import Conductor
from flows.model_catalog.inventory import Stock
from flows.prefect_runs.reporter import PrefectReporter
from flows.worker.reaper import release_dead
from flows.worker.worker import Worker, create_worker
from renderer import cache_folders

logger = logging.getLogger(__name__)

NAMES = 100
"""Workers without a name of their own on one device of a machine."""


class WorkerOptions(Struct, frozen=True, kw_only=True):
    """What a worker is to be."""

    name: str | None = None
    """None for the machine's name with the device's, and a number if that is taken."""
    gpu: str | None = None
    """The one that it uses, or those that render together, comma between; None: the processor."""
    models: tuple[str, ...] | None = None
    """The models that it renders, as far as their weights are on this machine; None for all."""
    tags: tuple[str, ...] = ()
    quiet: QuietHours | None = None
    once: bool = False
    """It is there for one segment: the next that it can get."""
    passing: bool = False
    """It is there for one command only: it leaves no trace, and ends when it is broken."""


class LocalWork:
    """A worker and a conductor at work in threads of this process."""

    def __init__(self, name: str, worker: Worker, failures: list[Exception], passing: bool) -> None:
        self.name = name
        self._worker = worker
        self._failures = failures
        self._passing = passing

    @property
    def ready_at(self) -> float | None:
        """When the model was loaded, by `time.monotonic`; None if it is not, or not needed."""
        return self._worker.ready_at

    @property
    def drained(self) -> bool:
        """True if the worker holds nothing and takes nothing more until it is resumed."""
        return self._worker.drained

    @property
    def broken(self) -> str | None:
        """Why the worker drained itself, if it did."""
        return str(self._worker.broken) if self._worker.broken else None

    @property
    def over(self) -> bool:
        """True if the worker was to render one segment, and has, or found none."""
        return self._worker.finished

    @property
    def begun(self) -> bool:
        """True once the worker has started to render a segment."""
        return self._worker.started

    @property
    def segments_done(self) -> int:
        """Segments whose takes the worker recorded."""
        return self._worker.done

    def require_working(self) -> None:
        """Raises the error that ended the worker or the conductor, if there is one."""
        if self._failures:
            raise self._failures[0]
        if self._passing and self._worker.broken:
            raise self._worker.broken


@contextmanager
def working(
    farm: Farm,
    options: WorkerOptions,
    *,
    campaigns: Sequence[str] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[LocalWork]:
    """Renders what is submitted while in the block; gives back what it holds when the block ends.

    `tell` is called with a line for each film whose flow starts or ends here. Raises `InputError`
    if a living worker has the name.
    """
    farm.scratch.open()  # now, because that removes what dead processes left
    cache_folders.tidy(farm.settings.home)
    with PrefectReporter(farm) as reporter:
        for flow_run_id in release_dead(farm.database):
            reporter.orphaned(flow_run_id)
        stock = Stock(farm, options.models, reading=options.once)
        me = _register(farm, options, stock)
        worker = create_worker(
            farm, me, stock, reporter, campaigns=campaigns, quiet=options.quiet, once=options.once
        )
        # A flow that only waits would be broken off with the segment's end.
        conductor = Conductor(farm, reporter, campaigns, tell, finished_only=options.once)
        failures: list[Exception] = []
        threads: list[threading.Thread] = []
        try:
            threads += [_thread(part.run, failures) for part in (worker, conductor)]
            yield LocalWork(me.name, worker, failures, options.passing)
        finally:
            worker.stopping.set()
            conductor.stopping.set()
            for thread in threads:
                thread.join()
            try:
                with farm.database.write() as connection:
                    registry.end(connection, me.name, me.owner, forget=options.passing)
            except DatabaseError as error:
                message = "The worker's end was not recorded; it will be listed as lost: %s"
                logger.warning(message, error, extra=ids(worker=me.name))


def _register(farm: Farm, options: WorkerOptions, stock: Stock) -> Registration:
    """Adds the worker under its name, or under the first free one of this machine."""
    for name in _names(options):
        me = Registration(
            name=name,
            owner=farm.owner,
            host=socket.gethostname(),
            device="cpu" if options.gpu is None else f"cuda:{options.gpu}",
            models=stock.models,
            weights=stock.weights,
            tags=tuple(sorted(set(options.tags))),
            quiet=str(options.quiet) if options.quiet else None,
            lease_seconds=farm.settings.lease_seconds,
        )
        try:
            with farm.database.write() as connection:
                registry.register(connection, me)
            return me
        except InputError:
            if options.name:
                raise
    raise InputError(f"There are {NAMES} workers on this device; give this one a --name.")


def _names(options: WorkerOptions) -> Iterator[str]:
    if options.name:
        yield options.name
        return
    if options.passing:
        yield f"{socket.gethostname()}-render-{os.getpid()}"
        return
    first = f"{socket.gethostname()}-{(options.gpu or 'cpu').replace(',', '-')}"
    yield first
    for number in range(2, NAMES + 1):
        yield f"{first}-{number}"


def _thread(run: Callable[[], None], failures: list[Exception]) -> threading.Thread:
    def target() -> None:
        try:
            run()
        except Exception as error:
            logger.error("%s ended: %s", thread.name, error, exc_info=trace(error))
            failures.append(error)

    thread = threading.Thread(target=target, name=getattr(run, "__qualname__", None))
    thread.start()
    return thread
