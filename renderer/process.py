"""The rendering process: one warm model, told what to do over a pipe, one job after another.

A job's pictures are decoded (where the GPU has the memory), checked and encoded beside the
denoising of the next one, so that the device never waits for ffmpeg. It touches neither the
database nor the store: files in, files out. Its parent holds the lease and watches it, so that a
crash or a stall in here never loses a lease by accident. It ends with the pipe, whatever it is
doing, so none is ever left over.
"""

from __future__ import annotations

import logging
import os
import queue
import resource
import signal
import threading
import time
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from film.errors import BadPictureError, Cancelled, LongreelError, OutOfMemoryError
from film.models import ModelSpec
from film.types import RenderJob, Struct
from media.check import picture_problem
from media.encode import encode_segment
from media.pictures import fitted_picture
from media.sound import write_sound
from media.tail import read_tail, write_tail
from renderer.base import Footage, Frames, OnStep, Rendered, Renderer, Setup, Sound
from renderer.exhaustion import is_out_of_memory, started_pool

JobKey = tuple[int, int]
"""Names a job: id of its segment, and attempt."""


class Ready(Struct, frozen=True, kw_only=True):
    """The model is loaded."""

    load_seconds: float


class Progress(Struct, frozen=True, kw_only=True):
    """A denoising step is done."""

    job: JobKey
    step: int
    """From 1 to `steps`."""
    steps: int


class Pictured(Struct, frozen=True, kw_only=True):
    """The job's pictures are denoised; the next job may come while they are decoded, checked and
    encoded."""

    job: JobKey


class Done(Struct, frozen=True, kw_only=True):
    """The job is done."""

    job: JobKey
    rendered: Rendered


class Failed(Struct, frozen=True, kw_only=True):
    """The job failed, or, where it names none, the loading of the model."""

    job: JobKey | None
    kind: str
    """Name of the error's class in film/errors.py; `RenderError` for anything foreign."""
    message: str
    detail: str
    """The traceback."""


class Stopped(Struct, frozen=True, kw_only=True):
    """The job was given up, as asked."""

    job: JobKey


JobMessage = Progress | Pictured | Done | Failed | Stopped
Message = Ready | JobMessage


class Stop(Struct, frozen=True, kw_only=True):
    """An order: give up this job, if you are still rendering it."""

    job: JobKey


def key_of(job: RenderJob) -> JobKey:
    """The name of a job."""
    return job.segment_id, job.attempt


def main(connection: Connection, spec: ModelSpec, setup: Setup) -> None:
    """Serves `connection` until it closes; the entry of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells us to stop
    outlet = _Outlet(connection)
    orders = _Orders(connection)
    try:
        started = time.perf_counter()
        renderer = _load(spec, setup)
        outlet.send(Ready(load_seconds=time.perf_counter() - started))
    except Exception as error:  # noqa: BLE001  (the parent decides what it means)
        outlet.send(_failure(None, f"to load the model {spec.name!r}", error))
        return
    encoder = _Encoder(outlet)
    while True:
        job, scratch = orders.next_job()
        _work(renderer, job, scratch, orders, outlet, encoder)


class _Outlet:
    """What the parent hears, from whichever thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        with self._lock:
            self._connection.send(message)


def prepare_libraries() -> None:
    """To be done in a process that renders, before it imports torch."""
    # Threads that wait for work by spinning slow a busy machine down five times and more
    # (docs/decisions/0006-rendering-process.md). To be set before torch loads its threads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import tqdm

    # tqdm's own lock is a semaphore between processes, and would be left over by a kill.
    tqdm.tqdm.set_lock(threading.RLock())
    for chatty in ("torchao", "torch.utils._pytree"):  # of kernels for other machines
        logging.getLogger(chatty).setLevel(logging.ERROR)


def _load(spec: ModelSpec, setup: Setup) -> Renderer:
    prepare_libraries()
    if setup.flags.context_parallel:
        from renderer.ensemble import Ensemble

        return Ensemble(spec, setup)
    from renderer.diffusers_renderer import DiffusersRenderer  # torch, in this process only

    return DiffusersRenderer.of(spec, setup)


class _Orders:
    """What the parent sends, read by a thread so that it is heard in the middle of a job."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._jobs: queue.Queue[tuple[RenderJob, Path]] = queue.Queue()
        self._stopped: JobKey | None = None
        threading.Thread(target=self._listen, daemon=True).start()

    def next_job(self) -> tuple[RenderJob, Path]:
        return self._jobs.get()

    def require_wanted(self, job: RenderJob) -> None:
        """Raises `Cancelled` where the parent gave the job up."""
        if self._stopped == key_of(job):
            raise Cancelled

    def _listen(self) -> None:
        while True:
            try:
                order = self._connection.recv()
            except (EOFError, OSError):
                os._exit(0)  # the parent is gone; nobody wants what we do
            if isinstance(order, Stop):
                self._stopped = order.job
            else:
                self._stopped = None
                self._jobs.put(order)


class _Encoder:
    """Does what is left to do with pictures in a thread, one job at a time, and tells the parent of
    the files."""

    def __init__(self, outlet: _Outlet) -> None:
        self._outlet = outlet
        self._pool = started_pool(1, "encoder")
        self._last: Future[None] | None = None

    def wait(self) -> None:
        """Until the job before is encoded, so that pictures do not pile up."""
        if self._last is not None:
            self._last.result()

    def begin(self, pictures: Pictures, scratch: Path) -> None:
        """Encodes into `scratch`; returns at once."""
        self._last = self._pool.submit(self._encode, pictures, scratch)

    def _encode(self, pictures: Pictures, scratch: Path) -> None:
        job = pictures.job
        try:
            self._outlet.send(Done(job=key_of(job), rendered=encode(pictures, scratch)))
        except Exception as error:  # noqa: BLE001  (the parent decides what it means)
            self._outlet.send(_failure(key_of(job), _wanted(job), error))


def _work(
    renderer: Renderer,
    job: RenderJob,
    scratch: Path,
    orders: _Orders,
    outlet: _Outlet,
    encoder: _Encoder,
) -> None:
    key = key_of(job)

    def on_step(step: int, steps: int) -> None:
        orders.require_wanted(job)
        outlet.send(Progress(job=key, step=step, steps=steps))

    try:
        orders.require_wanted(job)
        pictures = start(renderer, job, on_step)
        encoder.wait()
        outlet.send(Pictured(job=key))  # before anything can be said of its files
        encoder.begin(pictures, scratch)
    except Cancelled:
        outlet.send(Stopped(job=key))
    except Exception as error:  # noqa: BLE001  (the parent decides what it means)
        outlet.send(_failure(key, _wanted(job), error))


@dataclass(frozen=True)
class Given:
    """The pictures that a segment is rendered from."""

    chain: Frames | None
    """The tail that it goes on from, all of it; None after a cut."""
    first: Frames | None
    """What it begins with: the end of `chain`, or one picture."""
    last: Frames | None
    """The one that it ends with."""


@dataclass(frozen=True)
class Pictures:
    """A job's frames and sound, neither checked nor encoded, and perhaps still being decoded."""

    job: RenderJob
    given: Given
    footage: Future[Footage]


def start(renderer: Renderer, job: RenderJob, on_step: OnStep) -> Pictures:
    """The pictures of `job`, once the next one may be started. Raises `RenderError`, `MediaError`,
    or what `on_step` raises."""
    given = _given(job)
    return Pictures(job, given, renderer.start(job, given.first, on_step, given.last))


def encode(pictures: Pictures, scratch: Path) -> Rendered:
    """Writes the frames, their tail and sound into files in `scratch`.

    Raises `MediaError`, `RenderError`.
    """
    job, footage = pictures.job, pictures.footage.result()
    frames, sound = footage.frames, footage.sound
    began = time.perf_counter()
    problem = picture_problem(frames)
    if problem:
        raise BadPictureError(f"Seed {job.seed} gave a picture that is {problem}.")
    video, tail = scratch / "video.mp4", scratch / "tail.mkv"
    with ThreadPoolExecutor(1) as beside:  # two ffmpeg processes at the same time
        written = beside.submit(write_tail, _tail(pictures, frames), tail, fps=job.fps)
        encode_segment(frames, video, fps=job.fps, size=job.film_size)
        written.result()
    sound_path = _written(sound, scratch / "sound.flac") if sound else None
    encode_seconds = round(time.perf_counter() - began, 4)
    peak = {"encode_seconds": encode_seconds, "peak_memory_bytes": _peak_memory()}
    return Rendered(
        video_path=str(video),
        tail_path=str(tail),
        num_frames=len(frames),
        made_by={**footage.made_by, **peak},
        sound_path=sound_path,
        sound_lead=sound.lead if sound else 0,
    )


def _written(sound: Sound, path: Path) -> str:
    write_sound(sound.samples, path, rate=sound.rate)
    return str(path)


def _given(job: RenderJob) -> Given:
    """Reads what the job names. Raises `MediaError`."""
    tail = None if job.conditioning is None else read_tail(Path(job.conditioning.path))
    if tail is not None and job.keyframe is not None:
        begin, end = (tail[n : n + 1] for n in (job.keyframe, job.keyframe + 1))
        return Given(begin if job.overlap_frames else None, begin, end)
    first = tail[-job.overlap_frames :] if tail is not None else _picture(job, job.image_path)
    return Given(tail, first, _picture(job, job.last_image_path))


def _picture(job: RenderJob, path: str | None) -> Frames | None:
    """A picture that the user gave, as one frame of the size that is rendered."""
    return None if path is None else fitted_picture(Path(path), job.width, job.height)[None]


def _tail(pictures: Pictures, frames: Frames) -> Frames:
    """The frames that condition what follows; a short segment adds from what came before it.

    Of an anchor its keyframes: at the ends the pictures that it was given, as they are.
    """
    import numpy as np

    job, given = pictures.job, pictures.given
    if job.keyframes:
        kept = frames[list(job.keyframes)]
        if given.first is not None:
            kept[0] = given.first[-1]
        if given.last is not None:
            kept[-1] = given.last[-1]
        return kept
    chain = frames if given.chain is None else np.concatenate([given.chain, frames])
    return chain[-job.tail_frames :]


def _peak_memory() -> int:
    """Peak resident memory of this process in bytes (Linux counts in KiB, macOS in bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if os.uname().sysname == "Darwin" else peak * 1024


def _wanted(job: RenderJob) -> str:
    return f"for {job.num_frames} frames of {job.width}x{job.height}"


def _failure(job: JobKey | None, wanted: str, error: Exception) -> Failed:
    """`wanted`: what memory was needed for, if that is what ran out."""
    detail = "".join(traceback.format_exception(error))
    if is_out_of_memory(error) and not isinstance(error, OutOfMemoryError):
        error = OutOfMemoryError(
            f"The worker has too little memory {wanted}; one with more is needed."
        )
    known = isinstance(error, LongreelError)
    return Failed(
        job=job,
        kind=type(error).__name__ if known else "RenderError",
        message=str(error) if known else f"{type(error).__name__}: {error}",
        detail=detail,
    )
