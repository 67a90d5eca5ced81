"""Heartbeat: once a second, renews leases, reports status and receives commands."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from sqlalchemy.engine import Connection

from db import events
from db.segments import segment_lease
from db.segments.claims import Lease
from db.workers import registry
from db.workers.registry import Registration, WorkerCommand, WorkerNews
from film.errors import InputError
from film.logs import ids
from flows.farm import Farm
from flows.machine.clock import elapsed_seconds
from flows.periodic import Periodic

logger = logging.getLogger(__name__)

BEAT_SECONDS = 1.0
"""Pause between two beats. Shorter if a lease is only a few times as long."""
REPORTED_AFTER = 3
"""Failed beats in a row after which the worker's row and its films' events name the failure: if
they continue, the leases run out."""


class Hold:
    """A lease that the heartbeat renews."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.progress = 0.0
        """Part of the segment that is rendered, 0 to 1; written by the thread that renders."""
        self.lost = threading.Event()
        """Set when the lease is not ours any more: the film was cancelled, or another worker has
        the segment."""


class Heartbeat:
    """Keeps a worker's row and its leases until the block ends.

    A beat that fails is tried again. Only the database decides if a lease was lost meanwhile.
    """

    def __init__(self, farm: Farm, me: Registration, status: Callable[[], WorkerNews]) -> None:
        self._farm = farm
        self._me = me
        self._status = status
        self._holds: list[Hold] = []
        self._lock = threading.Lock()
        self._periodic = Periodic(
            "The heartbeat",
            min(BEAT_SECONDS, me.lease_seconds / 6),
            self.beat,
            on_failure=self._failed,
            on_recovery=self._recovered,
            extra=ids(worker=me.name),
        )
        self._extended = elapsed_seconds()
        self._unreported: str | None = None
        self._restocked = False
        self.command: WorkerCommand | None = None
        """The command of an operator, or of the worker itself if it is broken."""
        self.refused: InputError | None = None
        """Set when the worker was considered lost and another one has its name."""

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
        self._periodic.call()  # reports the work and the failures since the last beat

    def hold(self, lease: Lease) -> Hold:
        """Renews a lease from now on."""
        hold = Hold(lease)
        with self._lock:
            self._holds.append(hold)
        return hold

    def let_go(self, hold: Hold) -> None:
        """Stops renewing a lease that was ended."""
        with self._lock:
            if hold in self._holds:
                self._holds.remove(hold)

    @property
    def leases(self) -> list[Lease]:
        """The leases that it renews."""
        with self._lock:
            return [hold.lease for hold in self._holds]

    @property
    def holding(self) -> bool:
        """True while the worker holds any lease."""
        return bool(self._holds)

    def restock(self, models: Sequence[str], weights: Sequence[str]) -> None:
        """Reports the models and weights on this machine, with the next beat."""
        with self._lock:
            self._me = self._me.replace(models=tuple(models), weights=tuple(weights))
            self._restocked = True

    def drain(self, error: str) -> None:
        """Drains the worker because of `error`, which is reported with the next beat."""
        with self._lock:
            self._unreported = error
            self.command = WorkerCommand.DRAIN

    def beat(self) -> None:
        """Renews the row and the leases, and receives the command. Raises `DatabaseError`."""
        news = self._status()
        with self._lock:
            holds, unreported = list(self._holds), self._unreported
            me, restocked = self._me, self._restocked
        due = elapsed_seconds() - self._extended >= me.lease_seconds / 3
        with self._farm.database.write() as connection:
            if restocked:
                registry.restock(connection, me)
            if unreported:
                registry.drain_itself(connection, me.name, me.owner, unreported)
            leases = [hold.lease for hold in holds]
            answer = registry.beat(connection, me.name, me.owner, news, leases)
            if not answer.registered:
                self._register_again(connection)
            extend = due or not answer.holds_all
            lost = [hold for hold in holds if extend and not self._extend(connection, hold)]
        if due:
            self._extended = elapsed_seconds()
        for hold in lost:
            hold.lost.set()
            logger.warning(
                "The lease was lost: the film was cancelled, or another worker has the segment",
                extra={**hold.lease.log_ids, "worker": me.name},
            )
        with self._lock:
            self._restocked = self._restocked and self._me is not me
            if unreported == self._unreported:
                self._unreported = None
                self.command = answer.command

    def _failed(self, failures: int, error: Exception) -> None:
        """Reports a heartbeat that keeps failing to the places that operators look at.

        The database may be what fails, and then receives this with the first beat that succeeds.
        """
        if failures != REPORTED_AFTER:
            return
        message = f"The heartbeat of worker {self._me.name} failed {failures} times: {error}"
        try:
            self._note(message, error=message)
        except Exception as again:  # noqa: BLE001  (the next beat is more important)
            logger.error("%s. This could not be recorded: %s", message, again)

    def _recovered(self, failures: int) -> None:
        if failures < REPORTED_AFTER:
            return
        message = f"The heartbeat of worker {self._me.name} works again after {failures} failures"
        self._note(message, error=None)

    def _note(self, message: str, *, error: str | None) -> None:
        """Sets the worker's error, and adds `message` to the events of the films that it renders.

        Raises `DatabaseError`.
        """
        leases = self.leases
        with self._farm.database.write() as connection:
            registry.note_error(connection, self._me.name, self._me.owner, error)
            for lease in leases:
                events.record(
                    connection, lease.film_id, "heartbeat", message, segment=lease.position
                )

    def _extend(self, connection: Connection, hold: Hold) -> bool:
        return segment_lease.beat(connection, hold.lease, self._me.lease_seconds, hold.progress)

    def _register_again(self, connection: Connection) -> None:
        try:
            registry.register(connection, self._me)
        except InputError as error:
            self.refused = error
