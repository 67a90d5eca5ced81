"""A repeated action: called until the block ends, whatever it raises; failures are seen."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from flows.periodic import LeaseKeeper, Periodic, Stop


def until(event: threading.Event) -> None:
    """Waits for an event of the background thread."""
    assert event.wait(5)


def test_it_is_called_again_and_again_until_the_block_ends() -> None:
    calls, third = [], threading.Event()

    def action() -> None:
        calls.append(threading.current_thread().name)
        if len(calls) == 3:
            third.set()

    with Periodic("The test", 0.001, action):
        until(third)
    after = len(calls)
    time.sleep(0.02)
    assert len(calls) == after
    assert set(calls) == {"The test"}


def test_failures_are_logged_with_their_traceback_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failed: list[tuple[int, str]] = []
    third = threading.Event()

    def action() -> None:
        raise ValueError("broken")

    def on_failure(count: int, error: Exception) -> None:
        failed.append((count, str(error)))
        if count == 3:
            third.set()

    extra = {"worker": "gpu-0"}
    with (
        caplog.at_level(logging.WARNING),
        Periodic("The test", 0.001, action, on_failure=on_failure, extra=extra) as periodic,
    ):
        until(third)
    assert failed[:3] == [(1, "broken"), (2, "broken"), (3, "broken")]
    assert periodic.failures == periodic.total_failures >= 3
    first = caplog.records[0]
    assert first.getMessage() == "The test failed (1 in a row): broken"
    assert first.exc_info
    assert first.__dict__["worker"] == "gpu-0"


def test_an_outage_is_logged_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    periodic = Periodic("The test", 1.0, lambda: answers.pop(0)())
    recovered: list[int] = []
    periodic._on_recovery = recovered.append

    def fail() -> None:
        raise OSError("away")

    answers = [*[fail] * 5, lambda: None, lambda: None]
    with caplog.at_level(logging.WARNING):
        results = [periodic.call() for _ in range(7)]
    assert results == [False] * 5 + [True] * 2
    assert [r.getMessage() for r in caplog.records] == [
        "The test failed (1 in a row): away",
        "The test works again after 5 failures in 0 s",
    ]
    assert recovered == [5]
    assert periodic.failures == 0
    assert periodic.total_failures == 5


def test_a_long_outage_is_logged_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise OSError("away")

    periodic = Periodic("The test", 1.0, fail)
    with caplog.at_level(logging.WARNING):
        for _ in range(45):
            periodic.call()
    assert [r.getMessage() for r in caplog.records] == [
        f"The test failed ({count} in a row): away" for count in (1, 21, 41)
    ]


def test_a_failure_of_what_reports_the_recovery_is_a_failure() -> None:
    answers: list[Exception | None] = [OSError("away"), None, None]

    def action() -> None:
        answer = answers.pop(0)
        if answer:
            raise answer

    reports: list[int] = []

    def on_recovery(failures: int) -> None:
        reports.append(failures)
        if len(reports) == 1:
            raise OSError("still away")

    periodic = Periodic("The test", 1.0, action, on_recovery=on_recovery)
    assert [periodic.call() for _ in range(3)] == [False, False, True]
    assert reports == [1, 2]


def test_an_action_ends_the_repetition_with_stop() -> None:
    calls: list[int] = []

    def action() -> None:
        calls.append(1)
        raise Stop

    with Periodic("The test", 0.001, action, immediately=True) as periodic:
        periodic._thread.join(5)
        assert not periodic._thread.is_alive()
    assert calls == [1]
    assert periodic.failures == 0


def test_the_end_of_the_block_waits_no_longer_than_asked() -> None:
    entered, release = threading.Event(), threading.Event()

    def action() -> None:
        entered.set()
        release.wait(10)

    began = time.monotonic()
    with Periodic("The test", 0.001, action, wait_seconds=0.05):
        until(entered)
    assert time.monotonic() - began < 5
    release.set()


def test_a_lease_that_cannot_be_extended_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    answers = [True, True, False]
    with (
        caplog.at_level(logging.WARNING),
        LeaseKeeper("The lease", lambda: answers.pop(0), 0.003, {"film": "k-1"}) as keeper,
    ):
        until(keeper.lost)
        keeper._thread.join(5)
    assert answers == []
    assert caplog.records[-1].getMessage() == "The lease was lost"
    assert caplog.records[-1].__dict__["film"] == "k-1"


def test_a_database_that_is_away_loses_no_lease_by_itself() -> None:
    answered = threading.Event()
    answers = [OSError("away"), OSError("away"), True]

    def extend() -> bool:
        answer = answers.pop(0) if answers else True
        if isinstance(answer, OSError):
            raise answer
        answered.set()
        return True

    with LeaseKeeper("The lease", extend, 0.003) as keeper:
        until(answered)
    assert not keeper.lost.is_set()
    assert keeper.total_failures == 2


def test_a_lease_that_its_holder_ends_is_not_lost(caplog: pytest.LogCaptureFixture) -> None:
    ended = threading.Event()
    with (
        caplog.at_level(logging.WARNING),
        LeaseKeeper("The lease", lambda: not ended.is_set(), 0.003) as keeper,
    ):
        keeper.ending = True
        ended.set()
        keeper._thread.join(5)
        assert not keeper._thread.is_alive()
    assert not keeper.lost.is_set()
    assert caplog.records == []
