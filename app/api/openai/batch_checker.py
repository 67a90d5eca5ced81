"""Checks the lines of batches, in threads of the service; any number of processes may do so."""

from __future__ import annotations

import logging
import threading

from app.api.openai.batch_lines import reason_of, submit_batch
from app.api.openai.errors import ApiError
from db import batches
from film.errors import LongreelError
from film.logs import trace
from flows.farm import Farm

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""Pause between two looks for a batch."""
THREADS = 2
"""Batches that a process checks at the same time."""
MOST_ATTEMPTS = 3
"""Processes that may end while they check a batch, before it is given up."""
STOP_SECONDS = 5.0


class BatchChecker:
    """Takes batches whose lines no process checks."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"batches-{number}", daemon=True)
            for number in range(THREADS)
        ]

    def start(self) -> None:
        """Starts the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stops after the line that is being checked; another process continues with the batch."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                busy = self.turn()
            except LongreelError as error:
                logger.warning("Batches wait: %s", error, exc_info=trace(error))
                busy = False
            except Exception as error:
                logger.error("Batches could not be checked: %r", error, exc_info=error)
                busy = False
            if not busy:
                self._stopping.wait(LOOK_SECONDS)

    def turn(self) -> bool:
        """Checks the oldest batch; False if there is none. Raises `DatabaseError`."""
        with self._farm.database.read() as connection:
            if not batches.is_due(connection):
                return False
        with self._farm.database.write() as connection:
            batch = batches.claim(connection)
        if batch is None:
            return False
        if batch.attempts - batch.put_back > MOST_ATTEMPTS:
            message = "The service ended several times while it checked the lines; split the file."
            error = ApiError(500, message, code="interrupted")
            with self._farm.database.write() as connection:
                batches.fail(connection, batch, [reason_of(error, None)])
            return True
        submit_batch(self._farm, batch, self._stopping)
        return True
