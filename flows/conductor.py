"""The conductor: runs the flows of the films that are open, some at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from db import film_lease, listing
from db.films import Film
from film.errors import DatabaseError, OrchestrationError
from film.logs import ids
from flows import prefect_server
from flows.film_work import Host, host_flows
from flows.run_reporter import RunReporter
from flows.wiring import Farm

logger = logging.getLogger(__name__)

IDLE_SECONDS = 0.3
"""Pause between two looks for films."""
AWAY_SECONDS = 3.0
"""Pause after a flow that could not be run."""
CLOSING_SECONDS = 20.0
"""How long flows may take to end; longer only where Prefect waits for a server that is gone."""
THREAD_NAME = "flow of "
"""With the film's id, the name of the thread that runs its flow."""
FLOWS_AT_ONCE = 24
"""Films whose flows run in this process at the same time; they mostly wait."""
STITCHES_AT_ONCE = 4
"""More of them, where all those wait, for films with nothing left to render."""
LOOKING_PART = 0.005
"""Part of the time in which a conductor looks through all open films, rather than the busy ones."""


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
    ) -> None:
        """`campaigns`: only these, by id; `finished_only`: only films with nothing left to render.

        `tell` hears a line for each film whose flow begins or ends here.
        """
        self._farm = farm
        self._tell = tell
        self._reporter = reporter
        self._campaigns = campaigns
        self._finished_only = finished_only
        self._slots = threading.Semaphore(FLOWS_AT_ONCE)
        self._stitching = threading.Semaphore(STITCHES_AT_ONCE)
        self._running: set[str] = set()
        """Films whose flows run here. One whose lease ran out meanwhile gets it back by the next
        beat, unless another process was there first; a second flow here would be one too many."""
        self._look_again = 0.0
        self._server_away = threading.Event()
        self._found_server = False
        self.stopping = threading.Event()
        self._host = Host(farm, self.stopping.is_set, reporter)

    def run(self) -> None:
        """Runs flows until `stopping` is set. Raises `OrchestrationError` where the embedded server
        does not come up at the beginning; any other, and later, is waited for."""
        host_flows(self._host)
        threads: list[threading.Thread] = []
        self._server_away.set()
        try:
            while not self.stopping.is_set():
                if self._server_away.is_set() and not self._find_server():
                    continue
                threads = [thread for thread in threads if thread.is_alive()]
                if self._slots.acquire(timeout=IDLE_SECONDS):
                    threads += self._next(self._slots, finished_only=self._finished_only)
                elif self._stitching.acquire(blocking=False):
                    threads += self._next(self._stitching, finished_only=True)
        finally:
            _wait_for(threads)

    def _find_server(self) -> bool:
        """Finds the Prefect server, or starts it; False where it must be waited for."""
        try:
            url = prefect_server.ensure(self._farm.settings, self.stopping.is_set)
        except OrchestrationError as error:
            if not (self._farm.settings.prefect_api_url or self._found_server):
                raise
            logger.warning("Films wait for Prefect: %s", error)
            self.stopping.wait(AWAY_SECONDS)
            return False
        prefect_server.use(url, self._farm.settings)
        self._server_away.clear()
        self._found_server = True
        self._reporter.connect()
        return True

    def _next(self, slots: threading.Semaphore, *, finished_only: bool) -> list[threading.Thread]:
        """The flow of one more film, begun in the slot that the caller took."""
        film = self._claim(finished_only)
        if film is None:
            slots.release()
            self.stopping.wait(IDLE_SECONDS)
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
                began = time.monotonic()
                film = self._claim_of(busy_only=False, finished_only=finished_only)
                if film is None:
                    took = time.monotonic() - began
                    self._look_again = time.monotonic() + took / LOOKING_PART
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
        from flows import render_film

        self._tell(f"{film.id}  begun      {film.title}")
        try:
            with self._host.holding(film):
                render_film.run(film)
            self._tell_end(film)
        except Exception as error:
            message = "The flow could not be run; the film continues with another one: %s"
            logger.warning(message, error, exc_info=error, extra=_ids(film))
            self._give_back(film)
        finally:
            self._reporter.unwatch(film.id, film.attempt)
            self._running.discard(film.id)
            slots.release()

    def _tell_end(self, film: Film) -> None:
        try:
            with self._farm.database.read() as connection:
                row = listing.films_of(connection, film.id)[0]
        except DatabaseError as error:
            logger.warning("The film's end is not known: %s", error, extra=_ids(film))
            return
        why = f": {row.error}" if row.error else ""
        self._tell(f"{film.id}  {row.status:<9}  {film.title}{why}")
        logger.info("The flow ended, the film is %s%s", row.status, why, extra=_ids(film))

    def _give_back(self, film: Film) -> None:
        """The film goes on with another flow run, once there is a server again."""
        self._server_away.set()
        self.stopping.wait(AWAY_SECONDS)
        try:
            with self._farm.database.write() as connection:
                film_lease.release(connection, film)
        except DatabaseError as error:
            message = "The film could not be given back, so that its lease must run out: %s"
            logger.warning(message, error, extra=_ids(film))


def _ids(film: Film) -> dict[str, object]:
    return ids(film=film.id, attempt=film.attempt)


def _wait_for(threads: Sequence[threading.Thread]) -> None:
    """Waits for flows to end, but not for one that waits for a server that is gone."""
    end = time.monotonic() + CLOSING_SECONDS
    for thread in threads:
        while thread.is_alive() and time.monotonic() < end:
            thread.join(2.0)
            if thread.is_alive() and prefect_server.is_away():
                return


def flows_left() -> bool:
    """Whether flows of this process go on although they were no longer waited for."""
    return any(thread.name.startswith(THREAD_NAME) for thread in threading.enumerate())
