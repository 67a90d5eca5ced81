"""What Prefect holds open although it has ended is set to what became of it."""

from __future__ import annotations

import os
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from db.films import film_lease, films
from db.flow_runs import FilmFlow, SegmentEnd
from db.segments import claims
from db.segments.claims import Lease
from db.segments.fair_share import Abilities
from db.tables import films as film_table
from film.reading.film import film_from_prompt
from film.types import Campaign, FilmStatus, RunOutcome, SegmentStatus
from flows.farm import Farm
from flows.prefect_runs import reconciler as reconcile
from flows.prefect_runs.outcomes import GONE, LOST, Ending, flow_ending, segment_ending
from flows.prefect_runs.reconciler import Reconciler
from flows.submission.submit import submit
from tests.db.farm import DELIVERY

RUN, OTHER = "run", "another"


def film_flow(status: FilmStatus, **changed: Any) -> FilmFlow:
    """A film whose second attempt is, or was, the flow run `RUN`."""
    values: dict[str, Any] = {
        "id": "c1-1",
        "created_at": 1.5,
        "status": status,
        "attempt": 2,
        "owner": "me" if status in films.OPEN else None,
        "flow_run_id": RUN,
        "error": None,
    }
    return FilmFlow(**{**values, **changed})


@pytest.mark.parametrize(
    ("run", "attempt", "film", "ending"),
    [
        (RUN, 2, film_flow(FilmStatus.RENDERING), None),
        (RUN, 2, film_flow(FilmStatus.QUEUED, flow_run_id=None), None),
        (RUN, 1, film_flow(FilmStatus.RENDERING), GONE),
        (OTHER, 2, film_flow(FilmStatus.RENDERING), GONE),
        (RUN, 2, film_flow(FilmStatus.QUEUED, owner=None, flow_run_id=None), GONE),
        (RUN, 2, film_flow(FilmStatus.DELIVERED), Ending(outcome=RunOutcome.COMPLETED)),
        (OTHER, 2, film_flow(FilmStatus.DELIVERED), GONE),
        (RUN, 1, film_flow(FilmStatus.DELIVERED), GONE),
        (
            RUN,
            2,
            film_flow(FilmStatus.FAILED, error="no"),
            Ending(outcome=RunOutcome.FAILED, message="no"),
        ),
        (RUN, 2, film_flow(FilmStatus.CANCELLED), Ending(outcome=RunOutcome.CANCELLED)),
        (RUN, 2, film_flow(FilmStatus.CANCELLED, flow_run_id=None), GONE),
    ],
)
def test_what_became_of_a_flow_run(
    run: str, attempt: int, film: FilmFlow, ending: Ending | None
) -> None:
    assert flow_ending(run, attempt, film) == ending


@pytest.mark.parametrize(
    ("row", "ending"),
    [
        (SegmentEnd(status=SegmentStatus.LEASED, attempt=3), None),
        (SegmentEnd(status=SegmentStatus.DONE, attempt=3), Ending(outcome=RunOutcome.COMPLETED)),
        (SegmentEnd(status=SegmentStatus.READY, attempt=3), LOST),
        (SegmentEnd(status=SegmentStatus.LEASED, attempt=4), LOST),
        (SegmentEnd(status=SegmentStatus.DONE, attempt=4), LOST),
        (None, LOST),
    ],
)
def test_what_became_of_an_attempt_at_a_segment(
    row: SegmentEnd | None, ending: Ending | None
) -> None:
    assert segment_ending(3, row) == ending


class Told:
    """A real Prefect server, with a film as a process leaves it that is killed later."""

    def __init__(self, farm: Farm, client: Any) -> None:
        request = film_from_prompt("A red ball stays.", {"title": f"Reconciled {uuid4()}"})
        (self.film_id,) = submit(farm, Campaign(name="c", priority=0, films=(request,)))
        self._farm, self._client = farm, client

    def claimed(self) -> films.Film:
        """The film in the hands of this process."""
        with self._farm.database.write() as connection:
            film = film_lease.claim(connection, "me", 60.0)
        assert film is not None
        return film

    def flow_run(self, film: films.Film, *, submitted_at: float | None = None) -> UUID:
        """A running flow run of the film's attempt."""
        from prefect import flow, states

        @flow(name=reconcile.FLOW)
        def stand_in() -> None:
            """Only its name is asked for."""

        run = self._client.create_flow_run(
            stand_in,
            parameters={
                "film_id": film.id,
                "attempt": film.attempt,
                "submitted_at": film.created_at if submitted_at is None else submitted_at,
            },
            state=states.Running(),
        )
        return UUID(str(run.id))

    def task_run(self, flow_run: UUID, name: str, key: str) -> UUID:
        """A running task run under it."""
        from prefect import states, task

        @task(name=name)
        def stand_in() -> None:
            """Only its name is asked for."""

        made = self._client.create_task_run(
            stand_in, flow_run_id=flow_run, dynamic_key=key, name=name, state=states.Running()
        )
        return UUID(str(made.id))

    def attach(self, film: films.Film, run: UUID) -> None:
        """The flow has started."""
        with self._farm.database.write() as connection:
            film_lease.attach_flow_run(connection, film, str(run))

    def lease(self) -> Lease:
        """A segment of the film in the hands of a worker."""
        with self._farm.database.write() as connection:
            lease = claims.claim(connection, "me", Abilities(models=("demo",)), 60.0)
        assert lease is not None
        return lease

    def flow_state(self, run: UUID) -> str:
        """What Prefect shows."""
        return str(self._client.read_flow_run(run).state.type.value)

    def task_state(self, run: UUID) -> str:
        """What Prefect shows."""
        return str(self._client.read_task_run(run).state.type.value)


@pytest.mark.slow
def test_runs_that_nobody_ended_are_ended_as_they_truly_did(farm: Farm, prefect_api: str) -> None:
    os.environ["PREFECT_API_URL"] = prefect_api
    from prefect import get_client

    with get_client(sync_client=True) as client:
        told = Told(farm, client)
        film = told.claimed()
        old = told.flow_run(film)
        old_step = told.task_run(old, "plan", "0")
        lease = told.lease()
        at_work = told.task_run(old, "segment 1 of 2, scene 1", f"{lease.id}-{lease.attempt}")
        lost = told.task_run(old, "segment 2 of 2, scene 1", f"{lease.id + 1}-1")
        with farm.database.write() as connection:
            film_lease.release(connection, film)
        again = told.claimed()
        run = told.flow_run(again)
        told.attach(again, run)
        of_another_farm = told.flow_run(film, submitted_at=1.0)

        reconciler = Reconciler(farm)
        reconciler.look(client)
        assert told.flow_state(old) == "RUNNING", "it may be about to say so itself"
        reconciler.look(client)
        reconciler.look(client)
        assert told.flow_state(old) == "CRASHED"
        assert told.flow_state(run) == told.flow_state(of_another_farm) == "RUNNING"
        reconciler.look(client)  # a step ends with its flow, which had to end first
        assert told.task_state(old_step) == told.task_state(lost) == "CRASHED"
        assert told.task_state(at_work) == "RUNNING"

        with farm.database.write() as connection:
            connection.execute(sa.update(film_table).values(status=FilmStatus.STITCHING))
            assert film_lease.finish(connection, again, DELIVERY)
        reconciler.look(client)
        reconciler.look(client)
        assert told.flow_state(run) == "COMPLETED"
        assert told.flow_state(of_another_farm) == "RUNNING"


@pytest.mark.slow
def test_a_delivered_film_whose_flow_was_thought_failed_is_completed(
    farm: Farm, prefect_api: str
) -> None:
    os.environ["PREFECT_API_URL"] = prefect_api
    from prefect import get_client, states

    with get_client(sync_client=True) as client:
        told = Told(farm, client)
        film = told.claimed()
        run = told.flow_run(film)
        told.attach(film, run)
        with farm.database.write() as connection:
            assert film_lease.finish(connection, film, DELIVERY)
        client.set_flow_run_state(run, states.Failed(), force=True)
        reconciler = Reconciler(farm)
        reconciler.look(client)
        reconciler.look(client)
        assert told.flow_state(run) == "COMPLETED"
