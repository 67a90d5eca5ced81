"""Watching the database all the time: what must never be seen, and how fast work continues."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa

from db.engine import Database, open_database
from db.tables import films, segments, takes
from film.errors import DatabaseError
from flows.periodic import Periodic

LOOK_SECONDS = 0.2
"""Pause between two looks."""
STITCHING = 2
"""Segments' worth of work in making a film of its segments."""


@dataclass
class Look:
    """What one look saw, in one snapshot."""

    segments: dict[int, Any]
    films: dict[str, Any]
    takes: dict[str, float]
    """When each address was recorded."""

    @property
    def done(self) -> int:
        """Segments whose takes are there."""
        return len([row for row in self.segments.values() if row.status == "done"])

    @property
    def work_done(self) -> int:
        """How far everything is, of `work`: stitching and delivering count too."""
        delivered = [row for row in self.films.values() if row.status == "delivered"]
        return self.done + STITCHING * len(delivered)

    @property
    def work(self) -> int:
        """What there is to do in all."""
        return len(self.segments) + STITCHING * len(self.films)

    @property
    def at_end(self) -> bool:
        """True if no film is open any more."""
        ended = ("delivered", "failed", "cancelled")
        return bool(self.films) and all(row.status in ended for row in self.films.values())


@dataclass
class Held:
    """A segment that a worker held when it was killed."""

    segment: int
    attempt: int
    killed_at: float


@dataclass
class Watch:
    """A thread that looks at a farm's database. Use as a context manager."""

    url: str
    violations: list[str] = field(default_factory=list)
    leased_again: list[float] = field(default_factory=list)
    """Seconds from a worker's kill until another one had the segment that it held."""
    last: Look | None = None
    looks: int = 0

    def __post_init__(self) -> None:
        self._periodic = Periodic("The watch", LOOK_SECONDS, self._look)
        self._database: Database = open_database(self.url)
        self._killed: list[tuple[int, float]] = []
        self._waiting: list[Held] = []

    def __enter__(self) -> Self:
        self._periodic.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._periodic.__exit__(kind, error, trace)
        self._database.close()

    def killed(self, pid: int) -> None:
        """The worker with this process number is killed in this moment."""
        self._killed.append((pid, time.monotonic()))

    def _look(self) -> None:
        try:
            with self._database.read() as connection:
                look = _look(connection)
        except DatabaseError:
            return  # it is down; what it holds does not change
        if self.last is not None:
            self._compare(self.last, look)
        self._time_leases(look)
        self.last = look
        self.looks += 1

    def _compare(self, before: Look, now: Look) -> None:
        self.violations += leased_twice(now)
        self.violations += gone_backwards(before, now)
        self.violations += done_again(before, now)
        self.violations += taken_again(before, now)

    def _time_leases(self, look: Look) -> None:
        moment = time.monotonic()
        while self._killed:
            pid, at = self._killed.pop()
            self._waiting += [
                Held(row.id, row.attempt, at)
                for row in (self.last or look).segments.values()
                if row.status == "leased" and f"/{pid}/" in (row.owner or "")
            ]
        for held in list(self._waiting):
            row = look.segments[held.segment]
            if row.attempt > held.attempt or row.status == "done":
                self._waiting.remove(held)
                if row.attempt > held.attempt:
                    self.leased_again.append(moment - held.killed_at)


def _look(connection: sa.Connection) -> Look:
    # One snapshot for the three questions, or a take could appear between them.
    connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
    columns = ("id", "film_id", "position", "address", "status", "attempt", "owner")
    rows = connection.execute(sa.select(*(segments.c[name] for name in columns))).all()
    of_films = connection.execute(
        sa.select(films.c.id, films.c.status, films.c.attempt, films.c.owner)
    ).all()
    recorded = connection.execute(sa.select(takes.c.address, takes.c.created_at)).all()
    return Look(
        {row.id: row for row in rows},
        {row.id: row for row in of_films},
        {row.address: row.created_at for row in recorded},
    )


def leased_twice(look: Look) -> list[str]:
    """No worker may render what another one is rendering."""
    holders: dict[str, list[str]] = {}
    for row in look.segments.values():
        if row.status == "leased":
            holders.setdefault(row.address, []).append(str(row.owner))
    return [
        f"The address {address[:12]} was leased twice at once: by {' and by '.join(names)}."
        for address, names in holders.items()
        if len(names) > 1
    ]


def gone_backwards(before: Look, now: Look) -> list[str]:
    """The fencing tokens of segments and of films only grow."""
    pairs = [
        *((f"segment {key}", before.segments[key], row) for key, row in now.segments.items()),
        *((f"film {key}", before.films[key], row) for key, row in now.films.items()),
    ]
    return [
        f"The attempt of {name} went backwards, from {old.attempt} to {new.attempt}."
        for name, old, new in pairs
        if new.attempt < old.attempt
    ]


def done_again(before: Look, now: Look) -> list[str]:
    """A segment that is done stays done, as its take is in the store."""
    return [
        f"Segment {key} of film {row.film_id} was done and is {row.status} again."
        for key, row in now.segments.items()
        if before.segments[key].status == "done" and row.status != "done"
    ]


def taken_again(before: Look, now: Look) -> list[str]:
    """The first take of an address stays."""
    return [
        f"The take of the address {address[:12]} was recorded, and is "
        f"{'gone' if now.takes.get(address) is None else 'another one'} now."
        for address, at in before.takes.items()
        if now.takes.get(address) != at
    ]
