"""How many requests a key or an address may make in a minute, counted by this process."""

from __future__ import annotations

import math
import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from film.errors import LongreelError

WRONG_KEYS_A_MINUTE = 60
"""Requests with a wrong key, or without one, that an address may make in a minute."""


class RateLimitError(LongreelError):
    """Too many requests; `seconds`: until another one is answered."""

    transient = True

    def __init__(self, message: str, seconds: int) -> None:
        super().__init__(message)
        self.seconds = seconds


class RateLimits:
    """Counts requests in sliding windows of a minute."""

    def __init__(self) -> None:
        self._windows = SlidingWindowCounterRateLimiter(MemoryStorage())

    def count(self, who: str, most: int, what: str) -> None:
        """Counts a request of `who`. Raises `RateLimitError` if it is one too many."""
        if most and not self._windows.hit(RateLimitItemPerMinute(most), who):
            raise self._error(who, most, what)

    def require(self, who: str, most: int, what: str) -> None:
        """Raises `RateLimitError` if nothing is left; counts nothing."""
        if not self._windows.test(RateLimitItemPerMinute(most), who):
            raise self._error(who, most, what)

    def _error(self, who: str, most: int, what: str) -> RateLimitError:
        reset = self._windows.get_window_stats(RateLimitItemPerMinute(most), who).reset_time
        seconds = max(1, math.ceil(reset - time.time()))
        return RateLimitError(
            f"{what} may make {most} requests in a minute; try again in {seconds} s.", seconds
        )
