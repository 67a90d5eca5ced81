"""A thread that works beside a block of code, until the block ends."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self


class Background:
    """Runs `_keep` in a thread of its own while the block lasts, and waits for its end.

    `_keep` returns soon after `_over` is set.
    """

    def __init__(self, name: str) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=name, daemon=True)

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
        self._thread.join()

    def _keep(self) -> None:
        raise NotImplementedError
