"""The conductor: runs the flows of the films that are open, a few at a time."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from db import films
from db.films import Film
from film.errors import DatabaseError, LongreelError
from flows import prefect_server
from flows.film_work import Host, host_flows
from flows.task_runs import TaskRuns
from flows.wiring import Farm

IDLE_SECONDS = 0.3
"""Pause between two looks for films."""
FLOWS_AT_ONCE = 8
"""Films whose flows run in this process at the same time; they mostly wait."""


class Conductor:
    """Claims open films and runs a flow for each, in threads of this process."""

    def __init__(
        self, farm: Farm, task_runs: TaskRuns, films_only: Sequence[str] | None = None
    ) -> None:
        self._farm = farm
        self._task_runs = task_runs
        self._films_only = films_only
        self._slots = threading.Semaphore(FLOWS_AT_ONCE)
        self.stopping = threading.Event()

    def run(self) -> None:
        """Runs flows until `stopping` is set. Raises `OrchestrationError` without a server."""
        prefect_server.use(prefect_server.ensure(self._farm.settings))
        host_flows(Host(self._farm, self.stopping.is_set))
        self._task_runs.ready.set()
        threads: list[threading.Thread] = []
        while not self.stopping.is_set():
            if self._slots.acquire(timeout=IDLE_SECONDS):
                film = self._claim()
                if film is None:
                    self._slots.release()
                    self.stopping.wait(IDLE_SECONDS)
                    continue
                thread = threading.Thread(target=self._run, args=(film,), name=film.id)
                thread.start()
                threads = [t for t in threads if t.is_alive()] + [thread]
        for thread in threads:
            thread.join()

    def _claim(self) -> Film | None:
        try:
            with self._farm.database.write() as connection:
                film = films.claim(
                    connection,
                    self._farm.owner,
                    self._farm.settings.lease_seconds,
                    self._films_only,
                )
        except DatabaseError:
            return None
        if film and film.flow_run_id:
            self._task_runs.orphaned(film.flow_run_id)
        return film

    def _run(self, film: Film) -> None:
        from flows.render_film import render_film

        try:
            render_film(film.id, film.title, film.attempt, return_state=True)
        except (LongreelError, OSError, RuntimeError):
            # The server is away: the film stays open, and its lease runs out.
            self.stopping.wait(self._farm.settings.lease_seconds)
        finally:
            self._slots.release()
