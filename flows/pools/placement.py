"""A `longreel worker` that a work pool's flow run started: its lease, and the report of its end.

The flow's process reports to Prefect how the run ended. If that process was killed, which Prefect's
own worker does with its runs when it is stopped, the command reports it. If the command is killed
too, other processes find its silence in the database (flows/prefect_runs/reconciler.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from db.workers import placements
from db.workers.placements import Placement, PlacementEnd
from film.errors import DatabaseError, InputError
from film.logs import trace
from film.settings import Settings
from film.types import RunOutcome
from flows.farm import Farm, open_farm
from flows.periodic import LeaseKeeper
from flows.prefect_runs import prefect_server
from flows.prefect_runs.outcomes import ORPHANED, SILENT, worker_ending

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

logger = logging.getLogger(__name__)


@dataclass
class Place:
    """The command that was placed; it notes how it ends here."""

    code: int | None = None
    """Its exit code; None if it does not reach one."""


def open_client_of(settings: Settings) -> AbstractContextManager[SyncPrefectClient]:
    """A client of the Prefect server that PREFECT_API_URL names."""
    prefect_server.use((settings.prefect_api_url or "").rstrip("/"), settings)
    from prefect import get_client

    return get_client(sync_client=True)


OpenClient = Callable[[Settings], AbstractContextManager["SyncPrefectClient"]]


@contextmanager
def placed(
    given: str | None,
    orphaned: Callable[[], bool],
    *,
    farm_here: Callable[[], Farm] = open_farm,
    open_client: OpenClient = open_client_of,
) -> Iterator[Place]:
    """The block is the command's life in the flow run `given` (`ID/COUNT`, the number of times that
    Prefect had started it); None if it was not placed.

    `orphaned` returns True if the flow's process is gone. `farm_here` opens the farm, which is
    closed when the block ends. Raises `InputError`, and `DatabaseError` if the database does not
    answer at the beginning.
    """
    place = Place()
    if given is None:
        yield place
        return
    farm = farm_here()
    try:
        me = _placement(farm, given)
        with farm.database.write() as connection:
            placements.place(connection, me)
        with LeaseKeeper("The placement's lease", lambda: _beat(farm, me), me.lease_seconds):
            try:
                yield place
            finally:
                outcome = _outcome(place.code, orphaned())
                _record_end(farm, me, outcome)
                if outcome is RunOutcome.CRASHED and farm.settings.prefect_api_url:
                    _report_crash(open_client, farm.settings, me)
    finally:
        farm.close()


def _placement(farm: Farm, given: str) -> Placement:
    run, _, count = given.partition("/")
    try:
        return Placement(
            flow_run_id=str(UUID(run)),
            run_count=int(count),
            owner=farm.owner,
            lease_seconds=farm.settings.lease_seconds,
        )
    except ValueError:
        raise InputError(f"{given!r} is not a flow run; leave --flow-run to Prefect.") from None


def _beat(farm: Farm, me: Placement) -> bool:
    with farm.database.write() as connection:
        return placements.beat(connection, me)


def _outcome(code: int | None, orphaned: bool) -> RunOutcome:
    if orphaned:
        return RunOutcome.CRASHED
    return RunOutcome.COMPLETED if code == 0 else RunOutcome.FAILED


def _record_end(farm: Farm, me: Placement, outcome: RunOutcome) -> None:
    try:
        with farm.database.write() as connection:
            placements.end(connection, me, outcome)
    except DatabaseError as error:
        logger.warning("The end of flow run %s was not recorded: %s", me.flow_run_id, error)


def _report_crash(open_client: OpenClient, settings: Settings, me: Placement) -> None:
    """Reports to Prefect what the flow's process cannot report any more."""
    try:
        with open_client(settings) as client:
            run = client.read_flow_run(UUID(me.flow_run_id))
            over = PlacementEnd(
                flow_run_id=me.flow_run_id, run_count=me.run_count, outcome=RunOutcome.CRASHED
            )
            ending = worker_ending(run, over)
            if ending:
                ending = ORPHANED if ending is SILENT else ending
                client.set_flow_run_state(run.id, ending.state(), force=True)
    except Exception as error:
        message = "Prefect did not receive the end of flow run %s: %s"
        logger.warning(message, me.flow_run_id, error, exc_info=trace(error))
