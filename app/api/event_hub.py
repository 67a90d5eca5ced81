"""Events of films as they happen, for all listeners of this process by one query."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from db import events
from db.events import Event
from film.errors import DatabaseError
from flows.farm import Farm

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.3
"""Pause between two looks at the database while somebody listens."""
LATE_SECONDS = 30.0
"""An event may become visible this long after one with a higher number: numbers are given when a
transaction writes, and it is seen when it ends."""
MARGIN = 1_000
"""Numbers before the latest event that may still become visible."""
MOST_WAITING = 10_000
"""Events that a slow listener may be behind; then it is cut off, and continues by its last one."""


@dataclass(eq=False)
class Listener:
    """Somebody who is told of events of a film or of a campaign, or of all."""

    name: str | None
    """Id of a film or campaign; None for all."""
    loop: asyncio.AbstractEventLoop
    queue: asyncio.Queue[Event | None] = field(default_factory=lambda: asyncio.Queue(MOST_WAITING))
    """None ends it."""

    def wants(self, event: Event) -> bool:
        """True if the event is for this listener."""
        return self.name in (None, event.film_id, event.film_id.rpartition("-")[0])

    def give(self, event: Event | None) -> None:
        """Called in the loop."""
        if self.queue.full():
            while not self.queue.empty():
                self.queue.get_nowait()
            event = None
        self.queue.put_nowait(event)


class EventHub:
    """Looks for new events while there are listeners, and gives each to those who want it."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self._lock = threading.Lock()
        self._listeners: set[Listener] = set()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    @contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """Gives `listener` the events that happen from now on, while in the block.

        Raises `DatabaseError`.
        """
        self._add(listener)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.discard(listener)

    def _add(self, listener: Listener) -> None:
        with self._lock:
            if self._thread is None:
                seen = _Seen()
                self._new(seen)  # what happened before is not given
                self._thread = threading.Thread(
                    target=self._run, args=(seen,), name="event-hub", daemon=True
                )
                self._thread.start()
            self._listeners.add(listener)

    def close(self) -> None:
        """Ends all listeners."""
        self._closed.set()
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.loop.call_soon_threadsafe(listener.give, None)

    def _run(self, seen: _Seen) -> None:
        while not self._closed.is_set():
            try:
                found = self._new(seen)
            except DatabaseError as error:
                logger.warning("Listeners wait for the database: %s", error)
                found = []
            with self._lock:
                listeners = list(self._listeners)
                if not listeners:
                    self._thread = None
                    return
            for listener in listeners:
                _tell(listener, [event for event in found if listener.wants(event)])
            self._closed.wait(LOOK_SECONDS)

    def _new(self, seen: _Seen) -> list[Event]:
        with self._farm.database.read() as connection:
            if seen.floor is None:
                # A little of what was before: one of them may become visible late.
                seen.floor = max(0, events.latest(connection) - MARGIN)
            found = events.after(connection, seen.floor)
        return [event for event in found if seen.add(event.id)]


def _tell(listener: Listener, found: list[Event]) -> None:
    try:
        for event in found:
            listener.loop.call_soon_threadsafe(listener.give, event)
    except RuntimeError as error:  # its loop was closed
        logger.warning("A listener is gone: %s", error)


class _Seen:
    """Numbers of events that were given, as far back as another may still become visible."""

    def __init__(self) -> None:
        self.floor: int | None = None
        """Everything up to here was given."""
        self._at: OrderedDict[int, float] = OrderedDict()

    def add(self, number: int) -> bool:
        """True if it was not given before."""
        now = time.monotonic()
        while self._at and now - next(iter(self._at.values())) > LATE_SECONDS:
            old, _ = self._at.popitem(last=False)
            self.floor = max(self.floor or 0, old)
        if number in self._at:
            return False
        self._at[number] = now
        return True
