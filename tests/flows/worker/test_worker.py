"""A worker's turns: claim, render, store, retake, give back, drain, stop."""

from __future__ import annotations

import time as clock
from concurrent.futures import ThreadPoolExecutor
from datetime import time
from pathlib import Path

import pytest

from db import events
from db.films import user_actions
from db.segments import takes
from db.tables import films as film_table
from db.tables import segments
from db.workers import registry
from db.workers.registry import WorkerCommand, WorkerState
from film.errors import (
    BadPictureError,
    InputError,
    LongreelError,
    OutOfMemoryError,
    RenderError,
    StoreError,
    StoreFullError,
    StoreUnreachableError,
)
from film.quiet import parse_quiet
from film.types import RenderJob, RunOutcome
from flows.worker import worker as worker_module
from flows.worker.failure_policy import RETAKE_STRIDE
from flows.worker.render_process import Rendering, Watch
from renderer.process import messages
from renderer.protocol import Rendered
from tests.db.farm import a_film
from tests.fakes import dies, fails, fails_encoding, hangs, renders
from tests.flows.worker.conftest import Bench, MakeBench, files

BAD = BadPictureError("Seed 7 gave a picture that is black.")


def kinds(bench: Bench, film: str) -> list[str]:
    """What happened to a film."""
    return bench.rows.kinds(film)


def test_a_ready_segment_is_rendered_stored_and_recorded(bench: Bench) -> None:
    (film,) = bench.submit()
    bench.turn()
    assert bench.statuses(film) == ["done"]
    (take,) = bench.rows.read(takes.of_film, film)
    assert take.made_by == {"render_seconds": 1.0, "worker": "gpu-0"}
    assert bench.farm.store.head(take.video_key) is not None
    assert bench.farm.store.head(take.tail_key) is not None
    assert bench.worker.done == 1
    assert bench.reporter.ended_segments == [(1, RunOutcome.COMPLETED, None)]
    assert not bench.heartbeat.holding
    assert not files(bench.farm.scratch.open())[1:], "its files are removed"


def test_segments_of_a_chain_follow_one_another_from_tail_to_tail(bench: Bench) -> None:
    (film,) = bench.submit(a_film(segments_each=3))
    bench.turn(3)
    assert bench.statuses(film) == ["done"] * 3
    assert [job.files.tail is not None for job in bench.process.jobs] == [False, True, True]
    assert len(bench.processes) == 1, "the process stays warm"


def test_without_work_it_looks_again(bench: Bench) -> None:
    bench.turn(3)
    assert bench.processes == []
    assert bench.reporter.started_segments == []
    assert bench.status().state is WorkerState.IDLE


def test_the_next_segment_is_claimed_while_one_is_rendered(bench: Bench) -> None:
    bench.submit(a_film(scenes=2, segments_each=1))
    bench.turn()
    assert bench.worker._ahead is not None
    ahead = bench.worker._ahead.result()
    assert ahead is not None
    assert ahead.lease.position == 1
    assert bench.heartbeat.holding


def test_a_segment_that_was_claimed_ahead_is_given_back_when_it_drains(bench: Bench) -> None:
    (film,) = bench.submit(a_film(scenes=2, segments_each=1))
    bench.turn()
    bench.heartbeat.command = WorkerCommand.DRAIN
    bench.turn()
    assert bench.statuses(film) == ["done", "ready"]
    assert bench.worker.drained
    assert bench.worker._completer.failures == 0
    assert bench.reporter.started_segments == [1], "it was never started"
    assert bench.status().state is WorkerState.DRAINED


def test_a_bad_picture_is_rendered_again_with_other_seeds(bench: Bench) -> None:
    (film,) = bench.submit()
    bench.script.extend([fails(BAD), fails(BAD), renders])
    bench.turn()
    seeds = [job.segment.seed for job in bench.process.jobs]
    assert [seed - seeds[0] for seed in seeds] == [0, RETAKE_STRIDE, 2 * RETAKE_STRIDE]
    (take,) = bench.rows.read(takes.of_film, film)
    assert (take.made_by["retake"], take.made_by["seed"]) == (2, seeds[2])
    assert kinds(bench, film).count("retake") == 2
    assert bench.reporter.ended_segments == [(1, RunOutcome.COMPLETED, None)]


def test_a_picture_that_stays_bad_fails_at_once_after_its_retakes(bench: Bench) -> None:
    (film,) = bench.submit()
    bench.script.extend([fails(BAD)] * 3)
    bench.turn()
    assert bench.statuses(film) == ["failed"]
    assert len(bench.process.jobs) == 3
    assert bench.reporter.ended_segments == [(1, RunOutcome.FAILED, str(BAD))]


def test_a_picture_that_is_seen_to_be_bad_while_encoding_is_rendered_again(bench: Bench) -> None:
    (film,) = bench.submit()
    bench.script.extend([fails_encoding(BAD), renders])
    bench.turn()
    assert bench.statuses(film) == ["leased"]
    bench.turn()
    assert bench.statuses(film) == ["done"]
    seeds = [job.segment.seed for job in bench.process.jobs]
    assert seeds[1] - seeds[0] == RETAKE_STRIDE
    assert bench.reporter.started_segments == [1], "it is one attempt"


def test_retakes_while_denoising_and_encoding_count_together(bench: Bench) -> None:
    (film,) = bench.submit()
    bench.script.extend([fails(BAD), fails_encoding(BAD), fails_encoding(BAD), renders])
    bench.turn(4)
    assert bench.statuses(film) == ["failed"]
    assert len(bench.process.jobs) == 3


def test_a_retake_that_cannot_be_recorded_gives_the_segment_back(bench: Bench) -> None:
    (film,) = bench.submit()

    def bad_while_away(job: object, scratch: object) -> list[object]:
        bench.database.away = True
        return list(fails_encoding(BAD)(job, scratch))  # type: ignore[arg-type]

    bench.script.append(bad_while_away)  # type: ignore[arg-type]
    bench.turn()
    bench.database.away = False
    assert bench.statuses(film) == ["leased"]
    assert not bench.heartbeat.holding
    bench.turn()
    assert bench.statuses(film) == ["done"], "it was released with the next claim"


def test_a_process_that_dies_costs_an_attempt_and_is_replaced(bench: Bench) -> None:
    (film,) = bench.submit()
    bench.script.append(dies)
    bench.turn()
    assert bench.statuses(film) == ["ready"]
    bench.processes[0].killed = True
    bench.turn()
    assert bench.statuses(film) == ["done"]
    assert len(bench.processes) == 2
    assert bench.rows.rows(film)[0].failures == 1


def test_a_segment_fails_when_its_attempts_are_used_up(bench: Bench) -> None:
    (film,) = bench.submit()
    bench.script.extend([fails(RenderError("No."))] * 3)
    bench.turn(5)
    assert bench.statuses(film) == ["failed"]
    assert len(bench.process.jobs) == 3
    assert bench.worker._completer.failures == 3


def test_work_that_takes_too_much_memory_is_skipped_for_a_while(bench: Bench) -> None:
    (film,) = bench.submit(a_film(scenes=2, segments_each=1))
    bench.script.append(fails(OutOfMemoryError("Too little memory.")))
    bench.turn(4)
    assert len(bench.process.jobs) == 1, "the other segment is of the same kind"
    assert bench.statuses(film) == ["ready", "ready"]


def test_a_store_that_is_away_costs_no_attempt(bench: Bench) -> None:
    (film,) = bench.submit()
    bench.store.error = StoreUnreachableError("The store is away.")
    bench.turn(2)
    assert bench.statuses(film) == ["ready"]
    assert bench.rows.rows(film)[0].failures == 0
    bench.store.error = None
    bench.turn()
    assert bench.statuses(film) == ["done"]


@pytest.mark.parametrize(
    "error", [StoreFullError("The store is full."), StoreUnreachableError("The store is away.")]
)
def test_a_store_that_is_full_or_away_is_waited_for_and_named(
    bench: Bench, error: StoreError
) -> None:
    (film,) = bench.submit(a_film(scenes=4, segments_each=1))
    bench.store.error = error
    bench.turn(6)
    assert bench.worker._completer.failures == 0
    assert bench.worker.broken is None
    (row,) = bench.rows.read(registry.living)
    assert row.error
    assert row.error.startswith("Waiting since ")
    assert row.error.endswith(str(error))
    assert kinds(bench, film).count("waiting") == 1
    bench.store.error = None
    bench.turn()
    (row,) = bench.rows.read(registry.living)
    assert row.error is None


def test_a_worker_that_fails_at_three_segments_in_a_row_drains_itself(bench: Bench) -> None:
    (film,) = bench.submit(a_film(scenes=4, segments_each=1))
    bench.script.extend([fails(RenderError("The GPU is ill."))] * 12)
    bench.turn(6)
    assert len({job.segment_id for job in bench.process.jobs}) == 3
    assert "The GPU is ill." in str(bench.worker.broken)
    bench.heartbeat.beat()
    (row,) = bench.rows.read(registry.living)
    assert row.command is WorkerCommand.DRAIN
    assert row.error == str(bench.worker.broken)
    assert "drained" in kinds(bench, film)
    bench.rows.write(registry.order, "gpu-0", None)
    bench.heartbeat.beat()
    bench.script.clear()
    bench.turn(5)
    assert bench.worker.broken is None
    assert bench.statuses(film) == ["done"] * 4


def test_a_success_between_failures_keeps_the_worker(bench: Bench) -> None:
    bench.submit(a_film(scenes=6, segments_each=1))
    ill = fails(RenderError("No."))
    bench.script.extend([ill, ill, renders, ill, ill, renders])
    bench.turn(6)
    assert bench.worker.broken is None


def test_bad_input_never_blames_the_worker(bench: Bench) -> None:
    (film,) = bench.submit(a_film(scenes=4, segments_each=1))
    bench.script.extend([fails(InputError("The LoRA does not fit."))] * 4)
    bench.turn(5)
    assert bench.statuses(film) == ["failed"] * 4
    assert bench.worker.broken is None


def test_a_process_that_dies_while_encoding_is_not_the_next_segments_fault(bench: Bench) -> None:
    bench.submit(a_film(scenes=4, segments_each=1))

    def dies_encoding(job: object, scratch: object) -> list[object]:
        from renderer.process import messages

        return [messages.Pictured(job=messages.key_of(job)), *dies(job, scratch)]  # type: ignore[arg-type]

    bench.script.extend([dies_encoding] * 4)  # type: ignore[list-item]
    bench.turn(4)
    assert bench.worker._completer.failures >= 3
    assert bench.worker.broken is None


def test_a_database_that_is_away_while_claiming_is_waited_for(bench: Bench) -> None:
    (film,) = bench.submit()
    bench.database.away = True
    bench.turn(3)
    assert bench.processes == []
    bench.database.away = False
    bench.turn()
    assert bench.statuses(film) == ["done"]


def test_a_take_is_recorded_although_the_database_was_away(bench: Bench) -> None:
    (film,) = bench.submit()

    def renders_while_away(job: object, scratch: object) -> list[object]:
        bench.database.failing = 3
        return list(renders(job, scratch))  # type: ignore[arg-type]

    bench.script.append(renders_while_away)  # type: ignore[arg-type]
    bench.turn()
    assert bench.statuses(film) == ["done"]
    assert len(bench.process.jobs) == 1


def test_a_film_that_was_cancelled_takes_its_segment_away(bench: Bench) -> None:
    (film,) = bench.submit()

    def cancelled(job: object, scratch: object) -> list[object]:
        bench.rows.write(user_actions.cancel, film)
        bench.heartbeat.beat()
        return []

    bench.script.append(cancelled)  # type: ignore[arg-type]
    bench.turn()
    assert bench.process.given_up == [(1, 1)]
    assert bench.statuses(film) == ["cancelled"]
    assert bench.reporter.ended_segments == [(1, RunOutcome.CANCELLED, "Given back")]
    assert bench.worker._completer.failures == 0


def test_a_lease_that_is_lost_before_storing_stores_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.submit()
    files_of = Rendering.files

    def loses(rendering: Rendering, watch: Watch) -> Rendered:
        (hold,) = bench.heartbeat._holds
        hold.lost.set()
        return files_of(rendering, watch)

    monkeypatch.setattr(Rendering, "files", loses)
    bench.turn()
    assert bench.worker.done == 0
    assert files(bench.farm.settings.home / "store" / "takes") == []
    assert bench.reporter.ended_segments == [(1, RunOutcome.CANCELLED, "Given back")]


def test_a_lease_that_is_lost_while_recording_counts_for_nothing(bench: Bench) -> None:
    (film,) = bench.submit()

    def taken_over(job: object, scratch: object) -> list[object]:
        with bench.database._database.write() as connection:
            connection.execute(segments.update().values(attempt=2, owner="another"))
        return list(renders(job, scratch))  # type: ignore[arg-type]

    bench.script.append(taken_over)  # type: ignore[arg-type]
    bench.turn()
    assert bench.statuses(film) == ["leased"]
    assert bench.worker.done == 0
    assert bench.reporter.ended_segments == [(1, RunOutcome.CANCELLED, None)]


@pytest.mark.parametrize("how", ["stop", "end"])
def test_a_stop_gives_back_what_is_being_rendered(bench: Bench, how: str) -> None:
    (film,) = bench.submit()

    def stopped(job: object, scratch: object) -> list[object]:
        if how == "stop":
            bench.heartbeat.command = WorkerCommand.STOP
        else:
            bench.worker.stopping.set()
        return list(hangs(job, scratch))  # type: ignore[arg-type]

    bench.script.append(stopped)  # type: ignore[arg-type]
    bench.turn()
    assert bench.statuses(film) == ["ready"]
    assert bench.rows.rows(film)[0].failures == 0
    assert bench.process.given_up == [(1, 1)]
    assert "error" not in kinds(bench, film)


def test_the_end_gives_back_a_segment_that_waits_for_a_retake(bench: Bench) -> None:
    (film,) = bench.submit()
    bench.script.append(fails_encoding(BAD))
    bench.turn()
    bench.end()
    assert bench.statuses(film) == ["ready"]
    assert bench.reporter.ended_segments == [(1, RunOutcome.CANCELLED, "Given back")]
    assert bench.process.killed


def test_a_worker_whose_name_was_taken_ends_with_the_reason(bench: Bench) -> None:
    bench.heartbeat.refused = InputError("A worker named 'gpu-0' is running already.")
    with pytest.raises(InputError, match="running already"):
        bench.turn()


def test_in_quiet_hours_it_claims_nothing(make_bench: MakeBench) -> None:
    clock = [time(23, 0)]
    bench = make_bench(quiet=parse_quiet("22:00-07:00"), now=lambda: clock[0])
    (film,) = bench.submit()
    bench.turn(2)
    assert bench.statuses(film) == ["ready"]
    assert bench.status().state is WorkerState.QUIET
    clock[0] = time(7, 1)
    bench.turn()
    assert bench.statuses(film) == ["done"]


def test_a_worker_for_one_segment_renders_one(make_bench: MakeBench) -> None:
    bench = make_bench(once=True)
    (film,) = bench.submit(a_film(scenes=2, segments_each=1))
    assert not bench.worker.finished
    bench.turn(3)
    assert bench.worker.finished
    assert sorted(bench.statuses(film)) == ["done", "ready"]


def test_a_worker_for_one_segment_ends_if_there_is_none(make_bench: MakeBench) -> None:
    bench = make_bench(once=True)
    bench.turn()
    assert bench.worker.finished
    assert not bench.worker.started


def test_another_setup_takes_another_process(bench: Bench) -> None:
    bench.submit()
    bench.turn()
    bench.processes[0].setup = bench.processes[0].setup.replace(threads=9)
    bench.submit(a_film(segments_each=1, tag="y"))
    bench.turn()
    assert [process.killed for process in bench.processes] == [True, False]


def test_its_status_names_the_segment_and_the_step(bench: Bench) -> None:
    seen = []
    bench.submit()

    def looks(job: object, scratch: object) -> list[object]:
        seen.append(bench.status())
        return list(renders(job, scratch))  # type: ignore[arg-type]

    bench.script.append(looks)  # type: ignore[arg-type]
    bench.turn()
    (status,) = seen
    assert (status.state, status.position) == (WorkerState.RENDERING, 0)
    after = bench.status()
    assert (after.state, after.film_id, after.segments_done) == (WorkerState.IDLE, None, 1)


def test_an_error_that_is_not_ours_is_named_with_its_kind(bench: Bench) -> None:
    (film,) = bench.submit()
    bench.store.error = ValueError("not a URL")
    bench.turn()
    (event,) = [e for e in bench.rows.read(events.of_film, film) if e.kind == "error"]
    assert "ValueError: not a URL" in event.message
    assert "Traceback" in event.detail


def test_a_claim_whose_answer_was_lost_costs_nothing(bench: Bench) -> None:
    (film,) = bench.submit()
    bench.database.unanswered = 1
    bench.turn()
    assert bench.statuses(film) == ["leased"], "the database has leased it"
    bench.turn(2)
    assert bench.statuses(film) == ["done"]
    assert bench.rows.rows(film)[0].failures == 0


@pytest.mark.parametrize("end", ["drained", "stopped"])
def test_a_lost_answer_leaves_no_lease_with_a_worker_that_claims_no_more(
    bench: Bench, end: str
) -> None:
    (film,) = bench.submit()
    bench.database.unanswered = 1
    bench.turn()
    if end == "drained":
        bench.heartbeat.drain("broken")
        bench.turn()
    else:
        bench.end()
    assert bench.statuses(film) == ["ready"]


@pytest.mark.parametrize("unanswered", [1, 2])
def test_a_take_whose_answer_was_lost_is_recorded_once(bench: Bench, unanswered: int) -> None:
    (film,) = bench.submit()

    def lose_answers(job: RenderJob, scratch: Path) -> list[messages.JobMessage | LongreelError]:
        bench.database.unanswered = unanswered
        return renders(job, scratch)

    bench.script.append(lose_answers)
    bench.turn(2)
    assert bench.statuses(film) == ["done"]
    row = bench.rows.rows(film)[0]
    assert (row.attempt, row.failures) == (1, 0)
    assert bench.worker.done == 1


def test_a_film_of_another_version_is_left_to_workers_of_that_version(bench: Bench) -> None:
    newer, mine = bench.submit(a_film(segments_each=1, tag="a"), a_film(segments_each=1, tag="b"))
    with bench.database.write() as connection:
        connection.execute(
            film_table.update().where(film_table.c.id == newer).values(plan={"version": 99})
        )
    bench.turn(3)
    assert bench.statuses(mine) == ["done"]
    assert bench.statuses(newer) == ["ready"]
    assert bench.rows.rows(newer)[0].failures == 0
    assert bench.worker.broken is None


def test_a_worker_stops_although_the_store_does_not_answer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker_module, "CLOSING_SECONDS", 0.1)
    (film,) = bench.submit()
    bench.store.answers.clear()
    threads = ThreadPoolExecutor(4)
    bench.worker.turn(threads)
    assert bench.statuses(film) == ["leased"]
    began = clock.monotonic()
    bench.end()
    assert clock.monotonic() - began < 5
    assert bench.statuses(film) == ["ready"]
    assert "Stopping without 1 segment, which waits" in caplog.text
    bench.store.answers.set()
    threads.shutdown()
    assert bench.statuses(film) == ["ready"], "what comes too late counts for nothing"
