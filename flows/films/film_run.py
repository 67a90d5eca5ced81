"""What a film's flow does, without Prefect: follow its segments, stitch them, deliver the film."""

from __future__ import annotations

import logging
import shutil
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

from db.films import film_lease, films
from db.films.films import Film
from db.segments import progress, takes
from film.errors import (
    Cancelled,
    DatabaseError,
    LongreelError,
    RenderError,
    StoreError,
    StoreFullError,
    StoreUnreachableError,
)
from film.identity import film_digest
from film.logs import trace
from film.types import (
    Delivery,
    FilmSound,
    FilmStatus,
    Plan,
    SeamReport,
    SegmentStatus,
    Take,
    VideoContents,
    counted,
)
from flows.farm import Farm
from flows.films.host import Host, current_host
from flows.films.soundtrack import Fetched, create_track, measure_film
from flows.periodic import LeaseKeeper
from flows.take_files import fetch_sound, fetch_video
from media.join import join_segments
from media.match_headers import SegmentFile
from media.seams import Continuation, measure_seams
from media.verify import read_contents
from storage import keys

logger = logging.getLogger(__name__)

FOLLOW_SECONDS = (0.1, 1.0)
"""Pause between two looks at a film's segments: the first one, and the longest."""
DOWNLOADS = 8
"""Number of segments fetched at the same time."""


class Interrupted(Exception):  # noqa: N818  (not an error: the process was asked to stop)
    """This process stops; another one, or the next command, continues the film."""


@dataclass(frozen=True)
class Stitched:
    """A whole film on this machine, checked."""

    path: Path
    seams: tuple[SeamReport, ...]
    sound: FilmSound | None


@dataclass(frozen=True)
class FilmRun:
    """One attempt at a film, by the process that holds its lease."""

    farm: Farm
    film: Film
    stopping: Callable[[], bool]
    keeper: LeaseKeeper
    folder: Path
    """For its temporary files."""

    def plan(self) -> str:
        """Takes up the plan that was made when the film was submitted; returns what is left."""
        tally = self._tally()
        done, total = tally.get(SegmentStatus.DONE, 0), sum(tally.values())
        self._advance(
            FilmStatus.RENDERING,
            f"{done} of {counted(total, 'segment')} rendered, following the others",
        )
        return f"{counted(total, 'segment')}, {done} rendered so far"

    def follow(self) -> None:
        """Waits until every segment is done.

        Raises `RenderError` if one has failed, `Cancelled` if the film was cancelled or its lease
        lost, `Interrupted` if this process stops.
        """
        pause, longest = FOLLOW_SECONDS
        while True:
            self._require_active()
            try:
                tally = self._tally()
            except DatabaseError as error:
                tally = {}  # workers continue while it is away, and so does this flow
                logger.warning("The film's progress is not known: %s", error, extra=self._ids)
            if tally.get(SegmentStatus.FAILED):
                raise self._segment_failure()
            if tally.get(SegmentStatus.CANCELLED):
                raise Cancelled
            if tally and tally.keys() == {SegmentStatus.DONE}:
                return
            time.sleep(pause)
            pause = min(longest, pause * 1.02)

    def gather(self) -> list[Fetched] | None:
        """Fetches the files of the segments that the film shows, several at a time.

        None if some are missing or damaged: these are forgotten, to be rendered again. Raises
        `StoreUnreachableError`, `StoreFullError`.
        """
        self._require_active()
        self._advance(FilmStatus.STITCHING, "Fetching the segments")
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.farm.database.read() as connection:
            found = takes.of_film(connection, self.film.id)
        shown = [
            (segment.address, take)
            for take, segment in zip(found, self.film.plan.segments, strict=True)
            if not segment.is_anchor
        ]
        with ThreadPoolExecutor(DOWNLOADS) as pool:
            fetched = list(pool.map(self._fetch, range(len(shown)), *zip(*shown, strict=True)))
        if all(fetched):
            return [files for files in fetched if files]
        self._advance(FilmStatus.RENDERING, "Some segments are missing from the store")
        return None

    def stitch(self, fetched: Sequence[Fetched]) -> Stitched:
        """Joins the segments into the film, shows that it holds exactly these, and measures its
        seams and its sound. Raises `MediaError`, `StoreFullError`."""
        self._require_active()
        film, plan = self.folder / "film.mp4", self.film.plan
        segments = [
            SegmentFile(files.video, files.contents or read_contents(files.video))
            for files in fetched
        ]
        track = create_track(plan, fetched, self.folder)
        starts = _starts([scene.num_frames for scene in plan.scenes])
        joined = join_segments(
            segments,
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
        with ThreadPoolExecutor(1) as beside:
            measured = beside.submit(measure_film, film, self.folder) if track else None
            seams = measure_seams(film, _continuations(plan, joined), plan.fps)
            sound = measured.result() if measured else None
        for files in fetched:
            files.video.unlink()
            if files.sound:
                files.sound.unlink()
        if track:
            track.path.unlink()
        return Stitched(film, seams, sound)

    def deliver(self, film: Stitched) -> Delivery:
        """Uploads the finished film and marks it as delivered. Raises `Cancelled`, `StoreError`."""
        self._require_active()
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
        self.keeper.ending = True
        with self.farm.database.write() as connection:
            if not film_lease.finish(connection, self.film, delivery):
                raise Cancelled
        return delivery

    def release(self) -> None:
        """Gives the film back: another process, or the next command, continues it."""
        self.keeper.ending = True
        try:
            with self.farm.database.write() as connection:
                film_lease.release(connection, self.film)
        except DatabaseError as error:
            message = "The film could not be given back, so that its lease must run out: %s"
            logger.warning(message, error, extra=self._ids)

    def fail(self, error: Exception) -> None:
        """Ends the film with `error`."""
        message = str(error) if isinstance(error, LongreelError) else repr(error)
        detail = "".join(traceback.format_exception(error))
        logger.error("The film failed: %s", message, exc_info=trace(error), extra=self._ids)
        self.keeper.ending = True
        with self.farm.database.write() as connection:
            film_lease.fail(connection, self.film, message, detail)

    def remove_files(self) -> None:
        """Removes the film's temporary files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _ids(self) -> dict[str, object]:
        return self.film.log_ids

    def _tally(self) -> dict[SegmentStatus, int]:
        with self.farm.database.read() as connection:
            return progress.tally(connection, self.film.id)

    def _require_active(self) -> None:
        """Raises `Cancelled` or `Interrupted` if the film does not continue here."""
        if self.stopping():
            raise Interrupted
        if self.keeper.lost.is_set():
            raise Cancelled

    def _advance(self, status: FilmStatus, message: str) -> None:
        with self.farm.database.write() as connection:
            if not film_lease.advance(connection, self.film, status, message):
                raise Cancelled

    def _fetch(self, number: int, address: str, take: Take | None) -> Fetched | None:
        if take is None:  # another film's flow found it damaged, or `clean` removed it
            with self.farm.database.write() as connection:
                takes.require(connection, address)
            return None
        path = self.folder / f"segment-{number:05}.mp4"
        sound_key = take.sound_key if self.film.plan.sound else None
        sound = path.with_suffix(".flac") if sound_key else None
        try:
            fetch_video(self.farm.store, take, path)
            if sound_key and sound:
                fetch_sound(self.farm.store, sound_key, sound)
        except (StoreUnreachableError, StoreFullError):
            raise
        except StoreError as error:
            message = "A segment is missing or damaged and must be rendered again: %s"
            logger.warning(message, error, extra=self._ids)
            with self.farm.database.write() as connection:
                takes.forget(connection, take.address, take.video_key)
            return None
        return Fetched(video=path, contents=take.contents, sound=sound, sound_lead=take.sound_lead)

    def _segment_failure(self) -> RenderError:
        with self.farm.database.read() as connection:
            rows = progress.of_film(connection, self.film.id)
        failed = next((row for row in rows if row.status is SegmentStatus.FAILED), None)
        if failed is None:  # the user requeued it in this moment
            raise Cancelled
        times = f" {failed.failures} times, the last time with" if failed.failures > 1 else ""
        return RenderError(f"Segment {failed.position + 1} failed{times}: {failed.error}")


def take_up(film_id: str, attempt: int, flow_run_id: str, host: Host | None = None) -> FilmRun:
    """The film whose lease `attempt` this process keeps, now run by the flow run `flow_run_id`.

    Raises `Cancelled` if this process does not hold the lease any more.
    """
    host = host or current_host()
    farm = host.farm
    with farm.database.write() as connection:
        film = films.get(connection, film_id)
        keeper = host.keepers.get((film_id, attempt))
        if film.owner != farm.owner or film.attempt != attempt or keeper is None:
            raise Cancelled
        film_lease.attach_flow_run(connection, film, flow_run_id)
    host.reporter.watch(film_id, attempt, flow_run_id)
    folder = farm.scratch.open() / f"{film_id}-{attempt}"
    return FilmRun(farm, film, host.stopping, keeper, folder)


def why_cancelled(film_id: str, attempt: int, host: Host | None = None) -> str:
    """Why a flow of `attempt` at a film does not continue, in a sentence."""
    try:
        with (host or current_host()).farm.database.read() as connection:
            film = films.get(connection, film_id)
    except LongreelError as error:
        logger.warning("The film's state is not known: %s", error, extra={"film": film_id})
        return "The film was cancelled, or continues under another flow run"
    return explain_end(film, attempt)


def explain_end(film: Film, attempt: int) -> str:
    """Why a flow of `attempt` at `film`, as it is now, does not continue."""
    if film.status is FilmStatus.CANCELLED:
        return "The film was cancelled"
    if film.status is FilmStatus.PAUSED:
        return "The campaign was paused; the film continues under another flow run"
    if film.attempt != attempt:
        return (
            f"The film's lease ran out while its process was slow or away; the film continues "
            f"under another flow run, attempt {film.attempt}"
        )
    return "The film was given back; it continues under another flow run"


def _continuations(plan: Plan, segments: Sequence[VideoContents]) -> list[Continuation]:
    """Where one of the segments that the film shows continues the one before it."""
    starts = _starts([segment.num_frames for segment in segments])
    beside = pairwise(segments)
    return [
        Continuation(start, before.end, after.start)
        for segment, start, (before, after) in zip(plan.shown[1:], starts[1:], beside, strict=True)
        if segment.overlap_frames
    ]


def _starts(lengths: Sequence[int]) -> list[int]:
    """The first frame of each run of frames: (3, 2, 4) → (0, 3, 5)."""
    return list(accumulate(lengths, initial=0))[:-1]
