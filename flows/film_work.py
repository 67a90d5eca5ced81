"""What a film's flow does, without Prefect: follow its segments, stitch, deliver."""

from __future__ import annotations

import logging
import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from db import film_lease, films, progress, takes
from db.films import Film
from film.errors import (
    Cancelled,
    DatabaseError,
    LongreelError,
    RenderError,
    StoreError,
    StoreFullError,
    StoreUnreachableError,
)
from film.logs import ids
from film.timeline import sample_at
from film.types import (
    Delivery,
    FilmSound,
    FilmStatus,
    SeamReport,
    SegmentStatus,
    Take,
    counted,
)
from flows.film_sound import Fetched, measured, track_of
from flows.lease import LeaseKeeper
from flows.run_reporter import RunReporter
from flows.submit import film_digest
from flows.wiring import Farm
from media.check import SOUND_RATE, verify_film
from media.join import join_segments
from media.seams import SeamMeter
from storage import keys

logger = logging.getLogger(__name__)

FOLLOW_SECONDS = (0.1, 1.0)
"""Pause between two looks at a film's segments: at first, and after a while."""
DOWNLOADS = 8
"""Segments fetched at the same time."""


class Interrupted(Exception):  # noqa: N818  (not an error: the process was asked to stop)
    """This process stops; the film goes on elsewhere, or with the next command."""


@dataclass(frozen=True)
class Host:
    """The process in which flows run: its parts, and whether it is stopping."""

    farm: Farm
    stopping: Callable[[], bool]
    reporter: RunReporter
    keepers: dict[tuple[str, int], LeaseKeeper] = field(default_factory=dict)
    """Of the films whose leases this process holds, by id and attempt."""

    @contextmanager
    def holding(self, film: Film) -> Iterator[None]:
        """Keeps the lease of a claimed film. From the claim on: Prefect may be slow to begin."""

        def beat() -> bool:
            with self.farm.database.write() as connection:
                return film_lease.beat(connection, film, self.farm.settings.lease_seconds)

        extra = ids(film=film.id, attempt=film.attempt)
        seconds = self.farm.settings.lease_seconds
        with LeaseKeeper("The film's lease", beat, seconds, extra) as keeper:
            self.keepers[film.id, film.attempt] = keeper
            try:
                yield
            finally:
                del self.keepers[film.id, film.attempt]


_host: list[Host] = []


def host_flows(host: Host) -> None:
    """Sets where the flows of this process run.

    Flows are started by Prefect with an id only, since engines and locks cannot travel; what
    they work with is therefore the process's own.
    """
    _host[:] = [host]


@dataclass(frozen=True)
class Stitched:
    """A whole film on this machine, checked."""

    path: Path
    seams: tuple[SeamReport, ...]
    sound: FilmSound | None


@dataclass(frozen=True)
class FilmWork:
    """A film in the hands of this process."""

    farm: Farm
    film: Film
    stopping: Callable[[], bool]
    keeper: LeaseKeeper
    folder: Path

    @classmethod
    def of(cls, film_id: str, attempt: int, flow_run_id: str) -> FilmWork:
        """The film whose lease `attempt` this process keeps. Raises `Cancelled` where it does
        not hold it any more."""
        host = _host[0]
        farm = host.farm
        with farm.database.write() as connection:
            film = films.get(connection, film_id)
            keeper = host.keepers.get((film_id, attempt))
            if film.owner != farm.owner or film.attempt != attempt or keeper is None:
                raise Cancelled
            film_lease.attach_flow_run(connection, film, flow_run_id)
        host.reporter.watch(film_id, attempt, flow_run_id)

        folder = farm.scratch.open() / f"{film_id}-{attempt}"
        return cls(farm, film, host.stopping, keeper, folder)

    @property
    def ids(self) -> dict[str, object]:
        """What log records of this film carry."""
        return ids(film=self.film.id, attempt=self.film.attempt)

    def plan(self) -> str:
        """Takes up the plan that was made when the film was submitted; says what is left."""
        tally = self._tally()
        done, total = tally.get(SegmentStatus.DONE, 0), sum(tally.values())
        self._advance(
            FilmStatus.RENDERING,
            f"{done} of {counted(total, 'segment')} rendered, following the others",
        )
        return f"{counted(total, 'segment')}, {done} rendered so far"

    def follow(self) -> None:
        """Waits until every segment is done.

        Raises `RenderError` where one has failed, `Cancelled` where the film was cancelled or
        its lease lost, `Interrupted` where this process stops.
        """
        pause, longest = FOLLOW_SECONDS
        while True:
            self._require_going_on()
            try:
                tally = self._tally()
            except DatabaseError as error:
                tally = {}  # workers continue while it is away, and so does this flow
                logger.warning("The film's progress is not known: %s", error, extra=self.ids)
            if tally.get(SegmentStatus.FAILED):
                raise self._segment_failure()
            if tally.get(SegmentStatus.CANCELLED):
                raise Cancelled
            if tally and tally.keys() == {SegmentStatus.DONE}:
                return
            time.sleep(pause)
            pause = min(longest, pause * 1.02)

    def _tally(self) -> dict[SegmentStatus, int]:
        with self.farm.database.read() as connection:
            return progress.tally(connection, self.film.id)

    def _require_going_on(self) -> None:
        """Raises `Cancelled` or `Interrupted` where the film is not to go on here."""
        if self.stopping():
            raise Interrupted
        if self.keeper.lost.is_set():
            raise Cancelled

    def gather(self) -> list[Fetched] | None:
        """Fetches the files of the segments that are shown, several at a time.

        None where some are gone or damaged: these are forgotten and to be rendered again.
        Raises `StoreUnreachableError`, `StoreFullError`.
        """
        self._require_going_on()
        self._advance(FilmStatus.STITCHING, "Fetching the segments")
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.farm.database.read() as connection:
            all_takes = takes.of_film(connection, self.film.id)
        parts = self.film.plan.segments
        shown = [take for take, part in zip(all_takes, parts, strict=True) if not part.is_anchor]
        with ThreadPoolExecutor(DOWNLOADS) as pool:
            fetched = list(pool.map(self._fetch, range(len(shown)), shown))
        if all(fetched):
            return [files for files in fetched if files]
        self._advance(FilmStatus.RENDERING, "Some segments are gone from the store")
        return None

    def _fetch(self, number: int, take: Take) -> Fetched | None:
        path = self.folder / f"segment-{number:05}.mp4"
        sound_key = take.sound_key if self.film.plan.sound else None
        sound = path.with_suffix(".flac") if sound_key else None
        try:
            self.farm.store.get_file(take.video_key, path)
            if sound_key and sound:
                self.farm.store.get_file(sound_key, sound)
        except (StoreUnreachableError, StoreFullError):
            raise
        except StoreError as error:
            message = "A segment is missing or damaged and must be rendered again: %s"
            logger.warning(message, error, extra=self.ids)
            with self.farm.database.write() as connection:
                takes.forget(connection, take.address)
            return None
        return Fetched(video=path, sound=sound, sound_lead=take.sound_lead)

    def stitch(self, fetched: list[Fetched]) -> Stitched:
        """Joins the segments into the film, checks it frame by frame, and measures its seams and
        its sound."""
        self._require_going_on()
        film, plan = self.folder / "film.mp4", self.film.plan
        paths = [files.video for files in fetched]
        track = track_of(plan, fetched, self.folder)
        starts = _starts([scene.num_frames for scene in plan.scenes])
        join_segments(
            paths,
            film,
            fps=plan.fps,
            frames_each=[segment.keep_frames for segment in plan.shown],
            title=self.film.title,
            chapters=[
                (scene.prompt, start) for scene, start in zip(plan.scenes, starts, strict=True)
            ],
            scratch=self.folder,
            sound=track,
        )
        seams = self._checked(film, audible=track is not None)
        sound = measured(film, self.folder) if track else None
        for path in (*paths, *(files.sound for files in fetched), track and track.path):
            if path:
                path.unlink()
        return Stitched(film, seams, sound)

    def _checked(self, film: Path, *, audible: bool) -> tuple[SeamReport, ...]:
        """The seams of a film that is what was planned. Raises `MediaError` where it is not."""
        plan = self.film.plan
        begins = _starts([segment.keep_frames for segment in plan.shown])
        continued = [b for b, s in zip(begins, plan.shown, strict=True) if s.overlap_frames]
        meter = SeamMeter(continued)
        verify_film(
            film,
            num_frames=plan.num_frames,
            width=plan.width,
            height=plan.height,
            fps=plan.fps,
            sound_samples=sample_at(plan.num_frames, plan.fps, SOUND_RATE) if audible else None,
            seen=meter.see,
        )
        return meter.reports()

    def deliver(self, film: Stitched) -> Delivery:
        """Puts the finished film into the store and marks it delivered."""
        self._require_going_on()
        plan = self.film.plan
        key = keys.film_video(film_digest(self.film.request, plan))
        info = self.farm.store.put_file(key, film.path)
        delivery = Delivery(
            key=key,
            num_frames=plan.num_frames,
            width=plan.width,
            height=plan.height,
            fps=plan.fps,
            size_bytes=info.size_bytes,
            sha256=info.sha256 or "",
            seams=film.seams,
            sound=film.sound,
        )
        with self.farm.database.write() as connection:
            if not film_lease.finish(connection, self.film, delivery):
                raise Cancelled
        return delivery

    def release(self) -> None:
        """Gives the film back, to go on elsewhere or with the next command."""
        try:
            with self.farm.database.write() as connection:
                film_lease.release(connection, self.film)
        except DatabaseError as error:
            message = "The film could not be given back, so that its lease must run out: %s"
            logger.warning(message, error, extra=self.ids)

    def fail(self, error: Exception) -> None:
        """Ends the film with `error`."""
        message = str(error) if isinstance(error, LongreelError) else repr(error)
        detail = "".join(traceback.format_exception(error))
        logger.error("The film failed: %s", message, exc_info=error, extra=self.ids)
        with self.farm.database.write() as connection:
            film_lease.fail(connection, self.film, message, detail)

    def tidy(self) -> None:
        """Removes the film's temporary files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _advance(self, status: FilmStatus, message: str) -> None:
        with self.farm.database.write() as connection:
            if not film_lease.advance(connection, self.film, status, message):
                raise Cancelled

    def _segment_failure(self) -> RenderError:
        with self.farm.database.read() as connection:
            rows = progress.of_film(connection, self.film.id)
        failed = next((row for row in rows if row.status is SegmentStatus.FAILED), None)
        if failed is None:  # tried again by the user in this very moment
            raise Cancelled
        times = f" {failed.failures} times, the last time with" if failed.failures > 1 else ""
        return RenderError(f"Segment {failed.position + 1} failed{times}: {failed.error}")


def why_cancelled(film_id: str, attempt: int) -> str:
    """Why a flow of `attempt` at a film does not go on, in a sentence."""
    try:
        with _host[0].farm.database.read() as connection:
            film = films.get(connection, film_id)
    except LongreelError as error:
        logger.warning("The film's state is not known: %s", error, extra=ids(film=film_id))
        return "The film was cancelled, or continues under another flow run"
    if film.status is FilmStatus.CANCELLED:
        return "The film was cancelled"
    if film.status is FilmStatus.PAUSED:
        return "The campaign was paused; the film goes on under another flow run"
    if film.attempt != attempt:
        return (
            f"The film's lease ran out while its process was slow or away; the film goes on under "
            f"another flow run, attempt {film.attempt}"
        )
    return "The film was given back; it goes on under another flow run"


def _starts(lengths: list[int]) -> list[int]:
    """Where each run of frames begins: (3, 2, 4) → (0, 3, 5)."""
    return [sum(lengths[:index]) for index in range(len(lengths))]
