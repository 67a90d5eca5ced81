"""Memory that runs out, in every form that it takes."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_SIGNS = ("out of memory", "allocate memory", "not enough memory", "start new thread")


def is_out_of_memory(error: Exception) -> bool:
    """True for every form of it. On a CPU torch raises a plain `RuntimeError`, and so does Python
    if it cannot allocate the stack of a thread; only their texts distinguish them. ffmpeg's is in a
    `MediaError`."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    text = str(error).lower()
    return any(sign in text for sign in _SIGNS)


def started_pool(
    count: int, name: str, begin: Callable[..., Any] | None = None, *values: Any
) -> ThreadPoolExecutor:
    """A pool whose `count` threads run already, each after `begin(*values)`.

    One that is to be started with the work may find no memory for its stack; then the pool raises,
    and keeps the work in its queue all the same.
    """
    pool = ThreadPoolExecutor(count, name, begin, values)
    together = threading.Barrier(count + 1)
    for _ in range(count):
        pool.submit(together.wait)
    together.wait()
    return pool
