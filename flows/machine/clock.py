"""Time that passes while this machine is suspended, too."""

from __future__ import annotations

import time


def elapsed_seconds() -> float:
    """Seconds since some moment in the past, those of a suspended machine included.

    `time.monotonic` stands still meanwhile on Linux, and leases do not.
    """
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
