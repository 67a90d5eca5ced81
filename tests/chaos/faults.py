"""Which part is hit next, how, and for how long: all from one seed."""

from __future__ import annotations

import random
import signal
from dataclasses import dataclass

KILL, TERM, STOP, INT = signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGINT

_ROUND: list[tuple[str, signal.Signals, signal.Signals]] = [
    *[("worker", KILL, KILL)] * 4,
    ("worker", STOP, STOP),
    ("worker", TERM, TERM),
    ("rendering process", KILL, KILL),
    *[("database", KILL, KILL)] * 2,
    ("database", INT, INT),
    ("s3", KILL, TERM),
    ("prefect", KILL, TERM),
]
"""One round of faults; the second signal is that of every other round."""


@dataclass(frozen=True)
class Fault:
    """One blow."""

    number: int
    part: str
    """`worker`, `rendering process`, `database`, `s3` or `prefect`."""
    how: signal.Signals
    worker: int
    """Index of the worker, counted from 0, if it is one."""
    delay: float
    """Seconds between the moment that its turn has come and the blow."""
    away: float
    """Seconds until the part comes back."""


def faults(seed: int, count: int, workers: int, lease_seconds: float) -> list[Fault]:
    """The `count` faults that follow from `seed`, in their order.

    Every round has the same mixture, so that even a short run hits every part.
    """
    chance = random.Random(seed)
    found: list[Fault] = []
    while len(found) < count:
        second = len(found) // len(_ROUND) % 2
        for part, *signals in chance.sample(_ROUND, len(_ROUND)):
            how = signals[second]
            # Frozen for longer than its lease, a worker comes back to work that others have.
            longest = 2 * lease_seconds if how is STOP else 4.0
            away = chance.uniform(1.2 * lease_seconds if how is STOP else 0.2, longest)
            found.append(
                Fault(
                    number=len(found) + 1,
                    part=part,
                    how=how,
                    worker=chance.randrange(workers),
                    delay=chance.uniform(0.0, 2.0),
                    away=away,
                )
            )
    return found[:count]
