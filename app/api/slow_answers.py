"""Answers that take the database long are given again for a while."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

SLOW_SECONDS = 0.05
"""What is found sooner is always looked up."""
TIMES = 20.0
"""An answer is given again for as many times as long as it took."""
MOST_SECONDS = 5.0
MOST_KEPT = 1000


class SlowAnswers(Generic[T]):
    """Keeps answers by what was asked. Counting the million segments of a campaign takes a tenth of
    a second of one core, and many may ask for it at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, T]] = OrderedDict()

    def get(self, asked: str, find: Callable[[], T]) -> T:
        """The answer of `find`, or one that it gave a moment ago. Raises as `find` does."""
        with self._lock:
            until, answer = self._kept.get(asked, (0.0, None))
        began = self._clock()
        if answer is not None and began < until:
            return answer
        found = find()
        now = self._clock()
        took = now - began
        if took > SLOW_SECONDS:
            with self._lock:
                self._kept[asked] = (now + min(MOST_SECONDS, TIMES * took), found)
                while len(self._kept) > MOST_KEPT:
                    self._kept.popitem(last=False)
        return found
