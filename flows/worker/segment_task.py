"""A leased segment on its way through a worker: prepared, rendered, stored."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from db.films import films
from db.segments.claims import Lease
from film.errors import Cancelled
from film.types import RenderJob, Take
from flows.farm import Farm
from flows.take_files import store_file
from flows.worker.failure_policy import retake_seed
from flows.worker.heartbeat import Hold
from flows.worker.inputs import fetch_inputs
from flows.worker.render_job import render_job
from flows.worker.render_process import Rendering
from renderer import cache_folders
from renderer.protocol import Rendered
from storage.keys import TakeFile


@dataclass(frozen=True)
class SegmentTask:
    """A segment that this worker holds, with everything that rendering it needs."""

    hold: Hold
    job: RenderJob
    folder: tempfile.TemporaryDirectory[str]
    """Its files."""

    @property
    def lease(self) -> Lease:
        """The lease on the segment."""
        return self.hold.lease

    @property
    def path(self) -> Path:
        """The folder of its files."""
        return Path(self.folder.name)

    def retake(self, number: int) -> RenderJob:
        """The job of its `number`-th retake, which has another seed; 0 is the job itself."""
        segment = self.job.segment
        return self.job.replace(segment=segment.replace(seed=retake_seed(segment.seed, number)))

    def close(self) -> None:
        """Removes its files."""
        self.folder.cleanup()


@dataclass(frozen=True)
class RenderedTask:
    """A task whose frames are denoised, and are being encoded by the rendering process."""

    task: SegmentTask
    rendering: Rendering
    retake: int
    """Number of the retake, 0 for the seed that was planned."""


def prepare_task(farm: Farm, hold: Hold) -> SegmentTask:
    """Fetches what the held segment is rendered from.

    Raises as `fetch_inputs` does, and `OSError` if this machine has no room for the files.
    """
    lease = hold.lease
    with farm.database.read() as connection:
        film = films.get(connection, lease.film_id)
    folder = tempfile.TemporaryDirectory(dir=farm.scratch.open(), ignore_cleanup_errors=True)
    try:
        files = fetch_inputs(farm, film, lease.position, Path(folder.name))
        job = render_job(lease, film, files, farm.settings.machine_flags)
    except BaseException:
        folder.cleanup()
        raise
    return SegmentTask(hold, job, folder)


def store_take(farm: Farm, done: RenderedTask, rendered: Rendered, worker: str) -> Take:
    """Stores the files of a take under the segment's address.

    Raises `Cancelled` if the lease was lost, and `StoreError`.
    """
    if done.task.hold.lost.is_set():
        raise Cancelled
    address = done.task.job.segment.address
    tail = store_file(farm.store, address, TakeFile.TAIL, rendered.tail_path)
    sound = None
    if rendered.sound_path:
        sound = store_file(farm.store, address, TakeFile.SOUND, rendered.sound_path)
    video = store_file(farm.store, address, TakeFile.VIDEO, rendered.video_path)
    return Take(
        address=address,
        video_key=video.key,
        tail_key=tail.key,
        num_frames=rendered.num_frames,
        contents=rendered.contents,
        size_bytes=video.size_bytes,
        stored_bytes=sum(info.size_bytes for info in (video, tail, sound) if info),
        sha256=video.sha256 or "",
        made_by={**rendered.made_by, **_retake_record(done), "worker": worker},
        sound_key=sound.key if sound else None,
        sound_lead=rendered.sound_lead,
    )


def forget_latents(farm: Farm, task: SegmentTask) -> None:
    """Removes the latents that were kept in case decoding or storing failed."""
    cache_folders.forget_latents(farm.settings.home, task.job)


def _retake_record(done: RenderedTask) -> dict[str, Any]:
    """A retake records its seed, which is not the one that the address was made from."""
    if not done.retake:
        return {}
    return {"retake": done.retake, "seed": done.rendering.seed}
