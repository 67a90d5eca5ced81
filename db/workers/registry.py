"""Workers: their models and devices, their progress, and the commands of operators.

A worker renews its own row with each beat. Segments are held by leases; they do not depend on these
rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db.clock import now
from db.rows import insert_into, read_row
from db.segments.claims import Lease, held
from db.tables import workers
from film.errors import InputError, NotFoundError
from film.types import Struct

LOST_AFTER_LEASES = 3
"""Number of leases after which a silent worker is considered lost."""
FORGOTTEN_AFTER_SECONDS = 24 * 3600.0
"""Workers that ended are listed for a day."""


class WorkerState(StrEnum):
    """What a worker is doing."""

    IDLE = "idle"
    """It looks for work."""
    LOADING = "loading"
    """It has a segment, and loads the model for it."""
    RENDERING = "rendering"
    QUIET = "quiet"
    """It claims nothing until its quiet hours are over."""
    DRAINING = "draining"
    """It ends what it has and claims nothing more."""
    DRAINED = "drained"
    """It has nothing and claims nothing until `resume`."""
    STOPPED = "stopped"
    """It gave back what it had and claims nothing until `resume`."""
    ENDED = "ended"
    """Its process has ended, as it was asked to or because nothing was left to do."""
    DIED = "died"
    """Its process is gone without having ended: it was killed, or crashed."""
    LOST = "lost"
    """It has been silent for three leases. Never stored, but derived when rows are read."""


OVER = (WorkerState.ENDED, WorkerState.DIED)
"""States of a worker whose process does not exist any more."""


class WorkerCommand(StrEnum):
    """What an operator wants a worker to do."""

    DRAIN = "drain"
    """End what it has, then claim nothing."""
    STOP = "stop"
    """Give back at once what it has, then claim nothing."""


class Registration(Struct, frozen=True, kw_only=True):
    """A worker's description of itself when it starts."""

    name: str
    owner: str
    """The name under which it holds leases."""
    host: str
    device: str
    """`cpu`, or `cuda:` and the number of the GPU."""
    models: tuple[str, ...]
    weights: tuple[str, ...] = ()
    """The revisions of them that are on its machine (`db.segments.work_kinds.weights_of`)."""
    tags: tuple[str, ...]
    quiet: str | None
    """Local times in which it claims nothing, as `22:00-07:00`."""
    lease_seconds: float
    """It promises to renew its row within this time."""


class WorkerNews(Struct, frozen=True, kw_only=True):
    """What a worker reports with each beat."""

    state: WorkerState
    warm: str | None = None
    """Kind of the segments whose model it has loaded."""
    film_id: str | None = None
    position: int | None = None
    """Position of the segment that it renders, counted from 0."""
    step: int | None = None
    """Denoising steps done of it."""
    steps: int | None = None
    segments_done: int = 0
    """Since it began."""
    busy_seconds: float = 0.0
    """Time with a segment in hand since it began."""
    failures: int = 0
    """Attempts that failed since it began."""


class Heard(Struct, frozen=True, kw_only=True):
    """What a worker learns from its beat."""

    registered: bool
    """False if its name is not its own any more."""
    command: WorkerCommand | None
    holds_all: bool
    """True if all the leases that it named are still its own."""


class WorkerRow(Struct, frozen=True, kw_only=True):
    """A worker as listings show it."""

    name: str
    owner: str
    host: str
    device: str
    models: tuple[str, ...]
    weights: tuple[str, ...]
    tags: tuple[str, ...]
    state: WorkerState
    command: WorkerCommand | None
    quiet: str | None
    warm: str | None
    film_id: str | None
    position: int | None
    step: int | None
    steps: int | None
    segments_done: int
    busy_seconds: float
    failures: int
    error: str | None
    started_at: float
    seen_at: float
    seen_seconds_ago: float

    @property
    def alive(self) -> bool:
        """True if its process runs and renews its row."""
        return self.state not in (*OVER, WorkerState.LOST)

    @property
    def segments_per_hour(self) -> float | None:
        """Its rate while it has work; None before its first segment."""
        if not self.segments_done or self.busy_seconds <= 0:
            return None
        return self.segments_done / self.busy_seconds * 3600


def register(connection: Connection, worker: Registration) -> None:
    """Adds the worker. Raises `InputError` if a living worker has its name.

    The name of one that ended or was lost is taken over, with the command of that one: a drained
    worker stays drained when it is started again, unless it drained itself.
    """
    _forget_ended(connection)
    fresh: dict[str, Any] = {
        **{field: getattr(worker, field) for field in Registration.__struct_fields__},
        "models": list(worker.models),
        "weights": list(worker.weights),
        "tags": sorted(worker.tags),
        **_columns(WorkerNews(state=WorkerState.IDLE)),
        "error": None,
        "started_at": now(),
        "seen_at": now(),
    }
    kept = sa.case((workers.c.error.is_(None), workers.c.command), else_=None)
    free = sa.or_(workers.c.owner == worker.owner, ~_living())
    added = connection.execute(
        insert_into(workers, connection.dialect.name)
        .values(fresh)
        .on_conflict_do_update(
            index_elements=[workers.c.name], set_={**fresh, "command": kept}, where=free
        )
        .returning(workers.c.name)
    )
    if added.first() is None:
        raise InputError(
            f"A worker named {worker.name!r} is running already; give this one another --name, "
            f"or wait until that one has been silent for {LOST_AFTER_LEASES} leases."
        )


def beat(
    connection: Connection,
    name: str,
    owner: str,
    news: WorkerNews,
    leases: Sequence[Lease] = (),
) -> Heard:
    """Renews the worker's row and returns what is new for it, in one statement.

    `leases` are only examined; `segment_lease.beat` extends them.
    """
    count = sa.select(sa.func.count()).where(sa.or_(sa.false(), *map(held, leases)))
    row = connection.execute(
        workers.update()
        .where(workers.c.name == name, workers.c.owner == owner)
        .values(**_columns(news), seen_at=now())
        .returning(workers.c.command, count.scalar_subquery().label("held"))
    ).first()
    if row is None:
        return Heard(registered=False, command=None, holds_all=False)
    return Heard(
        registered=True,
        command=WorkerCommand(row.command) if row.command else None,
        holds_all=row.held == len(leases),
    )


def restock(connection: Connection, worker: Registration) -> None:
    """The worker has other models and weights than before."""
    connection.execute(
        workers.update()
        .where(workers.c.name == worker.name, workers.c.owner == worker.owner)
        .values(models=list(worker.models), weights=list(worker.weights))
    )


def drain_itself(connection: Connection, name: str, owner: str, error: str) -> None:
    """The worker claims nothing more because of `error`, until an operator resumes it."""
    connection.execute(
        workers.update()
        .where(workers.c.name == name, workers.c.owner == owner)
        .values(command=WorkerCommand.DRAIN, state=WorkerState.DRAINING, error=error)
    )


def note_error(connection: Connection, name: str, owner: str, error: str | None) -> None:
    """Shows `error` with a worker that continues; None removes it.

    The error of a worker that drained itself stays until an operator resumes it.
    """
    connection.execute(
        workers.update()
        .where(
            workers.c.name == name,
            workers.c.owner == owner,
            sa.or_(workers.c.error.is_(None), workers.c.command.is_(None)),
        )
        .values(error=error)
    )


def note_trouble(connection: Connection, owner: str, trouble: str, *, over: bool = False) -> None:
    """Shows `trouble` with the workers of a process that have no error; if it is `over`, removes
    it."""
    shown = workers.c.error == trouble if over else workers.c.error.is_(None)
    connection.execute(
        workers.update()
        .where(workers.c.owner == owner, shown)
        .values(error=None if over else trouble)
    )


def end(connection: Connection, name: str, owner: str, *, forget: bool = False) -> None:
    """The worker's process ends; with `forget`, its row is removed."""
    mine = sa.and_(workers.c.name == name, workers.c.owner == owner)
    if forget:
        connection.execute(workers.delete().where(mine))
    else:
        ended = {**_nothing_in_hand(), "state": WorkerState.ENDED}
        connection.execute(workers.update().where(mine).values(**ended))


def end_owner(connection: Connection, owner: str) -> None:
    """The workers of a process that is known to be dead have died."""
    connection.execute(
        workers.update()
        .where(workers.c.owner == owner, workers.c.state.not_in(OVER))
        .values(**_nothing_in_hand(), state=WorkerState.DIED)
    )


def owners(connection: Connection) -> set[str]:
    """The processes whose workers have not ended, by their rows."""
    query = sa.select(workers.c.owner).where(workers.c.state.not_in(OVER))
    return set(connection.execute(query).scalars())


def order(connection: Connection, name: str, command: WorkerCommand | None) -> WorkerRow:
    """Commands a worker to drain or stop, or (None) to continue; it receives this within two
    seconds.

    Raises `NotFoundError` if no living worker has that name.
    """
    connection.execute(
        workers.update()
        .where(workers.c.name == name, _living())
        .values(command=command, error=None if command is None else workers.c.error)
    )
    found = next((row for row in living(connection) if row.name == name), None)
    if found is None:
        raise NotFoundError(
            f"No worker named {name!r} is running; `longreel workers` lists those that are."
        )
    return found


def listing(connection: Connection) -> list[WorkerRow]:
    """All workers by name, those that ended within a day included."""
    fields = [
        name for name in WorkerRow.__struct_fields__ if name not in ("state", "seen_seconds_ago")
    ]
    lost = sa.and_(workers.c.state.not_in(OVER), ~_living())
    state = sa.case((lost, WorkerState.LOST.value), else_=workers.c.state)
    rows = connection.execute(
        sa.select(*(workers.c[name] for name in fields))
        .add_columns(state.label("state"), (now() - workers.c.seen_at).label("seen_seconds_ago"))
        .order_by(workers.c.name)
    )
    return [_worker_row(row) for row in rows]


def living(connection: Connection) -> list[WorkerRow]:
    """The workers that are there, whatever they are doing."""
    return [row for row in listing(connection) if row.alive]


def _worker_row(row: Any) -> WorkerRow:
    lists = {field: getattr(row, field) or () for field in ("models", "weights", "tags")}
    return read_row(WorkerRow, row, **lists)


def _columns(news: WorkerNews) -> dict[str, Any]:
    return {field: getattr(news, field) for field in WorkerNews.__struct_fields__}


def _nothing_in_hand() -> dict[str, Any]:
    nothing = dict.fromkeys(("film_id", "position", "step", "steps", "warm"))
    return {**nothing, "seen_at": now()}


def _living() -> sa.ColumnElement[bool]:
    silent = now() - workers.c.seen_at
    heard = silent <= LOST_AFTER_LEASES * workers.c.lease_seconds
    return sa.and_(workers.c.state.not_in(OVER), heard)


def _forget_ended(connection: Connection) -> None:
    long_ago = now() - workers.c.seen_at > FORGOTTEN_AFTER_SECONDS
    connection.execute(workers.delete().where(~_living(), long_ago))
