"""What dead processes held is released, and a warm process is replaced when it must be."""

from __future__ import annotations

from typing import Any

import pytest

from db.films import film_lease
from db.tables import segments
from film.errors import DatabaseError
from film.types import RenderFlags
from flows import pool_worker
from flows.machine import process_identity
from flows.pools import worker_flow
from flows.run_reporter import RunReporter
from flows.worker.reaper import REAP_SECONDS, Reaper, reaping, release_dead
from flows.worker.warm_process import WarmProcess
from tests.db.farm import a_film
from tests.fakes import FakeRenderProcess, RecordingReporter
from tests.flows.worker.conftest import Bench
from tests.jobs import a_job, changed


def dead() -> str:
    """A process of this machine that is gone."""
    host, machine, pid, _ = process_identity.this_process().split("/")
    return f"{host}/{machine}/{pid}/1"


def test_leases_of_dead_processes_of_this_machine_are_released_at_once(bench: Bench) -> None:
    (film,) = bench.submit(a_film(segments_each=1))
    bench.rows.claim(dead())
    bench.rows.write(film_lease.attach_flow_run, bench.rows.claim_film(dead()), "run-1")
    reporter: RunReporter = bench.reporter
    Reaper(bench.farm, reporter).look()
    assert bench.statuses(film) == ["ready"]
    assert bench.rows.rows(film)[0].failures == 0
    assert bench.reporter.orphans == ["run-1"]
    assert release_dead(bench.farm.database) == []


def test_leases_of_other_machines_are_released_when_they_run_out(bench: Bench) -> None:
    (film,) = bench.submit(a_film(segments_each=1))
    lease = bench.rows.claim("host/another machine/1/1")
    Reaper(bench.farm, bench.reporter).look()
    assert bench.statuses(film) == ["leased"]
    bench.rows.run_out(lease)
    Reaper(bench.farm, bench.reporter).look()
    assert bench.statuses(film) == ["ready"]
    assert bench.rows.rows(film)[0].failures == 1


def test_the_leases_of_this_process_are_left_to_its_heartbeat(bench: Bench) -> None:
    (film,) = bench.submit(a_film(segments_each=1))
    lease = bench.rows.claim(bench.farm.owner)
    with bench.database.write() as connection:
        connection.execute(segments.update().values(lease_until=1.0))
    Reaper(bench.farm, bench.reporter).look()
    assert bench.statuses(film) == ["leased"]
    assert lease.attempt == 1


def test_it_looks_at_once_and_again(bench: Bench) -> None:
    (film,) = bench.submit(a_film(segments_each=1))
    bench.rows.claim(dead())
    reaper = reaping(bench.farm, RecordingReporter())
    assert reaper.call()
    assert bench.statuses(film) == ["ready"]
    bench.database.away = True
    assert not reaper.call()
    bench.database.away = False


@pytest.mark.parametrize(
    ("change", "processes"),
    [
        ({}, 1),
        ({"prompt": "another"}, 1),
        ({"seed": 9}, 1),
        ({"flags": RenderFlags(compile=True)}, 2),
    ],
)
def test_a_process_stays_warm_while_it_serves(
    bench: Bench, change: dict[str, Any], processes: int
) -> None:
    ended: list[bool] = []
    warm = WarmProcess(bench.farm.settings, bench._start)
    job = a_job(model="demo")
    first = warm.process_for(job, lambda: ended.append(True))
    second = warm.process_for(changed(job, **change), lambda: ended.append(True))
    assert len(bench.processes) == processes
    assert (first is second) == (processes == 1)
    assert ended == [True] * (processes - 1), "what it still encodes is waited for"
    assert warm.loaded
    warm.end()
    assert not warm.loaded
    assert isinstance(second, FakeRenderProcess)
    assert second.killed


def test_old_deployments_find_the_flow_of_a_pool() -> None:
    assert pool_worker.run_worker is worker_flow.run_worker


def test_after_an_outage_every_holder_has_the_time_of_a_lease(bench: Bench) -> None:
    (film,) = bench.submit(a_film(segments_each=1))
    now = [100.0]
    reaper = Reaper(bench.farm, bench.reporter, lambda: now[0])
    reaper.look()
    lease = bench.rows.claim("host/another machine/1/1")
    bench.rows.run_out(lease)
    bench.database.failing = 1
    with pytest.raises(DatabaseError):
        reaper.look()
    now[0] += REAP_SECONDS + bench.farm.settings.lease_seconds
    reaper.look()
    assert bench.statuses(film) == ["leased"], "its worker may be about to renew it"
    for _ in range(int(bench.farm.settings.lease_seconds)):
        now[0] += 1.0
        reaper.look()
    assert bench.statuses(film) == ["ready"]
    assert bench.rows.rows(film)[0].failures == 1
