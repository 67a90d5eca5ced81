"""A worker: claims segments one after another and has its rendering process render them.

Everything but rendering runs in parallel with it: while a segment renders, the next one is claimed
and its inputs are fetched, and the one before is encoded, stored and recorded.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime
from datetime import time as time_of_day
from typing import Any

from db.segments import segment_lease
from db.workers.registry import Registration, WorkerCommand, WorkerNews, WorkerState
from film.errors import BadPictureError, Cancelled, DatabaseError, RenderError, WorkerLostError
from film.logs import ids
from film.quiet import QuietHours
from film.types import counted
from flows.farm import Farm
from flows.model_catalog.inventory import Stock
from flows.run_reporter import RunReporter
from flows.worker.budget_keeper import keeping_budgets
from flows.worker.claimer import Claimer
from flows.worker.completer import RETRY_SECONDS, Completer
from flows.worker.heartbeat import Heartbeat
from flows.worker.reaper import reaping
from flows.worker.render_process import (
    Rendering,
    SpawnedRenderProcess,
    StartProcess,
    received_error,
)
from flows.worker.segment_task import RenderedTask, SegmentTask, prepare_task, store_take
from flows.worker.warm_process import WarmProcess
from renderer.process import messages

logger = logging.getLogger(__name__)

IDLE_SECONDS = 0.2
"""Pause between two looks for work or for a reason to stop."""
AHEAD_SECONDS = 3.0
"""How long before the end of a segment the next one is claimed. Not earlier, because another worker
may be free first."""
CLOSING_SECONDS = 10.0
"""How long a worker that stops waits for segments that are being fetched or stored."""
UNSTORED = 2
"""Number of segments that may wait to be stored before the next one is rendered."""


class Worker:
    """Renders ready segments until it is stopped. One per GPU."""

    def __init__(
        self,
        farm: Farm,
        me: Registration,
        *,
        reporter: RunReporter,
        claimer: Claimer,
        heartbeat: Callable[[Callable[[], WorkerNews]], Heartbeat],
        start_process: StartProcess,
        background: Sequence[AbstractContextManager[object]] = (),
        quiet: QuietHours | None = None,
        once: bool = False,
        now: Callable[[], time_of_day] = lambda: datetime.now().time(),
    ) -> None:
        """`me` is registered already. `heartbeat` makes the heartbeat that reports the status it is
        given. `background` runs while the worker does. `once`: one segment only. `now`: the local
        time, for quiet hours."""
        self._farm = farm
        self._me = me
        self._reporter = reporter
        self._claimer = claimer
        self._background = background
        self._quiet = quiet
        self._once = once
        self._now = now
        self._found_nothing = False
        self.stopping = threading.Event()
        self.started = False
        """True once it has started to render a segment."""
        self.ready_at: float | None = None
        """When the model was loaded, by `time.monotonic`; None before."""
        self._heartbeat = heartbeat(self._status)
        self._completer = Completer(
            farm,
            me,
            reporter=reporter,
            heartbeat=self._heartbeat,
            claimer=claimer,
            stopping=self.stopping,
        )
        self._warm = WarmProcess(farm.settings, start_process)
        self._warm_kind: str | None = None
        self._current: SegmentTask | None = None
        self._step: tuple[int, int] | None = None
        self._ahead: Future[SegmentTask | None] | None = None
        self._unstored: list[Future[None]] = []
        self._retakes: deque[RenderedTask] = deque()
        """Segments whose pictures turned out to be bad while they were encoded."""
        self._busy_seconds, self._counted_at = 0.0, time.monotonic()

    @property
    def done(self) -> int:
        """Number of takes that it recorded."""
        return self._completer.done

    @property
    def broken(self) -> RenderError | None:
        """Why it drained itself; None if it did not, or was resumed."""
        return self._completer.broken

    @property
    def drained(self) -> bool:
        """True if it holds nothing and claims nothing until it is resumed."""
        return self._heartbeat.command is not None and not self._heartbeat.holding

    @property
    def finished(self) -> bool:
        """True if it was to render one segment, and has, or found none."""
        return self._once and self._had_its_one and not self._heartbeat.holding

    def run(self) -> None:
        """Claims and renders until `stopping` is set, then gives back what it holds.

        Raises `InputError` if it was considered lost and another worker has its name.
        """
        with ExitStack() as stack:
            for part in self._background:
                stack.enter_context(part)
            stack.enter_context(self._heartbeat)  # until the last lease is ended
            threads = ThreadPoolExecutor(2 + UNSTORED)
            try:
                while not self.stopping.is_set():
                    self.turn(threads)
            finally:
                closed = self._close()
                threads.shutdown(wait=closed, cancel_futures=True)

    def _close(self) -> bool:
        """Ends what it holds; False if a thread still waits for a part that does not answer."""
        pending: list[Future[Any]] = [*self._unstored]
        if self._ahead:
            pending.append(self._ahead)
        _, stuck = wait(pending, CLOSING_SECONDS)
        if stuck:
            self._leave_stuck(len(stuck))
        else:
            self._give_back_ahead()
            self._await_stored()
        for retake in self._retakes:
            self._completer.abandon(retake.task, Cancelled())
        self._release_lost()
        self._warm.end()
        return not stuck

    def _leave_stuck(self, count: int) -> None:
        """Gives back what threads hold that wait for a part which does not answer."""
        message = "Stopping without %s, which waits for a part that did not answer in %g s"
        logger.warning(message, counted(count, "segment"), CLOSING_SECONDS, extra=self._me_ids)
        try:
            with self._farm.database.write() as connection:
                segment_lease.release_owner(connection, self._me.owner)
        except DatabaseError as error:
            message = "It was not given back, so that its lease must run out: %s"
            logger.warning(message, error, extra=self._me_ids)

    def turn(self, threads: ThreadPoolExecutor) -> None:
        """Renders one segment, or looks for one. Raises as `run` does."""
        if self._heartbeat.refused:
            raise self._heartbeat.refused
        self._notice_resume()
        self._release_lost()
        if self._retakes:
            again = self._retakes.popleft()
            self._work(again.task, again.retake + 1, threads)
            return
        if not self._may_claim:
            self._give_back_ahead()
            self._found_nothing = self._found_nothing or self._is_quiet
            self.stopping.wait(IDLE_SECONDS)
            return
        self._completer.ended.clear()
        task = self._next_task()
        if task is None:
            self._completer.ended.wait(IDLE_SECONDS)
            return
        self.started = True
        self._reporter.started(task.lease)
        logger.info("Segment started", extra=self._ids(task))
        self._work(task, 0, threads)

    def _work(self, task: SegmentTask, retake: int, threads: ThreadPoolExecutor) -> None:
        """Renders a segment; another thread stores it while the next one is rendered."""
        self._current = task
        try:
            done = self._render(task, retake, threads)
        except Exception as error:  # noqa: BLE001  (whatever it is, the segment must be ended)
            self._completer.abandon(task, error)
        else:
            self._unstored.append(threads.submit(self._store, done))
            self._await_stored(UNSTORED)
        finally:
            self._current = self._step = None

    def _release_lost(self) -> None:
        """Gives back what the database leased to this worker without its knowledge, also if it is
        to claim nothing more."""
        if not self._claimer.has_unreleased or self._ahead is not None:
            return
        try:
            self._claimer.release_lost(self._heartbeat.leases)
        except DatabaseError as error:
            logger.warning("Lost leases are not released yet: %s", error, extra=self._me_ids)
            self._claimer.pause(RETRY_SECONDS)

    def _notice_resume(self) -> None:
        if self.broken and self._heartbeat.command is None:
            self._completer.resume()

    @property
    def _may_claim(self) -> bool:
        if self._heartbeat.command or self._claimer.paused:
            return False
        if self._once and self._had_its_one:
            return False
        return not (self._is_quiet or self.stopping.is_set())

    @property
    def _had_its_one(self) -> bool:
        return self.started or self._found_nothing

    @property
    def _is_quiet(self) -> bool:
        return self._quiet is not None and self._quiet.hold(self._now())

    def _next_task(self) -> SegmentTask | None:
        """The segment that was claimed ahead, else one that is claimed now."""
        ahead, self._ahead = self._ahead, None
        return (ahead.result() if ahead else None) or self._claim_task()

    def _claim_task(self) -> SegmentTask | None:
        """Claims a segment and fetches its inputs; None if there is none."""
        if not self._may_claim:
            return None
        try:
            lease = self._claimer.claim(self._warm_kind)
        except DatabaseError as error:
            logger.warning("Nothing could be claimed: %s", error, extra=self._me_ids)
            self._claimer.pause(RETRY_SECONDS)
            return None
        if lease is None:
            self._found_nothing = True
            return None
        hold = self._heartbeat.hold(lease)
        try:
            return prepare_task(self._farm, hold)
        except Exception as error:  # noqa: BLE001  (whatever it is, the segment must be ended)
            self._completer.abandon_unstarted(hold, error)
            return None

    def _claim_ahead(self, threads: ThreadPoolExecutor) -> None:
        """Claims the next segment while this one is rendered.

        It cannot be the one that continues this one, which is not ready before this one is stored.
        """
        if self._ahead is None and self._may_claim:
            self._ahead = threads.submit(self._claim_task)

    def _give_back_ahead(self) -> None:
        ahead, self._ahead = self._ahead, None
        task = ahead.result() if ahead else None
        if task is not None:
            task.close()
            self._completer.abandon_unstarted(task.hold, Cancelled())

    def _render(self, task: SegmentTask, retake: int, threads: ThreadPoolExecutor) -> RenderedTask:
        """Denoises the segment; a bad picture is rendered again with other seeds.

        Raises `RenderError`, or `Cancelled` if the worker stops or the lease is lost.
        """
        self._warm_kind = task.lease.kind
        while True:
            try:
                return RenderedTask(task, self._denoise(task, retake, threads), retake)
            except BadPictureError as error:
                if not self._completer.retakes_left(retake):
                    raise
                retake += 1
                self._completer.record_retake(task.lease, retake, error)

    def _denoise(self, task: SegmentTask, retake: int, threads: ThreadPoolExecutor) -> Rendering:
        """Returns once the frames are denoised. Raises as `_render` does."""
        job = task.retake(retake)
        process = self._warm.process_for(job, self._await_stored)
        rendering = process.begin(job, task.path, self._ids(task))
        watch = self._warm.watch(process)
        started = time.monotonic()
        while True:
            message = rendering.receive(IDLE_SECONDS)
            self.ready_at = self.ready_at or process.ready_at
            if self._must_leave(task):
                process.give_up(rendering)
                raise Cancelled
            if message is None:
                watch.require_moving()
                continue
            watch.note_progress()
            if isinstance(message, messages.Progress):
                self._step = message.step, message.steps
                task.hold.progress = message.step / message.steps
                pace = (time.monotonic() - started) / message.step
                if pace * (message.steps - message.step) < AHEAD_SECONDS:
                    self._claim_ahead(threads)
            elif isinstance(message, messages.Pictured):
                return rendering
            elif isinstance(message, messages.Failed):
                raise received_error(message)

    def _must_leave(self, task: SegmentTask) -> bool:
        stopped = self._heartbeat.command is WorkerCommand.STOP
        return stopped or self.stopping.is_set() or task.hold.lost.is_set()

    def _store(self, done: RenderedTask) -> None:
        """From denoised frames to the recorded take. Every error ends the segment."""
        try:
            rendered = done.rendering.files(self._warm.watch(done.rendering.process))
            take = store_take(self._farm, done, rendered, self._me.name)
            self._completer.complete(done.task, take)
        except BadPictureError as error:
            self._retake_later(done, error)
        except Exception as error:  # noqa: BLE001  (whatever it is, the segment must be ended)
            # A process that dies takes along the segment that it encodes, which is not the cause.
            blame = not isinstance(error, WorkerLostError)
            self._completer.abandon(done.task, error, blame=blame)

    def _retake_later(self, done: RenderedTask, error: BadPictureError) -> None:
        """Has a bad picture rendered again after the segment that is being rendered now."""
        if not self._completer.retakes_left(done.retake):
            self._completer.abandon(done.task, error)
            return
        try:
            self._completer.record_retake(done.task.lease, done.retake + 1, error)
        except DatabaseError as away:
            self._completer.abandon(done.task, away)
            return
        if self.stopping.is_set():
            self._completer.abandon(done.task, Cancelled())
            return
        self._retakes.append(done)
        self._completer.ended.set()

    def _await_stored(self, most: int = 0) -> None:
        """Waits until at most `most` segments are still to be stored, or, if there may be any left,
        until the worker stops."""
        while True:
            self._unstored = [future for future in self._unstored if not future.done()]
            if len(self._unstored) <= most:
                return
            if most == 0:
                self._unstored[0].result()
            elif self.stopping.wait(IDLE_SECONDS):
                return

    @property
    def _me_ids(self) -> dict[str, object]:
        return ids(worker=self._me.name)

    def _ids(self, task: SegmentTask) -> dict[str, object]:
        return {**task.lease.log_ids, "worker": self._me.name}

    def _status(self) -> WorkerNews:
        """What the heartbeat reports. It also counts the time with a segment in hand."""
        now = time.monotonic()
        if self._heartbeat.holding:
            self._busy_seconds += now - self._counted_at
        self._counted_at = now
        task, step = self._current, self._step
        return WorkerNews(
            state=self._state(),
            warm=self._warm_kind if self._warm.loaded else None,
            film_id=task.lease.film_id if task else None,
            position=task.lease.position if task else None,
            step=step[0] if step else None,
            steps=step[1] if step else None,
            segments_done=self._completer.done,
            busy_seconds=self._busy_seconds,
            failures=self._completer.failures,
        )

    def _state(self) -> WorkerState:
        if self._heartbeat.command is not None:
            if self._heartbeat.holding:
                return WorkerState.DRAINING
            stopped = self._heartbeat.command is WorkerCommand.STOP
            return WorkerState.STOPPED if stopped else WorkerState.DRAINED
        if self._current is not None:
            return WorkerState.RENDERING if self._warm.loaded else WorkerState.LOADING
        return WorkerState.QUIET if self._is_quiet else WorkerState.IDLE


def create_worker(
    farm: Farm,
    me: Registration,
    stock: Stock,
    reporter: RunReporter,
    *,
    campaigns: Sequence[str] | None = None,
    quiet: QuietHours | None = None,
    once: bool = False,
    start_process: StartProcess = SpawnedRenderProcess,
) -> Worker:
    """A worker with all its parts. `campaigns`: ids of the only ones it renders, None for all."""
    heartbeats: list[Heartbeat] = []

    def heartbeat(status: Callable[[], WorkerNews]) -> Heartbeat:
        heartbeats.append(Heartbeat(farm, me, status))
        return heartbeats[0]

    def restock(models: tuple[str, ...], weights: tuple[str, ...]) -> None:
        heartbeats[0].restock(models, weights)

    return Worker(
        farm,
        me,
        reporter=reporter,
        claimer=Claimer(farm, me, stock, campaigns),
        heartbeat=heartbeat,
        start_process=start_process,
        background=[reaping(farm, reporter), keeping_budgets(farm), stock.watching(restock)],
        quiet=quiet,
        once=once,
    )
