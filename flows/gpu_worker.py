"""A worker: leases segments one after another and has its rendering process render them.

What is not rendering runs beside it: while a segment renders, the next one is claimed and fetched,
and the one before is encoded, stored and recorded.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime

import msgspec

from db import events, segments
from db.segments import Abilities, Lease
from db.workers import Registration, WorkerCommand, WorkerNews, WorkerState
from film.errors import (
    BadPictureError,
    Cancelled,
    DatabaseError,
    LongreelError,
    RenderError,
    WorkerLostError,
)
from film.flags import at_loading
from film.models import find_model
from film.quiet import QuietHours
from film.types import RenderJob, Take
from flows import owner
from flows.failures import Verdict, blames_worker, retake, verdict
from flows.heart import Heart
from flows.render_process import RenderProcess, Watch, default_threads, raised
from flows.stock import Stock
from flows.task_runs import TaskRuns
from flows.wiring import Farm
from flows.work import Work
from renderer import process, weights
from renderer.base import Setup

IDLE_SECONDS = 0.2
"""Pause between two looks for work, where there is none, and at whether to stop."""
RETRY_SECONDS = 1.0
"""Pause after a failure, and before a take is recorded again that the database did not answer."""
LOAD_SECONDS = 600.0
"""Longest that loading a model may take."""
REAP_SECONDS = 5.0
"""Pause between two looks for leases that ran out, and where the store is away."""
AHEAD_SECONDS = 3.0
"""So long before a segment is likely to be rendered, the next one is claimed. Not earlier: another
worker may be free before."""
UNSTORED = 2
"""Segments that may wait to be stored before the next one is rendered."""
TOO_BIG_SECONDS = 60.0
"""So long a worker leaves work to others for which it had too little memory."""
BROKEN_AFTER = 3
"""A worker that fails at so many different segments one after another drains itself."""


class GpuWorker:
    """Renders whatever is ready, until it is told to stop. One per GPU."""

    def __init__(
        self,
        farm: Farm,
        task_runs: TaskRuns,
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
        self._settings = farm.settings
        self._task_runs = task_runs
        self._me = me
        self._campaigns = None if campaigns is None else tuple(campaigns)
        self._quiet = quiet
        self._once = once
        self._nothing = False
        self._stock = stock
        self._heart = Heart(farm, me, self._news)
        self._process: RenderProcess | None = None
        self._current: Work | None = None
        self._step: tuple[int, int] | None = None
        self._warm_kind: str | None = None
        self._ahead: Future[Work | None] | None = None
        self._unstored: list[Future[None]] = []
        self._again: deque[Work] = deque()
        self._unended: list[Lease] = []
        self._too_big: dict[str, float] = {}
        self._failed: set[int] = set()
        self._paused_until = 0.0
        self._failures = 0
        self._busy_seconds, self._counted_at = 0.0, time.monotonic()
        self._something_new = threading.Event()
        self.stopping = threading.Event()
        self.begun = False
        """Whether it has rendered anything, or tried to."""
        self.done = 0
        """Segments whose takes it recorded."""
        self.broken: RenderError | None = None
        """Why the worker drained itself; None where it did not, or was resumed."""
        self.ready_at: float | None = None
        """When the model was loaded, by `time.monotonic`; None before."""

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
        reaper = threading.Thread(target=self._reap, name="reaper", daemon=True)
        reaper.start()
        # The heart beats until the last lease is ended.
        restocking = self._stock.telling(self._heart.restock)
        with self._heart, restocking, ThreadPoolExecutor(2 + UNSTORED) as beside:
            try:
                while not self.stopping.is_set():
                    self._turn(beside)
            finally:
                self._give_back_ahead()
                for future in self._unstored:
                    future.result()
                for work in self._again:
                    self._end_badly(work, Cancelled())
                if self._process is not None:
                    self._process.kill()

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
        self._something_new.clear()
        work = self._next()
        if work is None:
            self._something_new.wait(IDLE_SECONDS)  # a stored segment may wake what continues it
            return
        self._do(work, beside)

    def _do(self, work: Work, beside: ThreadPoolExecutor) -> None:
        self._current = work
        try:
            self._work(work, beside)
        finally:
            self._current = self._step = None

    def _may_claim(self) -> bool:
        if self.broken and self._heart.command is None:  # resumed
            self.broken = None
            self._failed.clear()
        if self._heart.command or time.monotonic() < self._paused_until:
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
            lease = self._claim()
        except DatabaseError:
            self._pause(RETRY_SECONDS)  # it may come back
            return None
        if lease is None:
            self._nothing = True
            return None
        work = Work(self._farm, self._heart.hold(lease))
        try:
            work.prepare()
        except Exception as error:  # noqa: BLE001  (whatever it is, the segment must go on)
            self._end_badly(work, error)
            return None
        return work

    def _claim(self) -> Lease | None:
        able = Abilities(
            models=self._stock.models,
            weights=self._stock.weights,
            tags=frozenset(self._me.tags),
            warm=self._warm_kind,
            campaigns=self._campaigns,
            without=self._beyond_me(),
            avoid=tuple(self._failed),
        )
        # What it failed at it tries again only where there is nothing else.
        choices = [able] if not able.avoid else [able, msgspec.structs.replace(able, avoid=())]
        seconds, claimed = self._settings.lease_seconds, None
        with self._farm.database.write() as connection:
            unended = list(self._unended)  # that we could not end while it was away
            for lease in unended:
                segments.release(connection, lease)
            for choice in choices:
                claimed = claimed or segments.claim(connection, self._farm.owner, choice, seconds)
        for lease in unended:
            self._unended.remove(lease)
        return claimed

    def _beyond_me(self) -> tuple[str, ...]:
        """Kinds that this worker had too little memory for, lately."""
        now = time.monotonic()
        return tuple(kind for kind, until in list(self._too_big.items()) if until > now)

    def _work(self, work: Work, beside: ThreadPoolExecutor) -> None:
        """Renders a segment; what is left to do with it is done beside the next one."""
        try:
            self._render(work, beside)
        except Exception as error:  # noqa: BLE001  (whatever it is, the segment must go on)
            self._end_badly(work, error)
            return
        self._unstored = [future for future in self._unstored if not future.done()]
        self._unstored.append(beside.submit(self._store, work))
        while len(self._unstored) > UNSTORED and not self.stopping.wait(IDLE_SECONDS):
            self._unstored = [future for future in self._unstored if not future.done()]

    def _render(self, work: Work, beside: ThreadPoolExecutor) -> None:
        """Until its pictures are there; a bad picture is rendered again with other seeds.

        Raises `RenderError`, or `Cancelled` where we stop or the lease is lost.
        """
        assert work.job is not None
        self._task_runs.started(work.lease)
        work.begun = self.begun = True
        self._warm_kind = work.lease.kind
        while True:
            try:
                self._render_once(work, retake(work.job, work.retake), beside)
                return
            except BadPictureError as error:
                if not self._may_retake(work, error):
                    raise

    def _render_once(self, work: Work, job: RenderJob, beside: ThreadPoolExecutor) -> None:
        rendering_process = self._warm(job)
        work.rendering = rendering = rendering_process.begin(job, work.folder)
        watch = self._watch(rendering_process)
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
            if isinstance(message, process.Progress):
                self._step = message.step, message.steps
                work.hold.part = message.step / message.steps
                pace = (time.monotonic() - began) / message.step
                if pace * (message.steps - message.step) < AHEAD_SECONDS:
                    self._look_ahead(beside)
            elif isinstance(message, process.Pictured):
                return
            elif isinstance(message, process.Failed):
                raise raised(message)

    def _must_leave(self, work: Work) -> bool:
        stopped = self._heart.command is WorkerCommand.STOP
        return stopped or self.stopping.is_set() or work.hold.lost.is_set()

    def _watch(self, rendering_process: RenderProcess) -> Watch:
        return Watch(
            rendering_process,
            stall=self._settings.stall_seconds,
            step=self._settings.step_seconds,
            load=LOAD_SECONDS,
        )

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
            self._end_badly(work, Cancelled())

    def _warm(self, job: RenderJob) -> RenderProcess:
        """The rendering process with the job's model loaded or loading, as its flags say.

        Raises `WeightsMissingError`.
        """
        spec = find_model(job.model)
        setup = Setup(
            folder=weights.folder_of(spec, job.revision, self._settings.home),
            threads=default_threads(self._settings.threads),
            flags=at_loading(job.flags),
            revision=job.revision,  # of a folder whose content may have changed
            home=self._settings.home,
        )
        if self._process is not None and not self._process.serves(spec, setup):
            for future in self._unstored:  # its encoder may still be at work
                future.result()
            self._process.kill()
            self._process = None
        if self._process is None:
            self._process = RenderProcess(spec, setup)
        return self._process

    def _store(self, work: Work) -> None:
        """From the pictures to the take. Every end is recorded."""
        assert work.rendering is not None
        try:
            rendered = work.rendering.files(self._watch(work.rendering.process))
            take = work.store(rendered, self._me.name)
            recorded = self._record(work, take)
            work.forget_latents()
        except BadPictureError as error:
            self._store_not(work, error)
            return
        except Exception as error:  # noqa: BLE001  (whatever it is, the segment must go on)
            # A process that died takes along what it was encoding, which is not to blame.
            self._end_badly(work, error, blame=not isinstance(error, WorkerLostError))
            return
        self._task_runs.ended(work.lease, "completed" if recorded else "cancelled")
        self.done += recorded
        self._failed.clear()
        self._let_go(work)

    def _store_not(self, work: Work, error: BadPictureError) -> None:
        """A picture that is seen to be bad while the next one is rendered comes after that one."""
        try:
            again = self._may_retake(work, error)
        except DatabaseError as away:
            self._end_badly(work, away)
            return
        if again and not self.stopping.is_set():
            self._again.append(work)
            self._something_new.set()
        else:
            self._end_badly(work, Cancelled() if again else error)

    def _record(self, work: Work, take: Take) -> bool:
        """Records the take; tried as long as the lease is ours, since the work is done."""
        while True:
            try:
                with self._farm.database.write() as connection:
                    return segments.finish(connection, work.lease, take)
            except DatabaseError:
                if work.hold.lost.is_set() or self.stopping.wait(RETRY_SECONDS):
                    raise

    def _may_retake(self, work: Work, error: BadPictureError) -> bool:
        """Whether it is to be rendered with another seed; then that is recorded."""
        if work.retake >= self._settings.retakes:
            return False
        work.retake += 1
        message = f"Segment {work.lease.position + 1}, retake {work.retake}: {error}"
        with self._farm.database.write() as connection:
            events.record(
                connection, work.lease.film_id, "retake", message, segment=work.lease.position
            )
        return True

    def _let_go(self, work: Work) -> None:
        work.close()
        self._heart.let_go(work.hold)
        self._something_new.set()

    def _end_badly(self, work: Work, error: Exception, *, blame: bool = True) -> None:
        """Ends a segment that has no take, as `verdict` says."""
        decided = verdict(error)
        try:
            if isinstance(error, DatabaseError):
                raise error
            how = self._end(work.lease, error, decided)
        except DatabaseError:
            self._unended.append(work.lease)
            how = "crashed"
        if work.begun:
            self._task_runs.ended(work.lease, how, _sentence(error))
        self._let_go(work)
        if how == "failed":
            self._failures += 1
            if blame and blames_worker(error):
                self._blame(work.lease, error)
        if decided is Verdict.LEAVE_TO_OTHERS:
            self._too_big[work.lease.kind] = time.monotonic() + TOO_BIG_SECONDS
        if how != "cancelled":
            self._pause(RETRY_SECONDS)  # whatever it was may pass
        if decided is Verdict.WAIT:
            self._pause(REAP_SECONDS)

    def _end(self, lease: Lease, error: Exception, decided: Verdict) -> str:
        """Ends the lease; how Prefect calls that."""
        with self._farm.database.write() as connection:
            if decided in (Verdict.GIVE_BACK, Verdict.WAIT):
                segments.release(connection, lease)
                return "cancelled"
            segments.give_up(
                connection,
                lease,
                _sentence(error),
                _detail(error),
                permanent=decided is Verdict.FAIL,
                attempts=self._settings.segment_attempts,
            )
            return "failed"

    def _pause(self, seconds: float) -> None:
        """Nothing is claimed for so long."""
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def _blame(self, lease: Lease, error: Exception) -> None:
        """Where the worker fails at one segment after another, the worker is what is broken."""
        self._failed.add(lease.id)
        if len(self._failed) < BROKEN_AFTER or self.broken:
            return
        self.broken = RenderError(
            f"The worker {self._me.name} failed at {BROKEN_AFTER} different segments one after "
            f"another and takes no more; the last error was: {_sentence(error)}"
        )
        self._heart.drain(str(self.broken))
        try:
            with self._farm.database.write() as connection:
                events.record(connection, lease.film_id, "drained", str(self.broken))
        except DatabaseError:
            return  # the worker's own row says it as well

    def _news(self) -> WorkerNews:
        """What the heart tells; counts the time with something in hand."""
        now = time.monotonic()
        if self._heart.holding:
            self._busy_seconds += now - self._counted_at
        self._counted_at = now
        work, step = self._current, self._step
        return WorkerNews(
            state=self._state(),
            warm=self._warm_kind if self._process and self._process.loaded else None,
            film_id=work.lease.film_id if work else None,
            position=work.lease.position if work else None,
            step=step[0] if step else None,
            steps=step[1] if step else None,
            segments_done=self.done,
            busy_seconds=self._busy_seconds,
            failures=self._failures,
        )

    def _state(self) -> WorkerState:
        if self._heart.command is not None:
            if self._heart.holding:
                return WorkerState.DRAINING
            stopped = self._heart.command is WorkerCommand.STOP
            return WorkerState.STOPPED if stopped else WorkerState.DRAINED
        if self._current is not None:
            loaded = self._process is not None and self._process.loaded
            return WorkerState.RENDERING if loaded else WorkerState.LOADING
        return WorkerState.QUIET if self._is_quiet() else WorkerState.IDLE

    def _reap(self) -> None:
        """Takes back the leases of the dead, whoever they were."""
        while True:
            try:
                for flow_run_id in owner.release_dead(self._farm.database):
                    self._task_runs.orphaned(flow_run_id)
                with self._farm.database.write() as connection:
                    segments.reap(
                        connection, self._settings.segment_attempts, but_of=self._farm.owner
                    )
            except Exception:  # noqa: BLE001, S110  (looked at again in a moment)
                pass
            if self.stopping.wait(REAP_SECONDS):
                return


def _sentence(error: Exception) -> str:
    """What people read; an error that is not ours is named with its kind."""
    if isinstance(error, Cancelled):
        return "Given back"
    return str(error) if isinstance(error, LongreelError) else f"{type(error).__name__}: {error}"


def _detail(error: Exception) -> str:
    """The traceback, with what the rendering process said of its own."""
    return "".join(traceback.format_exception(error))
