"""Actions that a thread repeats while a block of code runs, and the keeping of a lease."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from film.logs import trace

logger = logging.getLogger(__name__)

REPEATED_EVERY = 20
"""After the first failure in a row, only each one of this number is logged again."""
RETRY_SECONDS = 1.0
"""Pause before a failed extension is tried again."""


class Stop(Exception):  # noqa: N818  (a decision, not an error)
    """Raised by an action that does not need to be called again."""


class Periodic:
    """Calls `action` every `seconds` in a thread until the block ends.

    An action that raises is called again after `retry_seconds`; the failure is logged with its
    traceback and counted. The block waits for an action that is running, for at most
    `wait_seconds` if given.
    """

    def __init__(
        self,
        name: str,
        seconds: float,
        action: Callable[[], None],
        *,
        retry_seconds: float | None = None,
        immediately: bool = False,
        wait_seconds: float | None = None,
        on_failure: Callable[[int, Exception], None] | None = None,
        on_recovery: Callable[[int], None] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """`immediately`: the first call does not wait. `on_failure` and `on_recovery` are called
        with the number of failures in a row; `extra` goes to the log records (`film.logs.ids`)."""
        self.name = name
        self.failures = 0
        """Failures in a row, 0 if the last call succeeded."""
        self.total_failures = 0
        self._seconds = seconds
        self._retry_seconds = seconds if retry_seconds is None else retry_seconds
        self._action = action
        self._immediately = immediately
        self._wait_seconds = wait_seconds
        self._on_failure = on_failure
        self._on_recovery = on_recovery
        self._extra = dict(extra or {})
        self._failing_since = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join(self._wait_seconds)

    def call(self) -> bool:
        """Calls the action once, in this thread; returns False if it failed.

        Raises `Stop` if the action does.
        """
        try:
            self._action()
            if self.failures and self._on_recovery:
                self._on_recovery(self.failures)
        except Stop:
            raise
        except Exception as error:  # noqa: BLE001  (without the thread, nothing would be repeated)
            self._count(error)
            return False
        if self.failures:
            seconds = time.monotonic() - self._failing_since
            message = "%s works again after %d failures in %.0f s"
            logger.warning(message, self.name, self.failures, seconds, extra=self._extra)
        self.failures = 0
        return True

    def _repeat(self) -> None:
        pause = 0.0 if self._immediately else self._seconds
        try:
            while not self._over.wait(pause):
                pause = self._seconds if self.call() else self._retry_seconds
        except Stop:
            return

    def _count(self, error: Exception) -> None:
        self.failures += 1
        self.total_failures += 1
        if self.failures == 1:
            self._failing_since = time.monotonic()
        # An outage would fill the log with one traceback.
        if self.failures % REPEATED_EVERY == 1:
            message = "%s failed (%d in a row): %s"
            values = (self.name, self.failures, error)
            logger.warning(message, *values, exc_info=trace(error), extra=self._extra)
        if self._on_failure:
            self._on_failure(self.failures, error)


class LeaseKeeper(Periodic):
    """Calls `extend` three times per lease until the block ends; sets `lost` when it returns False.

    An extension that fails is tried again. Only the database decides if the lease was lost.
    """

    def __init__(
        self,
        name: str,
        extend: Callable[[], bool],
        lease_seconds: float,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        pause = lease_seconds / 3
        retry = min(RETRY_SECONDS, pause)
        super().__init__(name, pause, self._keep, retry_seconds=retry, extra=extra)
        self.lost = threading.Event()
        self.ending = False
        """Set by the holder before it ends the lease itself, which is then not lost."""
        self._extend = extend

    def _keep(self) -> None:
        if not self._extend():
            if not self.ending:
                self.lost.set()
                logger.warning("%s was lost", self.name, extra=self._extra)
            raise Stop
