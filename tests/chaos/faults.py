"""Which part is hit next, how, and for how long: all from one seed."""

from __future__ import annotations

import random
import signal
from dataclasses import dataclass
from enum import Enum

KILL, TERM, STOP, INT = signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGINT


class Break(Enum):
    """How the network between the workers and a server fails."""

    LOST_ANSWER = "lost answer"
    """The next request that changes something arrives; the connection breaks before its answer."""
    SILENCE = "silence"
    """Connections stay open and are accepted, and nothing passes."""


How = signal.Signals | Break

_ROUND: list[tuple[str, How, How]] = [
    *[("worker", KILL, KILL)] * 4,
    ("worker", STOP, STOP),
    ("worker", TERM, TERM),
    ("rendering process", KILL, KILL),
    *[("database", KILL, KILL)] * 2,
    ("database", INT, INT),
    ("s3", KILL, TERM),
    ("prefect", KILL, TERM),
    ("network to database", Break.LOST_ANSWER, Break.LOST_ANSWER),
    ("network to database", Break.SILENCE, Break.LOST_ANSWER),
    ("network to s3", Break.LOST_ANSWER, Break.SILENCE),
    ("network to prefect", Break.SILENCE, Break.LOST_ANSWER),
]
"""One round of faults; the second way is that of every other round."""


LONGEST: dict[How, float] = {Break.SILENCE: 12.0}
"""Seconds that a part is away at most; 4 for the others."""


@dataclass(frozen=True)
class Fault:
    """One blow."""

    number: int
    part: str
    """`worker`, `rendering process`, `database`, `s3`, `prefect`, or the network to one of these
    three."""
    how: How
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
        for part, *ways in chance.sample(_ROUND, len(_ROUND)):
            how = ways[second]
            # Frozen for longer than its lease, a worker comes back to work that others have.
            longest = 2 * lease_seconds if how is STOP else LONGEST.get(how, 4.0)
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
