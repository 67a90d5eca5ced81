"""Workers in the database: names, beats, commands, and who is taken for lost."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import sqlalchemy as sa

from db.engine import Database
from db.segments import segment_lease
from db.tables import workers as table
from db.workers import registry
from db.workers.registry import Registration, WorkerCommand, WorkerNews, WorkerState
from film.errors import InputError, NotFoundError
from tests.db.farm import Farm, a_film

ME = Registration(
    name="gpu-01",
    owner="host/m/1/1",
    host="host",
    device="cuda:0",
    models=("demo",),
    tags=("big", "fast"),
    quiet="22:00-07:00",
    lease_seconds=20.0,
)
OTHER = ME.replace(owner="host/m/2/2")
IDLE = WorkerNews(state=WorkerState.IDLE)


@pytest.fixture
def farm(database: Database) -> Farm:
    return Farm(database)


def beat(farm: Farm, worker: Registration = ME, news: WorkerNews = IDLE, *leases: Any) -> Any:
    return farm.write(registry.beat, worker.name, worker.owner, news, leases)


def age(farm: Farm, seconds: float) -> None:
    """All workers were silent for `seconds`."""
    with farm.database.write() as connection:
        connection.execute(table.update().values(seen_at=table.c.seen_at - seconds))


def only(farm: Farm) -> registry.WorkerRow:
    (row,) = farm.read(registry.listing)
    return row  # type: ignore[no-any-return]


def test_a_worker_says_what_it_is_and_what_it_does(farm: Farm) -> None:
    farm.write(registry.register, ME)
    news = WorkerNews(
        state=WorkerState.RENDERING,
        warm="demo 96x64x17",
        film_id="abc-1",
        position=2,
        step=3,
        steps=16,
        segments_done=5,
        busy_seconds=10.0,
        failures=1,
    )
    assert beat(farm, ME, news).registered
    row = only(farm)
    for field in WorkerNews.__struct_fields__:
        assert getattr(row, field) == getattr(news, field)
    assert (row.models, row.tags, row.device, row.quiet) == (
        ("demo",),
        ("big", "fast"),
        "cuda:0",
        "22:00-07:00",
    )
    assert row.segments_per_hour == 1800
    assert 0 <= row.seen_seconds_ago < 60


def test_the_name_of_a_living_worker_is_refused_and_that_of_a_silent_one_taken_over(
    farm: Farm,
) -> None:
    farm.write(registry.register, ME)
    farm.write(registry.register, ME)  # its own name is its own
    with pytest.raises(InputError, match=r"named 'gpu-01' is running already.*another --name"):
        farm.write(registry.register, OTHER)
    age(farm, 3 * ME.lease_seconds + 1)
    assert only(farm).state is WorkerState.LOST
    assert farm.read(registry.living) == []
    farm.write(registry.register, OTHER)
    assert (only(farm).owner, only(farm).state) == (OTHER.owner, WorkerState.IDLE)
    assert not beat(farm, ME).registered, "the one that was taken for lost must notice"
    assert beat(farm, OTHER).registered


def test_of_many_that_want_a_name_one_gets_it(farm: Farm) -> None:
    refused = []

    def run(number: int) -> None:
        try:
            farm.write(registry.register, ME.replace(owner=f"host/m/{number}/1"))
        except InputError as error:
            refused.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 5


def test_a_command_is_heard_at_the_next_beat_and_resume_takes_it_back(farm: Farm) -> None:
    farm.write(registry.register, ME)
    assert beat(farm).command is None
    for command in (WorkerCommand.DRAIN, WorkerCommand.STOP, None):
        assert farm.write(registry.order, "gpu-01", command).command is command
        assert beat(farm).command is command
    with pytest.raises(NotFoundError, match="No worker named 'gpu-02' is running"):
        farm.write(registry.order, "gpu-02", None)
    farm.write(registry.end, ME.name, ME.owner)
    with pytest.raises(NotFoundError):
        farm.write(registry.order, "gpu-01", None)


def test_a_drained_worker_is_drained_when_it_is_started_again_unless_it_did_that_itself(
    farm: Farm,
) -> None:
    farm.write(registry.register, ME)
    farm.write(registry.order, "gpu-01", WorkerCommand.DRAIN)
    farm.write(registry.end, ME.name, ME.owner)
    farm.write(registry.register, OTHER)
    assert beat(farm, OTHER).command is WorkerCommand.DRAIN

    farm.write(registry.order, "gpu-01", None)
    farm.write(registry.drain_itself, OTHER.name, OTHER.owner, "Three failures.")
    assert only(farm).error == "Three failures."
    assert only(farm).command is WorkerCommand.DRAIN
    farm.write(registry.end, OTHER.name, OTHER.owner)
    assert only(farm).error == "Three failures.", "kept for whoever asks later"
    farm.write(registry.register, ME)
    assert beat(farm).command is None
    assert only(farm).error is None


def test_resume_clears_the_error(farm: Farm) -> None:
    farm.write(registry.register, ME)
    farm.write(registry.drain_itself, ME.name, ME.owner, "Three failures.")
    assert farm.write(registry.order, "gpu-01", None).error is None


def test_a_beat_tells_whether_the_leases_are_still_its_own(farm: Farm) -> None:
    farm.submit(a_film(scenes=2, segments_each=1))
    farm.write(registry.register, ME)
    first, second = farm.claim(ME.owner), farm.claim(ME.owner)
    assert beat(farm).holds_all
    assert beat(farm, ME, IDLE, first, second).holds_all
    farm.write(segment_lease.release, second)
    assert not beat(farm, ME, IDLE, first, second).holds_all
    assert beat(farm, ME, IDLE, first).holds_all


def test_workers_of_a_dead_process_have_died(farm: Farm) -> None:
    farm.write(registry.register, ME)
    assert farm.read(registry.owners) == {ME.owner}
    farm.write(registry.end_owner, ME.owner)
    assert only(farm).state is WorkerState.DIED
    assert not only(farm).alive
    assert farm.read(registry.owners) == set()
    farm.write(registry.register, OTHER)


def test_a_worker_that_ended_stays_ended_when_its_process_is_gone(farm: Farm) -> None:
    farm.write(registry.register, ME)
    farm.write(registry.end, ME.name, ME.owner)
    farm.write(registry.end_owner, ME.owner)
    assert only(farm).state is WorkerState.ENDED


def test_workers_that_ended_are_forgotten_after_a_day(farm: Farm) -> None:
    farm.write(registry.register, ME)
    farm.write(registry.end, ME.name, ME.owner)
    age(farm, 25 * 3600)
    farm.write(registry.register, OTHER.replace(name="gpu-02"))
    assert only(farm).name == "gpu-02"
    farm.write(registry.end, "gpu-02", OTHER.owner, forget=True)
    assert farm.read(registry.listing) == []


def test_times_are_the_database_s(farm: Farm) -> None:
    farm.write(registry.register, ME)
    with farm.database.read() as connection:
        from db.clock import now

        at = connection.execute(sa.select(now())).scalar_one()
    assert abs(only(farm).started_at - at) < 60


def test_a_lease_that_ran_out_names_the_worker(farm: Farm) -> None:
    (film,) = farm.submit(a_film(segments_each=1))
    farm.write(registry.register, ME)
    farm.run_out(farm.claim(ME.owner))
    assert farm.write(segment_lease.reap, 3) == 1
    assert farm.rows(film)[0].error == f"The worker {ME.name} stopped answering"
