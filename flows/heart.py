"""The worker's heart: says once a second that it lives and what it does, and hears commands."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType

import msgspec
from sqlalchemy.engine import Connection

from db import segments, workers
from db.claiming import Lease
from db.workers import Registration, WorkerCommand, WorkerNews
from film.errors import InputError
from flows.background import Background
from flows.wiring import Farm

BEAT_SECONDS = 1.0
"""Pause between two beats; a lease shorter than a few of them is kept by more."""


class Hold:
    """A lease that is being kept."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.part = 0.0
        """How much of it is rendered, 0 to 1."""
        self.lost = threading.Event()
        """Set when the lease is no longer ours: the film was cancelled, or others have it."""


class Heart(Background):
    """Keeps a worker's row and its leases until the block ends.

    A database that does not answer for a while is tried again: whether a lease was lost meanwhile
    is for the database to say.
    """

    def __init__(self, farm: Farm, me: Registration, news: Callable[[], WorkerNews]) -> None:
        super().__init__("heart")
        self._farm = farm
        self._me = me
        self._news = news
        self._holds: list[Hold] = []
        self._lock = threading.Lock()
        self._pause = min(BEAT_SECONDS, me.lease_seconds / 6)
        self._extended = time.monotonic()
        self._unsaid: str | None = None
        self._restocked = False
        self.command: WorkerCommand | None = None
        """What an operator, or the worker itself, wants it to do."""
        self.refused: InputError | None = None
        """Set when the worker was taken for lost and another one has its name."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        with suppress(Exception):  # the last word: what was done and went wrong since the last beat
            self._beat()

    def hold(self, lease: Lease) -> Hold:
        """Keeps a lease from now on."""
        hold = Hold(lease)
        with self._lock:
            self._holds.append(hold)
        return hold

    def let_go(self, hold: Hold) -> None:
        """The lease was ended."""
        with self._lock:
            if hold in self._holds:
                self._holds.remove(hold)

    @property
    def holding(self) -> bool:
        """Whether there is any lease to keep."""
        return bool(self._holds)

    def restock(self, models: Sequence[str], weights: Sequence[str]) -> None:
        """The worker has these models and weights now; told to the database at the next beat."""
        with self._lock:
            self._me = msgspec.structs.replace(
                self._me, models=tuple(models), weights=tuple(weights)
            )
            self._restocked = True

    def drain(self, error: str) -> None:
        """The worker drains itself because of `error`; told to the database at the next beat."""
        with self._lock:
            self._unsaid = error
            self.command = WorkerCommand.DRAIN

    def _keep(self) -> None:
        while not self._over.wait(self._pause):
            with suppress(Exception):  # a heart that dies unheard would lose the leases
                self._beat()

    def _beat(self) -> None:
        news = self._news()
        with self._lock:
            holds, unsaid = list(self._holds), self._unsaid
            me, restocked = self._me, self._restocked
        due = time.monotonic() - self._extended >= me.lease_seconds / 3
        with self._farm.database.write() as connection:
            if restocked:
                workers.restock(connection, me)
            if unsaid:
                workers.drain_itself(connection, me.name, me.owner, unsaid)
            leases = [hold.lease for hold in holds]
            heard = workers.beat(connection, me.name, me.owner, news, leases)
            if not heard.registered:
                self._register_again(connection)
            extend = due or not heard.holds_all
            lost = [hold for hold in holds if extend and not self._extend(connection, hold)]
        if due:
            self._extended = time.monotonic()
        for hold in lost:
            hold.lost.set()
        with self._lock:
            self._restocked = self._restocked and self._me is not me
            if unsaid == self._unsaid:
                self._unsaid = None
                self.command = heard.command

    def _extend(self, connection: Connection, hold: Hold) -> bool:
        return segments.beat(connection, hold.lease, self._me.lease_seconds, hold.part)

    def _register_again(self, connection: Connection) -> None:
        try:
            workers.register(connection, self._me)
        except InputError as error:
            self.refused = error
