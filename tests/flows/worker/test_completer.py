"""How segments end: in the database, for the reporter and for the worker, also during outages."""

from __future__ import annotations

import pytest

from db import events
from db.segments.claims import Lease
from film.errors import (
    BadPictureError,
    Cancelled,
    DatabaseError,
    FlagError,
    InputError,
    LongreelError,
    ObjectMissingError,
    OutOfMemoryError,
    RenderError,
    StoreUnreachableError,
    WorkerLostError,
)
from film.types import RunOutcome
from flows.worker.heartbeat import Hold
from flows.worker.segment_task import SegmentTask, prepare_task
from tests.db.farm import a_film, take_of
from tests.flows.worker.conftest import Bench


def held(bench: Bench) -> Hold:
    """A segment that the worker claimed."""
    lease = bench.claimer.claim(None)
    assert lease is not None
    return bench.heartbeat.hold(lease)


def prepared(bench: Bench) -> SegmentTask:
    """A segment that the worker claimed and prepared."""
    return prepare_task(bench.farm, held(bench))


@pytest.mark.parametrize(
    ("error", "status", "outcome", "failures"),
    [
        (Cancelled(), "ready", RunOutcome.CANCELLED, 0),
        (ObjectMissingError("Gone."), "ready", RunOutcome.CANCELLED, 0),
        (StoreUnreachableError("Away."), "ready", RunOutcome.CANCELLED, 0),
        (RenderError("No."), "ready", RunOutcome.FAILED, 1),
        (WorkerLostError("Died."), "ready", RunOutcome.FAILED, 1),
        (OutOfMemoryError("Full."), "ready", RunOutcome.FAILED, 1),
        (FlagError("No kernel."), "ready", RunOutcome.FAILED, 1),
        (InputError("Wrong."), "failed", RunOutcome.FAILED, 1),
        (BadPictureError("Black."), "failed", RunOutcome.FAILED, 1),
        (OSError(28, "No space left"), "ready", RunOutcome.CANCELLED, 0),
        (OSError(5, "Input/output error"), "ready", RunOutcome.FAILED, 1),
    ],
)
def test_a_segment_ends_as_the_verdict_says(
    bench: Bench, error: Exception, status: str, outcome: RunOutcome, failures: int
) -> None:
    (film,) = bench.submit()
    task = prepared(bench)
    bench.completer.abandon(task, error)
    assert bench.statuses(film) == [status]
    assert bench.rows.rows(film)[0].failures == failures
    assert bench.completer.failures == failures
    ((_, reported, message),) = bench.reporter.ended_segments
    assert reported is outcome
    assert message
    assert not bench.heartbeat.holding
    assert not task.path.exists()


def test_an_unstarted_segment_is_not_reported(bench: Bench) -> None:
    bench.submit()
    bench.completer.abandon_unstarted(held(bench), InputError("The picture is missing."))
    assert bench.reporter.ended_segments == []
    assert bench.completer.failures == 1


def test_the_database_is_told_later_what_it_missed(bench: Bench) -> None:
    (film,) = bench.submit()
    task = prepared(bench)
    bench.database.away = True
    bench.completer.abandon(task, RenderError("No."))
    bench.database.away = False
    assert bench.statuses(film) == ["leased"]
    assert bench.reporter.ended_segments[0][1] is RunOutcome.CRASHED
    assert bench.claimer.has_unreleased
    bench.claimer.release_lost([])
    lease = bench.claimer.claim(None)
    assert lease is not None
    assert lease.attempt == 2, "it was released, and claimed again"
    assert bench.rows.rows(film)[0].failures == 0


def test_a_take_that_cannot_be_recorded_before_the_lease_is_lost_is_given_up(bench: Bench) -> None:
    bench.submit()
    task = prepared(bench)
    bench.database.away = True
    task.hold.lost.set()
    with pytest.raises(DatabaseError):
        bench.completer.complete(task, take_of(task.job.segment.address))
    assert bench.completer.done == 0
    bench.database.away = False
    bench.completer.abandon(task, Cancelled())


def test_recording_a_take_ends_with_the_worker(bench: Bench) -> None:
    bench.submit()
    task = prepared(bench)
    bench.database.away = True
    bench.worker.stopping.set()
    with pytest.raises(DatabaseError):
        bench.completer.complete(task, take_of(task.job.segment.address))
    bench.database.away = False
    bench.completer.abandon(task, Cancelled())


def test_a_success_forgives_earlier_failures(bench: Bench) -> None:
    bench.submit(a_film(scenes=5, segments_each=1))
    for _ in range(2):
        bench.completer.abandon(prepared(bench), RenderError("No."))
    task = prepared(bench)
    bench.completer.complete(task, take_of(task.job.segment.address))
    for _ in range(2):
        bench.completer.abandon(prepared(bench), RenderError("No."))
    assert bench.worker.broken is None
    bench.completer.abandon(prepared(bench), RenderError("No."))
    assert bench.worker.broken is not None


def test_a_blameless_error_does_not_drain_the_worker(bench: Bench) -> None:
    bench.submit(a_film(scenes=4, segments_each=1))
    for _ in range(4):
        bench.completer.abandon(prepared(bench), WorkerLostError("Died."), blame=False)
    assert bench.worker.broken is None
    assert bench.completer.failures == 4


def test_failing_at_one_segment_again_and_again_does_not_drain_the_worker(bench: Bench) -> None:
    (film,) = bench.submit()
    for _ in range(3):
        bench.completer.abandon(prepared(bench), RenderError("No."))
    assert bench.statuses(film) == ["failed"]
    assert bench.worker.broken is None


def test_a_broken_worker_keeps_its_first_reason(bench: Bench) -> None:
    bench.submit(a_film(scenes=5, segments_each=1))
    for number in range(5):
        bench.completer.abandon(prepared(bench), RenderError(f"No {number}."))
    assert "No 2." in str(bench.worker.broken)


def test_retakes_are_counted_by_the_setting(bench: Bench) -> None:
    most = bench.farm.settings.retakes
    assert [bench.completer.retakes_left(n) for n in range(most + 1)] == [True] * most + [False]


def test_a_retake_is_an_event_of_its_segment(bench: Bench) -> None:
    (film,) = bench.submit()
    lease: Lease = held(bench).lease
    bench.completer.record_retake(lease, 2, BadPictureError("It is black."))
    (event,) = [e for e in bench.rows.read(events.of_film, film) if e.kind == "retake"]
    assert (event.segment, event.message) == (0, "Segment 1, retake 2: It is black.")


@pytest.mark.parametrize("error", [RenderError("No."), StoreUnreachableError("Away.")])
def test_after_an_error_the_worker_pauses(
    bench: Bench, error: LongreelError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.worker.completer.RETRY_SECONDS", 60.0)
    monkeypatch.setattr("flows.worker.completer.REAP_SECONDS", 60.0)
    bench.submit()
    bench.completer.abandon(prepared(bench), error)
    assert bench.claimer.paused


def test_after_a_segment_is_given_back_it_does_not_pause(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.worker.completer.RETRY_SECONDS", 60.0)
    bench.submit()
    bench.completer.abandon(prepared(bench), Cancelled())
    assert not bench.claimer.paused
