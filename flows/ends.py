"""How the segments of a worker end: with a take, with a retake, given back, or failed."""

from __future__ import annotations

import logging
import threading
import traceback

from db import events, segments
from db.claiming import Lease
from db.workers import Registration
from film.errors import BadPictureError, Cancelled, DatabaseError, LongreelError, RenderError
from film.logs import ids
from film.types import RunOutcome, Take
from flows.claims import Claims
from flows.failures import Verdict, blames_worker, verdict
from flows.heart import Heart
from flows.reaper import REAP_SECONDS
from flows.run_reporter import RunReporter
from flows.wiring import Farm
from flows.work import Work

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""Pause after a failure, and before a take is recorded again that the database did not answer."""
BROKEN_AFTER = 3
"""A worker that fails at so many different segments one after another drains itself."""


class Ends:
    """Ends segments: in the database, in Prefect, and in the worker's hands."""

    def __init__(
        self,
        farm: Farm,
        reporter: RunReporter,
        me: Registration,
        heart: Heart,
        claims: Claims,
        stopping: threading.Event,
    ) -> None:
        self._farm = farm
        self._reporter = reporter
        self._me = me
        self._heart = heart
        self._claims = claims
        self._stopping = stopping
        self.something_new = threading.Event()
        """Set with each end: what continues the segment may be ready."""
        self.done = 0
        """Segments whose takes were recorded."""
        self.failures = 0
        """Attempts that failed."""
        self.broken: RenderError | None = None
        """Why the worker drained itself; None where it did not, or was resumed."""

    def resumed(self) -> None:
        """An operator says that the worker is mended."""
        self.broken = None
        self._claims.forgive()

    def well(self, work: Work, take: Take) -> None:
        """The take is there. Raises `DatabaseError` where it could not be recorded."""
        recorded = self._record(work, take)
        work.forget_latents()
        self._reporter.ended(work.lease, RunOutcome.COMPLETED if recorded else RunOutcome.CANCELLED)
        self.done += recorded
        outcome = "rendered" if recorded else "rendered in vain: the lease was lost"
        logger.info("Segment %s", outcome, extra=self._ids(work.lease))
        self._claims.forgive()
        self._let_go(work)

    def badly(self, work: Work, error: Exception, *, blame: bool = True) -> None:
        """There is no take because of `error`; what becomes of the segment is for `verdict` to say.

        `blame`: whether the error may say that the worker is broken.
        """
        decided = verdict(error)
        try:
            if isinstance(error, DatabaseError):
                raise error
            outcome = self._end(work.lease, error, decided)
        except DatabaseError as away:
            message = "The segment's end is recorded with the next claim: %s"
            logger.warning(message, away, extra=self._ids(work.lease))
            self._claims.end_later(work.lease)
            outcome = RunOutcome.CRASHED
        else:
            self._log(work.lease, error, outcome)
        if work.begun:
            self._reporter.ended(work.lease, outcome, _sentence(error))
        self._let_go(work)
        if outcome is RunOutcome.FAILED:
            self.failures += 1
            if blame and blames_worker(error):
                self._blame(work.lease, error)
        if decided is Verdict.LEAVE_TO_OTHERS:
            self._claims.leave_to_others(work.lease.kind)
        if outcome is not RunOutcome.CANCELLED:
            self._claims.pause(RETRY_SECONDS)  # whatever it was may pass
        if decided is Verdict.WAIT:
            self._claims.pause(REAP_SECONDS)

    def may_retake(self, work: Work, error: BadPictureError) -> bool:
        """Whether the segment is to be rendered with another seed; then that is recorded.

        Raises `DatabaseError`.
        """
        if work.retake >= self._farm.settings.retakes:
            return False
        work.retake += 1
        message = f"Segment {work.lease.position + 1}, retake {work.retake}: {error}"
        with self._farm.database.write() as connection:
            events.record(
                connection, work.lease.film_id, "retake", message, segment=work.lease.position
            )
        return True

    def _record(self, work: Work, take: Take) -> bool:
        """Tried as long as the lease is ours, since the work is done."""
        while True:
            try:
                with self._farm.database.write() as connection:
                    return segments.finish(connection, work.lease, take)
            except DatabaseError as error:
                logger.warning(
                    "The take is not recorded yet: %s", error, extra=self._ids(work.lease)
                )
                if work.hold.lost.is_set() or self._stopping.wait(RETRY_SECONDS):
                    raise

    def _end(self, lease: Lease, error: Exception, decided: Verdict) -> RunOutcome:
        """Ends the lease; how Prefect calls that."""
        with self._farm.database.write() as connection:
            if decided in (Verdict.GIVE_BACK, Verdict.WAIT):
                segments.release(connection, lease)
                return RunOutcome.CANCELLED
            segments.give_up(
                connection,
                lease,
                _sentence(error),
                _detail(error),
                permanent=decided is Verdict.FAIL,
                attempts=self._farm.settings.segment_attempts,
            )
            return RunOutcome.FAILED

    def _let_go(self, work: Work) -> None:
        work.close()
        self._heart.let_go(work.hold)
        self.something_new.set()

    def _blame(self, lease: Lease, error: Exception) -> None:
        """Where the worker fails at one segment after another, the worker is what is broken."""
        if self._claims.failed_at(lease) < BROKEN_AFTER or self.broken:
            return
        self.broken = RenderError(
            f"The worker {self._me.name} failed at {BROKEN_AFTER} different segments one after "
            f"another and takes no more; the last error was: {_sentence(error)}"
        )
        self._heart.drain(str(self.broken))
        logger.error("%s", self.broken, extra=self._ids(lease))
        try:
            with self._farm.database.write() as connection:
                events.record(connection, lease.film_id, "drained", str(self.broken))
        except DatabaseError as away:  # the worker's own row has the reason as well
            logger.warning("The event was not recorded: %s", away, extra=self._ids(lease))

    def _log(self, lease: Lease, error: Exception, outcome: RunOutcome) -> None:
        if isinstance(error, Cancelled):
            logger.info("Segment given back", extra=self._ids(lease))
        else:
            message = "Segment %s: %s"
            logger.warning(message, outcome, error, exc_info=error, extra=self._ids(lease))

    def _ids(self, lease: Lease) -> dict[str, object]:
        return ids(
            film=lease.film_id,
            position=lease.position,
            attempt=lease.attempt,
            worker=self._me.name,
        )


def _sentence(error: Exception) -> str:
    """What people read; an error that is not ours is named with its kind."""
    if isinstance(error, Cancelled):
        return "Given back"
    return str(error) if isinstance(error, LongreelError) else f"{type(error).__name__}: {error}"


def _detail(error: Exception) -> str:
    """The traceback, with what the rendering process said of its own."""
    return "".join(traceback.format_exception(error))
