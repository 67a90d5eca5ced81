"""Ends the segments of a worker: with a take, given back, or failed."""

from __future__ import annotations

import logging
import threading
import traceback
from datetime import datetime

from db import events
from db.segments import segment_lease
from db.segments.claims import Lease
from db.workers import registry
from db.workers.registry import Registration
from film.errors import (
    BadPictureError,
    Cancelled,
    DatabaseError,
    LongreelError,
    RenderError,
    UnreadableFilmError,
)
from film.logs import trace
from film.types import RunOutcome, Take
from flows.farm import Farm
from flows.run_reporter import RunReporter
from flows.worker.claimer import Claimer
from flows.worker.failure_policy import Verdict, blames_worker, verdict
from flows.worker.heartbeat import Heartbeat, Hold
from flows.worker.reaper import REAP_SECONDS
from flows.worker.segment_task import SegmentTask, forget_latents

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""Pause after a failure, and before the database is asked again to record a take."""
BROKEN_AFTER = 3
"""Number of different segments in a row at which a worker fails before it drains itself."""


class Completer:
    """Ends segments in the database, for the run reporter, and for the worker itself.

    Called by the threads that prepare, render and store.
    """

    def __init__(
        self,
        farm: Farm,
        me: Registration,
        *,
        reporter: RunReporter,
        heartbeat: Heartbeat,
        claimer: Claimer,
        stopping: threading.Event,
    ) -> None:
        self._farm = farm
        self._me = me
        self._reporter = reporter
        self._heartbeat = heartbeat
        self._claimer = claimer
        self._stopping = stopping
        self._counting = threading.Lock()
        self.ended = threading.Event()
        """Set when a segment ends: the segment that continues it may be ready."""
        self.done = 0
        """Number of takes that this worker recorded."""
        self.failures = 0
        """Number of attempts that failed."""
        self._waiting: set[str] = set()
        """Films whose wait was reported after the last take."""
        self.broken: RenderError | None = None
        """Why the worker drained itself; None if it did not, or was resumed."""

    def resume(self) -> None:
        """An operator has repaired the worker."""
        self.broken = None
        self._claimer.forgive()

    def complete(self, task: SegmentTask, take: Take) -> None:
        """Records a take. Raises `DatabaseError` if that fails until the lease is lost."""
        recorded = self._record(task.hold, take)
        forget_latents(self._farm, task)
        outcome = RunOutcome.COMPLETED if recorded else RunOutcome.CANCELLED
        logger.info(
            "Segment rendered" if recorded else "Segment rendered, but its lease was lost",
            extra=self._ids(task.lease),
        )
        self._reporter.ended(task.lease, outcome)
        with self._counting:
            self.done += recorded
        self._claimer.forgive()
        self._report_end_of_wait()
        task.close()
        self._let_go(task.hold)

    def abandon(self, task: SegmentTask, error: Exception, *, blame: bool = True) -> None:
        """Ends a task that was started, without a take, because of `error`.

        `blame`: False if the error cannot mean that the worker is broken.
        """
        task.close()
        outcome = self._end(task.hold, error)
        self._reporter.ended(task.lease, outcome, _sentence(error))
        self._draw_conclusions(task.lease, error, outcome, blame=blame)

    def abandon_unstarted(self, hold: Hold, error: Exception) -> None:
        """Ends a segment that was claimed, but not started, because of `error`."""
        outcome = self._end(hold, error)
        self._draw_conclusions(hold.lease, error, outcome, blame=True)

    def retakes_left(self, retake: int) -> bool:
        """True if a bad picture of the retake of this number may be rendered once more."""
        return retake < self._farm.settings.retakes

    def record_retake(self, lease: Lease, retake: int, error: BadPictureError) -> None:
        """Adds the event that retake number `retake` follows `error`. Raises `DatabaseError`."""
        message = f"Segment {lease.position + 1}, retake {retake}: {error}"
        logger.warning("Retake %d: %s", retake, error, extra=self._ids(lease))
        with self._farm.database.write() as connection:
            events.record(connection, lease.film_id, "retake", message, segment=lease.position)

    def _record(self, hold: Hold, take: Take) -> bool:
        """Tries as long as the lease is ours, because the work is done; False if it was lost."""
        while True:
            try:
                with self._farm.database.write() as connection:
                    return segment_lease.finish(connection, hold.lease, take)
            except DatabaseError as error:
                message = "The take is not recorded yet: %s"
                logger.warning(message, error, extra=self._ids(hold.lease))
                if hold.lost.is_set() or self._stopping.wait(RETRY_SECONDS):
                    raise

    def _end(self, hold: Hold, error: Exception) -> RunOutcome:
        """Ends the lease according to the verdict on `error`."""
        lease, decided = hold.lease, verdict(error)
        try:
            if isinstance(error, DatabaseError):
                raise error
            outcome = self._end_in_database(lease, error, decided)
        except DatabaseError as away:
            message = "The segment is given back when the database answers: %s"
            logger.warning(message, away, extra=self._ids(lease))
            self._claimer.release_later(lease)
            outcome = RunOutcome.CRASHED
        else:
            self._log(lease, error, outcome)
        self._let_go(hold)
        return outcome

    def _end_in_database(self, lease: Lease, error: Exception, decided: Verdict) -> RunOutcome:
        with self._farm.database.write() as connection:
            if decided in (Verdict.GIVE_BACK, Verdict.WAIT):
                segment_lease.release(connection, lease)
                return RunOutcome.CANCELLED
            segment_lease.give_up(
                connection,
                lease,
                _sentence(error),
                _detail(error),
                permanent=decided is Verdict.FAIL,
                attempts=self._farm.settings.segment_attempts,
            )
            return RunOutcome.FAILED

    def _draw_conclusions(
        self, lease: Lease, error: Exception, outcome: RunOutcome, *, blame: bool
    ) -> None:
        """Counts a failure, pauses the worker, and drains it if it is broken."""
        decided = verdict(error)
        if outcome is RunOutcome.FAILED:
            with self._counting:
                self.failures += 1
            if blame and blames_worker(error):
                self._blame_worker(lease, error)
        if decided is Verdict.LEAVE_TO_OTHERS:
            self._claimer.skip(lease.kind)
        if outcome is not RunOutcome.CANCELLED:
            self._claimer.pause(RETRY_SECONDS)  # the cause may pass
        if decided is Verdict.WAIT:
            self._claimer.pause(REAP_SECONDS)
            if isinstance(error, UnreadableFilmError):
                self._claimer.avoid(lease)
            self._report_wait(lease, error)

    def _report_wait(self, lease: Lease, error: Exception) -> None:
        """Shows what is away with the worker, and once for each film in its events."""
        message = f"Waiting since {datetime.now():%H:%M}: {_sentence(error)}"
        with self._counting:
            first, known = not self._waiting, lease.film_id in self._waiting
            self._waiting.add(lease.film_id)
        try:
            with self._farm.database.write() as connection:
                if first:
                    registry.note_error(connection, self._me.name, self._me.owner, message)
                if not known:
                    text = f"Segment {lease.position + 1}: {message}"
                    events.record(
                        connection, lease.film_id, "waiting", text, segment=lease.position
                    )
        except DatabaseError as away:
            logger.warning("The wait was not recorded: %s", away, extra=self._ids(lease))

    def _report_end_of_wait(self) -> None:
        with self._counting:
            waited, self._waiting = bool(self._waiting), set()
        if not waited:
            return
        try:
            with self._farm.database.write() as connection:
                registry.note_error(connection, self._me.name, self._me.owner, None)
        except DatabaseError as away:
            logger.warning("The end of a wait was not recorded: %s", away)

    def _blame_worker(self, lease: Lease, error: Exception) -> None:
        """Drains a worker that fails at one segment after another: then it is what is broken."""
        failed = self._claimer.count_failure(lease)
        with self._counting:
            if failed < BROKEN_AFTER or self.broken:
                return
            self.broken = RenderError(
                f"The worker {self._me.name} failed at {BROKEN_AFTER} different segments one after "
                f"another and takes no more; the last error was: {_sentence(error)}"
            )
        self._heartbeat.drain(str(self.broken))
        logger.error("%s", self.broken, extra=self._ids(lease))
        try:
            with self._farm.database.write() as connection:
                events.record(connection, lease.film_id, "drained", str(self.broken))
        except DatabaseError as away:  # the worker's own row has the reason as well
            logger.warning("The event was not recorded: %s", away, extra=self._ids(lease))

    def _let_go(self, hold: Hold) -> None:
        self._heartbeat.let_go(hold)
        self.ended.set()

    def _log(self, lease: Lease, error: Exception, outcome: RunOutcome) -> None:
        if isinstance(error, Cancelled):
            logger.info("Segment given back", extra=self._ids(lease))
        else:
            message = "Segment %s: %s"
            logger.warning(message, outcome, error, exc_info=trace(error), extra=self._ids(lease))

    def _ids(self, lease: Lease) -> dict[str, object]:
        return {**lease.log_ids, "worker": self._me.name}


def _sentence(error: Exception) -> str:
    """The error for people; a foreign one is named with its class."""
    if isinstance(error, Cancelled):
        return "Given back"
    return str(error) if isinstance(error, LongreelError) else f"{type(error).__name__}: {error}"


def _detail(error: Exception) -> str:
    """The traceback, including that of the rendering process."""
    return "".join(traceback.format_exception(error))
