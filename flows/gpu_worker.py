"""A worker: leases segments one after another and has its rendering process render them.

What is not rendering runs beside it: while a segment renders, the next one is claimed and fetched,
and the one before is encoded, stored and recorded.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime

from db.workers import Registration, WorkerCommand, WorkerNews, WorkerState
from film.errors import BadPictureError, Cancelled, DatabaseError, RenderError, WorkerLostError
from film.logs import ids
from film.quiet import QuietHours
from film.types import RenderJob
from flows.claims import Claims
from flows.ends import RETRY_SECONDS, Ends
from flows.failures import retake
from flows.heart import Heart
from flows.reaper import reaping
from flows.render_process import raised
from flows.run_reporter import RunReporter
from flows.stock import Stock
from flows.warm import Warm
from flows.wiring import Farm
from flows.work import Work
from renderer import messages

logger = logging.getLogger(__name__)

IDLE_SECONDS = 0.2
"""Pause between two looks for work, where there is none, and at whether to stop."""
AHEAD_SECONDS = 3.0
"""So long before a segment is likely to be rendered, the next one is claimed. Not earlier: another
worker may be free before."""
UNSTORED = 2
"""Segments that may wait to be stored before the next one is rendered."""


class GpuWorker:
    """Renders whatever is ready, until it is told to stop. One per GPU."""

    def __init__(
        self,
        farm: Farm,
        reporter: RunReporter,
        me: Registration,
        stock: Stock,
        *,
        campaigns: Sequence[str] | None = None,
        quiet: QuietHours | None = None,
        once: bool = False,
    ) -> None:
        """`me` is registered already, with what is in `stock`. `campaigns`: only these, by id.
        `once`: one segment only."""
        self._farm = farm
        self._reporter = reporter
        self._me = me
        self._stock = stock
        self._quiet = quiet
        self._once = once
        self._nothing = False
        self.stopping = threading.Event()
        self.begun = False
        """Whether it has rendered anything, or tried to."""
        self.ready_at: float | None = None
        """When the model was loaded, by `time.monotonic`; None before."""
        self._heart = Heart(farm, me, self._news)
        self._claims = Claims(farm, me, stock, campaigns)
        self._ends = Ends(farm, reporter, me, self._heart, self._claims, self.stopping)
        self._warm = Warm(farm.settings)
        self._warm_kind: str | None = None
        self._current: Work | None = None
        self._step: tuple[int, int] | None = None
        self._ahead: Future[Work | None] | None = None
        self._unstored: list[Future[None]] = []
        self._again: deque[Work] = deque()
        self._busy_seconds, self._counted_at = 0.0, time.monotonic()

    @property
    def done(self) -> int:
        """Segments whose takes it recorded."""
        return self._ends.done

    @property
    def broken(self) -> RenderError | None:
        """Why it drained itself; None where it did not, or was resumed."""
        return self._ends.broken

    @property
    def drained(self) -> bool:
        """Whether it has nothing in hand and claims nothing more until it is resumed."""
        return self._heart.command is not None and not self._heart.holding

    @property
    def over(self) -> bool:
        """Whether it was for one segment only, and that has ended or was not to be had."""
        return self._once and (self.begun or self._nothing) and not self._heart.holding

    def run(self) -> None:
        """Claims and renders until `stopping` is set; then gives back what it holds.

        Raises `InputError` where it was taken for lost and another worker has its name.
        """
        reaper = reaping(self._farm, self._reporter)
        restocking = self._stock.watching(self._heart.restock)
        # The heart beats until the last lease is ended.
        with reaper, self._heart, restocking, ThreadPoolExecutor(2 + UNSTORED) as beside:
            try:
                while not self.stopping.is_set():
                    self._turn(beside)
            finally:
                self._give_back_ahead()
                self._await_stored()
                for work in self._again:
                    self._ends.badly(work, Cancelled())
                self._warm.end()

    def _turn(self, beside: ThreadPoolExecutor) -> None:
        """One segment, or a look for one."""
        if self._heart.refused:
            raise self._heart.refused
        if self._again:
            self._do(self._again.popleft(), beside)
            return
        if not self._may_claim():
            self._give_back_ahead()
            self._nothing = self._nothing or self._is_quiet()
            self.stopping.wait(IDLE_SECONDS)
            return
        self._ends.something_new.clear()
        work = self._next()
        if work is None:
            self._ends.something_new.wait(IDLE_SECONDS)
            return
        self._do(work, beside)

    def _do(self, work: Work, beside: ThreadPoolExecutor) -> None:
        """Renders a segment; what is left to do with it is done beside the next one."""
        self._current = work
        try:
            self._render(work, beside)
        except Exception as error:  # noqa: BLE001  (whatever it is, the segment must go on)
            self._ends.badly(work, error)
        else:
            self._unstored = [future for future in self._unstored if not future.done()]
            self._unstored.append(beside.submit(self._store, work))
            while len(self._unstored) > UNSTORED and not self.stopping.wait(IDLE_SECONDS):
                self._unstored = [future for future in self._unstored if not future.done()]
        finally:
            self._current = self._step = None

    def _may_claim(self) -> bool:
        if self.broken and self._heart.command is None:
            self._ends.resumed()
        if self._heart.command or self._claims.paused:
            return False
        if self._once and (self.begun or self._nothing):
            return False
        return not (self._is_quiet() or self.stopping.is_set())

    def _is_quiet(self) -> bool:
        return self._quiet is not None and self._quiet.hold(datetime.now().time())

    def _next(self) -> Work | None:
        """The segment that was claimed ahead, else one that is claimed now."""
        ahead, self._ahead = self._ahead, None
        return (ahead.result() if ahead else None) or self._prepare()

    def _prepare(self) -> Work | None:
        """Claims a segment and fetches what it needs; None where there is none."""
        if not self._may_claim():
            return None
        try:
            lease = self._claims.claim(self._warm_kind)
        except DatabaseError as error:
            logger.warning("Nothing could be claimed: %s", error, extra=ids(worker=self._me.name))
            self._claims.pause(RETRY_SECONDS)  # it may come back
            return None
        if lease is None:
            self._nothing = True
            return None
        work = Work(self._farm, self._heart.hold(lease))
        try:
            work.prepare()
        except Exception as error:  # noqa: BLE001  (whatever it is, the segment must go on)
            self._ends.badly(work, error)
            return None
        return work

    def _look_ahead(self, beside: ThreadPoolExecutor) -> None:
        """Has the next segment claimed and fetched, beside the one that is being rendered.

        It cannot be one that continues it: that is not ready before this one is stored.
        """
        if self._ahead is None and self._may_claim():
            self._ahead = beside.submit(self._prepare)

    def _give_back_ahead(self) -> None:
        ahead, self._ahead = self._ahead, None
        work = ahead.result() if ahead else None
        if work is not None:
            self._ends.badly(work, Cancelled())

    def _render(self, work: Work, beside: ThreadPoolExecutor) -> None:
        """Until its pictures are there; a bad picture is rendered again with other seeds.

        Raises `RenderError`, or `Cancelled` where we stop or the lease is lost.
        """
        assert work.job is not None
        self._reporter.started(work.lease)
        logger.info("Segment started", extra=self._ids(work))
        work.begun = self.begun = True
        self._warm_kind = work.lease.kind
        while True:
            try:
                self._render_once(work, retake(work.job, work.retake), beside)
                return
            except BadPictureError as error:
                if not self._ends.may_retake(work, error):
                    raise

    def _render_once(self, work: Work, job: RenderJob, beside: ThreadPoolExecutor) -> None:
        rendering_process = self._warm.process_for(job, self._await_stored)
        work.rendering = rendering = rendering_process.begin(job, work.folder, self._ids(work))
        watch = self._warm.watch(rendering_process)
        began = time.monotonic()
        while True:
            message = rendering.hear(IDLE_SECONDS)
            self.ready_at = self.ready_at or rendering_process.ready_at
            if self._must_leave(work):
                rendering_process.give_up(rendering)
                raise Cancelled
            if message is None:
                watch.require_moving()
                continue
            watch.heard()
            if isinstance(message, messages.Progress):
                self._step = message.step, message.steps
                work.hold.part = message.step / message.steps
                pace = (time.monotonic() - began) / message.step
                if pace * (message.steps - message.step) < AHEAD_SECONDS:
                    self._look_ahead(beside)
            elif isinstance(message, messages.Pictured):
                return
            elif isinstance(message, messages.Failed):
                raise raised(message)

    def _ids(self, work: Work) -> dict[str, object]:
        """What log records of a segment carry."""
        lease = work.lease
        return ids(
            film=lease.film_id,
            position=lease.position,
            attempt=lease.attempt,
            worker=self._me.name,
        )

    def _must_leave(self, work: Work) -> bool:
        stopped = self._heart.command is WorkerCommand.STOP
        return stopped or self.stopping.is_set() or work.hold.lost.is_set()

    def _store(self, work: Work) -> None:
        """From the pictures to the take. Every end is recorded."""
        assert work.rendering is not None
        try:
            rendered = work.rendering.files(self._warm.watch(work.rendering.process))
            self._ends.well(work, work.store(rendered, self._me.name))
        except BadPictureError as error:
            self._store_not(work, error)
        except Exception as error:  # noqa: BLE001  (whatever it is, the segment must go on)
            # A process that died takes along what it was encoding, which is not to blame.
            self._ends.badly(work, error, blame=not isinstance(error, WorkerLostError))

    def _store_not(self, work: Work, error: BadPictureError) -> None:
        """A picture that is seen to be bad while the next one is rendered comes after that one."""
        try:
            again = self._ends.may_retake(work, error)
        except DatabaseError as away:
            self._ends.badly(work, away)
            return
        if again and not self.stopping.is_set():
            self._again.append(work)
            self._ends.something_new.set()
        else:
            self._ends.badly(work, Cancelled() if again else error)

    def _await_stored(self) -> None:
        for future in self._unstored:
            future.result()

    def _news(self) -> WorkerNews:
        """What the heart tells; counts the time with something in hand."""
        now = time.monotonic()
        if self._heart.holding:
            self._busy_seconds += now - self._counted_at
        self._counted_at = now
        work, step = self._current, self._step
        return WorkerNews(
            state=self._state(),
            warm=self._warm_kind if self._warm.loaded else None,
            film_id=work.lease.film_id if work else None,
            position=work.lease.position if work else None,
            step=step[0] if step else None,
            steps=step[1] if step else None,
            segments_done=self._ends.done,
            busy_seconds=self._busy_seconds,
            failures=self._ends.failures,
        )

    def _state(self) -> WorkerState:
        if self._heart.command is not None:
            if self._heart.holding:
                return WorkerState.DRAINING
            stopped = self._heart.command is WorkerCommand.STOP
            return WorkerState.STOPPED if stopped else WorkerState.DRAINED
        if self._current is not None:
            return WorkerState.RENDERING if self._warm.loaded else WorkerState.LOADING
        return WorkerState.QUIET if self._is_quiet() else WorkerState.IDLE
