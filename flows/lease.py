"""Keeping a lease: a thread that extends it, whatever its holder is busy with."""

from __future__ import annotations

import threading
from collections.abc import Callable

from flows.background import Background

RETRY_SECONDS = 1.0
"""Pause before a beat is tried again that the database did not answer."""


class LeaseKeeper(Background):
    """Calls `beat` three times per lease until the block ends; `lost` is set when it says no.

    A database that does not answer for a while is tried again: whether the lease was lost
    meanwhile is for the database to say.
    """

    def __init__(self, beat: Callable[[], bool], lease_seconds: float) -> None:
        super().__init__("lease")
        self.lost = threading.Event()
        self._beat = beat
        self._pause = lease_seconds / 3

    def _keep(self) -> None:
        pause = self._pause
        while not self._over.wait(pause):
            try:
                if not self._beat():
                    self.lost.set()
                    return
                pause = self._pause
            except Exception:  # noqa: BLE001  (a keeper that dies unheard would lose the lease)
                pause = min(RETRY_SECONDS, self._pause)
