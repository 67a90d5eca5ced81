"""The conductor: claims open films and runs a flow for each, several at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from db import events
from db.films import film_lease, listing
from db.films.films import Film
from db.workers import registry
from film.errors import DatabaseError, LongreelError, OrchestrationError
from film.logs import trace
from film.types import Struct
from flows.farm import Farm
from flows.films.host import Host, host_flows
from flows.prefect_runs import prefect_server
from flows.run_reporter import RunReporter

logger = logging.getLogger(__name__)

CLOSING_SECONDS = 15.0
"""How long flows may take to end, in seconds; longer only while Prefect's server answers."""
THREAD_NAME = "flow of "
"""With the film's id, the name of the thread that runs its flow."""


class Pace(Struct, frozen=True, kw_only=True):
    """Pauses in seconds, and how much happens at the same time."""

    idle: float = 0.3
    """Between two looks for films."""
    away: float = 3.0
    """After a flow that could not be run."""
    flows: int = 24
    """Films whose flows run in this process at the same time. They mostly wait."""
    stitches: int = 4
    """Further films that have nothing left to render, if all flows wait."""
    looking_share: float = 0.005
    """Share of the time in which all open films are searched, rather than the busy ones."""


def run_in_prefect(film: Film) -> None:
    """Runs a film's flow as a flow run of Prefect. Raises what Prefect's client does."""
    from flows.films import render_film

    render_film.run(film)


class Conductor:
    """Claims open films and runs a flow for each, in threads of this process."""

    def __init__(
        self,
        farm: Farm,
        reporter: RunReporter,
        campaigns: Sequence[str] | None = None,
        tell: Callable[[str], None] = lambda _: None,
        *,
        finished_only: bool = False,
        run_film: Callable[[Film], None] = run_in_prefect,
        find_server: Callable[[Callable[[], bool]], None] | None = None,
        pace: Pace = Pace(),  # noqa: B008  (frozen)
    ) -> None:
        """`campaigns`: ids of the only ones to run flows for, None for all. `finished_only`: only
        films with nothing left to render. `tell` is called with a line for each film whose flow
        starts or ends here. `run_film` runs a flow until it ends; `find_server` makes sure that it
        can be run, and receives a function that returns True once this process stops."""
        self._farm = farm
        self._tell = tell
        self._reporter = reporter
        self._campaigns = campaigns
        self._finished_only = finished_only
        self._run_film = run_film
        self._find_server = find_server or self._use_prefect
        self._pace = pace
        self._slots = threading.Semaphore(pace.flows)
        self._stitching = threading.Semaphore(pace.stitches)
        self._running: set[str] = set()
        """Films whose flows run here. A film whose lease ran out gets it back with the next beat,
        unless another process was first: a second flow here would be one too many."""
        self._reasons: dict[str, str] = {}
        """Why the flow of a film could not be run here the last time, by the film's id."""
        self._trouble: str | None = None
        """What the workers of this process show as their error while Prefect is away."""
        self._look_again = 0.0
        self._server_away = threading.Event()
        self._server_found = False
        self.stopping = threading.Event()
        self.host = Host(farm, self.stopping.is_set, reporter)

    def run(self) -> None:
        """Runs flows until `stopping` is set.

        Raises `OrchestrationError` if the embedded server cannot be started at the beginning. Any
        other server, and the embedded one later, is waited for.
        """
        host_flows(self.host)
        threads: list[threading.Thread] = []
        self._server_away.set()
        try:
            while not self.stopping.is_set():
                threads = [thread for thread in threads if thread.is_alive()]
                threads += self.turn()
        finally:
            _wait_for(threads)

    def turn(self) -> list[threading.Thread]:
        """Starts the flow of one more film, or waits; returns its thread. Raises as `run` does."""
        if self._server_away.is_set() and not self._server_answers():
            return []
        if self._slots.acquire(timeout=self._pace.idle):
            return self._start_next(self._slots, finished_only=self._finished_only)
        if self._stitching.acquire(blocking=False):
            return self._start_next(self._stitching, finished_only=True)
        return []

    def _server_answers(self) -> bool:
        try:
            self._find_server(self.stopping.is_set)
        except OrchestrationError as error:
            if not (self._farm.settings.prefect_api_url or self._server_found):
                raise
            logger.warning("Films wait for Prefect: %s", error)
            self._note_trouble(f"Films wait for Prefect: {_first_line(error)}")
            self.stopping.wait(self._pace.away)
            return False
        self._server_away.clear()
        self._server_found = True
        self._note_trouble(None)
        self._reporter.connect()
        return True

    def _note_trouble(self, trouble: str | None) -> None:
        """Shows with this process's workers that films wait for Prefect, or (None) no more."""
        if trouble == self._trouble:
            return
        try:
            with self._farm.database.write() as connection:
                if self._trouble:
                    registry.note_trouble(connection, self._farm.owner, self._trouble, over=True)
                if trouble:
                    registry.note_trouble(connection, self._farm.owner, trouble)
            self._trouble = trouble
        except DatabaseError as error:
            logger.warning("That films wait for Prefect was not recorded: %s", error)

    def _use_prefect(self, stopping: Callable[[], bool]) -> None:
        settings = self._farm.settings
        prefect_server.use(prefect_server.ensure(settings, stopping), settings)

    def _start_next(
        self, slots: threading.Semaphore, *, finished_only: bool
    ) -> list[threading.Thread]:
        """Starts the flow of one more film, in the slot that the caller took."""
        film = self._claim(finished_only)
        if film is None:
            slots.release()
            self.stopping.wait(self._pace.idle)
            return []
        self._running.add(film.id)
        name = f"{THREAD_NAME}{film.id}"
        thread = threading.Thread(target=self._run, args=(film, slots), name=name, daemon=True)
        thread.start()
        return [thread]

    def _claim(self, finished_only: bool) -> Film | None:
        try:
            film = self._claim_of(busy_only=True, finished_only=finished_only)
            if film is None and time.monotonic() >= self._look_again:
                started = time.monotonic()
                film = self._claim_of(busy_only=False, finished_only=finished_only)
                if film is None:
                    took = time.monotonic() - started
                    self._look_again = time.monotonic() + took / self._pace.looking_share
        except DatabaseError as error:
            logger.warning("No film could be claimed: %s", error)
            return None
        if film and film.flow_run_id:
            self._reporter.orphaned(film.flow_run_id)
        return film

    def _claim_of(self, *, busy_only: bool, finished_only: bool) -> Film | None:
        with self._farm.database.write() as connection:
            return film_lease.claim(
                connection,
                self._farm.owner,
                self._farm.settings.lease_seconds,
                self._campaigns,
                busy_only=busy_only,
                finished_only=finished_only,
                but_not=sorted(self._running),
            )

    def _run(self, film: Film, slots: threading.Semaphore) -> None:
        self._tell(f"{film.id}  started    {film.title}")
        logger.info("The flow started", extra=film.log_ids)
        try:
            with self.host.holding(film):
                self._run_film(film)
            self._reasons.pop(film.id, None)
            self._report_end(film)
        except Exception as error:
            message = "The flow could not be run; the film continues with another one: %s"
            logger.warning(message, error, exc_info=trace(error), extra=film.log_ids)
            self._give_back(film, error)
        finally:
            self._reporter.unwatch(film.id, film.attempt)
            self._running.discard(film.id)
            slots.release()

    def _report_end(self, film: Film) -> None:
        try:
            with self._farm.database.read() as connection:
                row = listing.films_of(connection, film.id)[0]
        except DatabaseError as error:
            logger.warning("The film's end is not known: %s", error, extra=film.log_ids)
            return
        why = f": {row.error}" if row.error else ""
        self._tell(f"{film.id}  {row.status:<9}  {film.title}{why}")
        logger.info("The flow ended; the film is %s%s", row.status, why, extra=film.log_ids)

    def _give_back(self, film: Film, error: Exception) -> None:
        """Lets the film continue with another flow run, once there is a server again. Its events
        name the reason, once for each reason."""
        self._server_away.set()
        self.stopping.wait(self._pace.away)
        reason = f"Prefect could not run the film's flow: {_first_line(error)}"
        known = self._reasons.get(film.id) == reason
        try:
            with self._farm.database.write() as connection:
                film_lease.release(connection, film)
                if not known:
                    events.record(connection, film.id, "waiting", reason)
            self._reasons[film.id] = reason
        except DatabaseError as error:
            message = "The film could not be given back, so that its lease must run out: %s"
            logger.warning(message, error, extra=film.log_ids)


def _first_line(error: Exception) -> str:
    """Prefect's errors have many lines, with bodies of answers."""
    lines = str(error).strip().splitlines()
    if lines and isinstance(error, LongreelError):
        return lines[0]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _wait_for(threads: Sequence[threading.Thread]) -> None:
    """Waits for flows to end, but not for one that waits for a server that is gone."""
    end = time.monotonic() + CLOSING_SECONDS
    for thread in threads:
        while thread.is_alive() and time.monotonic() < end:
            thread.join(2.0)
            if thread.is_alive() and prefect_server.is_away():
                return


def flows_left() -> bool:
    """True if flows of this process still run although nothing waits for them."""
    return any(thread.name.startswith(THREAD_NAME) for thread in threading.enumerate())
