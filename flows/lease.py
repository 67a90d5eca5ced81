"""Keeping a lease: a thread that extends it, whatever its holder is busy with."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from flows.periodic import Periodic, Stop

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""Pause before a failed extension is tried again."""


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
        self._extend = extend

    def _keep(self) -> None:
        if not self._extend():
            self.lost.set()
            logger.warning("%s was lost", self.name, extra=self._extra)
            raise Stop
