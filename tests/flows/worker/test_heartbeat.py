"""The heartbeat: leases renewed or lost, commands, restocking, a name that was taken, outages."""

from __future__ import annotations

import logging

import pytest

from db import events
from db.films import user_actions
from db.tables import segments
from db.tables import workers as worker_table
from db.workers import registry
from db.workers.registry import WorkerCommand, WorkerRow
from film.errors import DatabaseError
from flows.worker.heartbeat import REPORTED_AFTER, Hold
from tests.flows.worker.conftest import Bench


def row(bench: Bench) -> WorkerRow:
    """The worker as `longreel workers` lists it."""
    (found,) = bench.rows.read(registry.listing)
    return found  # type: ignore[no-any-return]


def hold(bench: Bench) -> Hold:
    """A segment that the worker claimed."""
    lease = bench.claimer.claim(None)
    assert lease is not None
    return bench.heartbeat.hold(lease)


def test_a_lease_is_renewed_with_its_progress(bench: Bench) -> None:
    (film,) = bench.submit()
    held = hold(bench)
    held.progress = 0.5
    with bench.database.write() as connection:
        connection.execute(segments.update().values(lease_until=segments.c.lease_until - 5))
    bench.heartbeat._extended -= 3600
    bench.heartbeat.beat()
    assert bench.rows.rows(film)[0].progress == 0.5
    assert not held.lost.is_set()


def test_a_lease_that_another_worker_has_is_lost(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.submit()
    held = hold(bench)
    with bench.database.write() as connection:
        connection.execute(segments.update().values(owner="another", attempt=2))
    with caplog.at_level(logging.WARNING):
        bench.heartbeat.beat()
    assert held.lost.is_set()
    (record,) = caplog.records
    assert (record.__dict__["segment"], record.__dict__["worker"]) == (1, "gpu-0")


def test_a_cancelled_film_loses_the_lease(bench: Bench) -> None:
    (film,) = bench.submit()
    held = hold(bench)
    bench.rows.write(user_actions.cancel, film)
    bench.heartbeat.beat()
    assert held.lost.is_set()


def test_a_lease_that_was_let_go_is_not_looked_at(bench: Bench) -> None:
    bench.submit()
    held = hold(bench)
    bench.heartbeat.let_go(held)
    bench.heartbeat.let_go(held)
    assert not bench.heartbeat.holding
    with bench.database.write() as connection:
        connection.execute(segments.update().values(owner="another"))
    bench.heartbeat.beat()
    assert not held.lost.is_set()


@pytest.mark.parametrize("command", [WorkerCommand.DRAIN, WorkerCommand.STOP])
def test_a_command_arrives_and_is_taken_back(bench: Bench, command: WorkerCommand) -> None:
    bench.rows.write(registry.order, "gpu-0", command)
    bench.heartbeat.beat()
    assert bench.heartbeat.command is command
    bench.rows.write(registry.order, "gpu-0", None)
    bench.heartbeat.beat()
    assert bench.heartbeat.command is None


def test_a_worker_that_drains_itself_says_why(bench: Bench) -> None:
    bench.heartbeat.drain("It is broken.")
    assert bench.heartbeat.command is WorkerCommand.DRAIN, "at once, not with the next beat"
    bench.heartbeat.beat()
    assert (row(bench).command, row(bench).error) == (WorkerCommand.DRAIN, "It is broken.")


def test_what_could_not_be_reported_is_reported_later(bench: Bench) -> None:
    bench.heartbeat.drain("It is broken.")
    bench.database.failing = 1
    with pytest.raises(DatabaseError):
        bench.heartbeat.beat()
    bench.heartbeat.beat()
    assert row(bench).error == "It is broken."


def test_new_weights_are_reported_once(bench: Bench) -> None:
    bench.heartbeat.restock(("demo", "mine"), ("demo@r1", "mine@r9"))
    bench.heartbeat.beat()
    assert row(bench).models == ("demo", "mine")
    with bench.database.write() as connection:
        connection.execute(worker_table.update().values(models=["changed"]))
    bench.heartbeat.beat()
    assert row(bench).models == ("changed",)


def test_a_worker_that_was_forgotten_registers_again(bench: Bench) -> None:
    with bench.database.write() as connection:
        connection.execute(worker_table.delete())
    bench.heartbeat.beat()
    assert row(bench).owner == bench.farm.owner
    assert bench.heartbeat.refused is None


def test_a_worker_whose_name_was_taken_is_refused(bench: Bench) -> None:
    with bench.database.write() as connection:
        connection.execute(worker_table.update().values(owner="another"))
    bench.heartbeat.beat()
    assert "running already" in str(bench.heartbeat.refused)


def test_a_heartbeat_that_keeps_failing_is_seen_by_operators(bench: Bench) -> None:
    (film,) = bench.submit()
    hold(bench)
    error = RuntimeError("a bug")
    for count in range(1, REPORTED_AFTER + 3):
        bench.heartbeat._failed(count, error)
    message = row(bench).error
    assert message == f"The heartbeat of worker gpu-0 failed {REPORTED_AFTER} times: a bug"
    kinds = [event.kind for event in bench.rows.read(events.of_film, film)]
    assert kinds.count("heartbeat") == 1
    bench.heartbeat._recovered(REPORTED_AFTER + 2)
    assert row(bench).error is None
    last = bench.rows.read(events.of_film, film)[-1]
    assert (last.kind, last.segment) == ("heartbeat", 0)
    assert "works again" in last.message


def test_a_short_failure_is_not_an_event(bench: Bench) -> None:
    (film,) = bench.submit()
    hold(bench)
    bench.heartbeat._failed(1, RuntimeError("a bug"))
    bench.heartbeat._recovered(1)
    assert row(bench).error is None
    assert "heartbeat" not in bench.rows.kinds(film)


def test_a_failure_that_cannot_be_recorded_is_logged(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.database.away = True
    with caplog.at_level(logging.ERROR):
        bench.heartbeat._failed(REPORTED_AFTER, DatabaseError("The database is away."))
    assert "could not be recorded" in caplog.records[-1].getMessage()
    bench.database.away = False


def test_the_reason_of_a_drained_worker_outlives_the_recovery(bench: Bench) -> None:
    bench.heartbeat.drain("It is broken.")
    bench.heartbeat.beat()
    bench.heartbeat._failed(REPORTED_AFTER, RuntimeError("a bug"))
    bench.heartbeat._recovered(REPORTED_AFTER)
    assert row(bench).error == "It is broken."
