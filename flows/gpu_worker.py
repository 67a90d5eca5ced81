"""A worker: leases segments one after another and has its rendering process render them."""

from __future__ import annotations

import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from db import films, segments
from db.segments import Lease
from film.errors import (
    Cancelled,
    DatabaseError,
    LongreelError,
    ObjectMissingError,
    StoreError,
    StoreFullError,
    StoreUnreachableError,
    WorkerLostError,
)
from film.models import MODELS, find_model
from film.types import Conditioning, RenderJob, Take
from flows import owner
from flows.failures import Verdict, verdict
from flows.lease import LeaseKeeper
from flows.render_process import RenderProcess, default_threads, raised
from flows.task_runs import TaskRuns
from flows.wiring import Farm
from renderer import process
from renderer.base import Rendered
from storage import keys

IDLE_SECONDS = 0.2
"""Pause between two looks for work, where there is none."""
RETRY_SECONDS = 1.0
"""Pause before a take is recorded again that the database did not answer."""
LOAD_SECONDS = 600.0
"""Longest that loading a model may take."""
REAP_SECONDS = 5.0
"""Pause between two looks for leases that ran out."""


class GpuWorker:
    """Renders whatever is ready, until it is told to stop. One per GPU."""

    def __init__(
        self,
        farm: Farm,
        task_runs: TaskRuns,
        *,
        models: Sequence[str] = tuple(MODELS),
        films_only: Sequence[str] | None = None,
    ) -> None:
        self._farm = farm
        self._task_runs = task_runs
        self._models = models
        self._films_only = films_only
        self._process: RenderProcess | None = None
        self._left_lease = False
        self.stopping = threading.Event()
        self.ready_at: float | None = None
        """When the model was loaded, by `time.monotonic`; None before."""

    def run(self) -> None:
        """Claims and renders until `stopping` is set; then gives back what it holds."""
        reaper = threading.Thread(target=self._reap, name="reaper", daemon=True)
        reaper.start()
        try:
            while not self.stopping.is_set():
                try:
                    lease = self._claim()
                    if lease is None:
                        self.stopping.wait(IDLE_SECONDS)
                    else:
                        self._work(lease)
                except DatabaseError:
                    self._left_lease = True
                    self.stopping.wait(RETRY_SECONDS)  # it may come back
        finally:
            if self._process is not None:
                self._process.kill()

    def _claim(self) -> Lease | None:
        with self._farm.database.write() as connection:
            if self._left_lease:  # of a segment that we could not end while it was away
                segments.release_owner(connection, self._farm.owner)
            lease = segments.claim(
                connection,
                self._farm.owner,
                self._models,
                self._farm.settings.lease_seconds,
                self._films_only,
            )
        self._left_lease = False
        return lease

    def _work(self, lease: Lease) -> None:
        """One leased segment, from its conditioning to its take. Every end is recorded."""
        part = [0.0]
        seconds = self._farm.settings.lease_seconds

        def beat() -> bool:
            with self._farm.database.write() as connection:
                return segments.beat(connection, lease, seconds, part[0])

        self._task_runs.started(lease)
        with LeaseKeeper(beat, seconds) as keeper:
            try:
                with tempfile.TemporaryDirectory(
                    dir=self._farm.scratch, ignore_cleanup_errors=True
                ) as folder:
                    job = self._job(lease, Path(folder))
                    rendered = self._render(job, Path(folder), keeper, part)
                    take = self._store(job, rendered, keeper)
                recorded = self._record(lease, take, keeper)
                self._task_runs.ended(lease, "completed" if recorded else "cancelled")
            except DatabaseError:
                self._task_runs.ended(lease, "crashed", "The database did not answer")
                raise
            except Exception as error:  # noqa: BLE001  (whatever it is, the segment must go on)
                self._end_badly(lease, error)

    def _record(self, lease: Lease, take: Take, keeper: LeaseKeeper) -> bool:
        """Records the take; tried as long as the lease is ours, since the work is done."""
        while True:
            try:
                with self._farm.database.write() as connection:
                    return segments.finish(connection, lease, take)
            except DatabaseError:
                if keeper.lost.is_set() or self.stopping.wait(RETRY_SECONDS):
                    raise

    def _job(self, lease: Lease, folder: Path) -> RenderJob:
        """The job of a leased segment, its conditioning fetched into `folder`."""
        with self._farm.database.read() as connection:
            film = films.get(connection, lease.film_id)
        segment = film.plan.segments[lease.position]
        conditioning = None
        if segment.continues is not None:
            before = film.plan.segments[segment.continues]
            path = folder / "before.mkv"
            self._fetch_tail(before.address, path)
            conditioning = Conditioning(path=str(path), num_frames=segment.overlap_frames)
        settings = film.request.settings
        return RenderJob(
            segment_id=lease.id,
            attempt=lease.attempt,
            address=segment.address,
            model=film.plan.model,
            prompt=segment.prompt,
            negative_prompt=settings.negative_prompt,
            seed=segment.seed,
            width=film.plan.width,
            height=film.plan.height,
            num_frames=segment.num_frames,
            fps=film.plan.fps,
            num_inference_steps=settings.num_inference_steps,
            guidance_scale=settings.guidance_scale,
            overlap_frames=segment.overlap_frames,
            keep_frames=segment.keep_frames,
            tail_frames=find_model(film.plan.model).overlap_frames,
            conditioning=conditioning,
        )

    def _fetch_tail(self, address: str, path: Path) -> None:
        """Raises `ObjectMissingError` after forgetting a take whose tail is gone or damaged."""
        try:
            self._farm.store.get_file(keys.take_tail(address), path)
        except (StoreUnreachableError, StoreFullError):
            raise
        except StoreError as error:
            with self._farm.database.write() as connection:
                segments.forget_take(connection, address)
            raise ObjectMissingError(str(error)) from error

    def _render(
        self, job: RenderJob, folder: Path, keeper: LeaseKeeper, part: list[float]
    ) -> Rendered:
        """Raises `RenderError`, or `Cancelled` where we stop or the lease is lost."""
        rendering = self._warm(job.model)
        rendering.send(job, folder)
        heard = time.monotonic()
        while True:
            message = rendering.hear(IDLE_SECONDS)
            if self.stopping.is_set() or keeper.lost.is_set():
                rendering.give_up()
                raise Cancelled
            patience = self._farm.settings.stall_seconds if rendering.loaded else LOAD_SECONDS
            if message is not None:
                heard = time.monotonic()
            elif time.monotonic() - heard > patience:
                rendering.kill()
                raise WorkerLostError(
                    f"The rendering process of {job.model} made no step for {patience:g} s."
                )
            if isinstance(message, process.Ready):
                self.ready_at = time.monotonic()
            elif isinstance(message, process.Progress):
                part[0] = message.part
            elif isinstance(message, process.Done):
                return message.rendered
            elif isinstance(message, process.Failed):
                if not rendering.loaded:
                    rendering.kill()
                raise raised(message)

    def _warm(self, model: str) -> RenderProcess:
        """The rendering process with `model` loaded or loading."""
        if self._process is not None and (self._process.model != model or not self._process.alive):
            self._process.kill()
            self._process = None
        if self._process is None:
            self._process = RenderProcess(model, default_threads(self._farm.settings.threads))
        return self._process

    def _store(self, job: RenderJob, rendered: Rendered, keeper: LeaseKeeper) -> Take:
        """Puts the take's objects under their addresses. Raises `Cancelled` where it lost them."""
        if keeper.lost.is_set():
            raise Cancelled
        tail_key = keys.take_tail(job.address)
        video_key = keys.take_video(job.address)
        self._farm.store.put_file(tail_key, rendered.tail_path)
        video = self._farm.store.put_file(video_key, rendered.video_path)
        return Take(
            address=job.address,
            video_key=video_key,
            tail_key=tail_key,
            num_frames=rendered.num_frames,
            size_bytes=video.size_bytes,
            sha256=video.sha256 or "",
            made_by={**rendered.made_by, "worker": self._farm.owner},
        )

    def _end_badly(self, lease: Lease, error: Exception) -> None:
        decided = verdict(error)
        if decided in (Verdict.GIVE_BACK, Verdict.WAIT):
            with self._farm.database.write() as connection:
                segments.release(connection, lease)
            self._task_runs.ended(lease, "cancelled", f"Given back: {error}")
        else:
            with self._farm.database.write() as connection:
                segments.give_up(
                    connection,
                    lease,
                    _sentence(error),
                    _detail(error),
                    permanent=decided is Verdict.FAIL,
                    attempts=self._farm.settings.segment_attempts,
                )
            self._task_runs.ended(lease, "failed", _sentence(error))
            self.stopping.wait(RETRY_SECONDS)  # whatever it was may pass
        if decided is Verdict.WAIT:
            self.stopping.wait(REAP_SECONDS)

    def _reap(self) -> None:
        """Takes back the leases of the dead, whoever they were."""
        while True:
            try:
                for flow_run_id in owner.release_dead(self._farm.database):
                    self._task_runs.orphaned(flow_run_id)
                with self._farm.database.write() as connection:
                    segments.reap(
                        connection, self._farm.settings.segment_attempts, but_of=self._farm.owner
                    )
            except Exception:  # noqa: BLE001, S110  (looked at again in a moment)
                pass
            if self.stopping.wait(REAP_SECONDS):
                return


def _sentence(error: Exception) -> str:
    """What people read; an error that is not ours is named with its kind."""
    return str(error) if isinstance(error, LongreelError) else f"{type(error).__name__}: {error}"


def _detail(error: Exception) -> str:
    """The traceback, with what the rendering process said of its own."""
    return "".join(traceback.format_exception(error))
