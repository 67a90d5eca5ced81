"""The rendering process: one warm model, one job at a time, told what to do over a pipe.

It touches neither the database nor the store: files in, files out. Its parent holds the lease
and watches it, so that a crash or a stall in here never loses a lease by accident. It ends with
the pipe, whatever it is doing, so none is ever left over.
"""

from __future__ import annotations

import os
import queue
import resource
import signal
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from film.errors import BadPictureError, Cancelled, LongreelError
from film.types import RenderJob, Struct
from media.check import picture_problem
from media.encode import encode_segment
from media.tail import read_tail, write_tail
from renderer.base import Frames, Rendered, Renderer


class Ready(Struct, frozen=True, kw_only=True):
    """The model is loaded."""

    load_seconds: float


class Progress(Struct, frozen=True, kw_only=True):
    """A denoising step is done."""

    part: float


class Done(Struct, frozen=True, kw_only=True):
    """The job is done."""

    rendered: Rendered


class Failed(Struct, frozen=True, kw_only=True):
    """The job, or the loading of the model, failed."""

    kind: str
    """Name of the error's class in film/errors.py; `RenderError` for anything foreign."""
    message: str
    detail: str
    """The traceback."""


class Stopped(Struct, frozen=True, kw_only=True):
    """The job was given up, as asked."""


Message = Ready | Progress | Done | Failed | Stopped

STOP = "stop"


def main(connection: Connection, model: str, threads: int) -> None:
    """Serves `connection` until it closes; the entry of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells us to stop
    orders = _Orders(connection)
    try:
        started = time.perf_counter()
        renderer = _load(model, threads)
        connection.send(Ready(load_seconds=time.perf_counter() - started))
    except Exception as error:  # noqa: BLE001  (the parent decides what it means)
        connection.send(_failure(error))
        return
    while True:
        job, scratch = orders.next_job()
        connection.send(_work(renderer, job, scratch, orders, connection))


def _load(model: str, threads: int) -> Renderer:
    # Threads that wait for work by spinning slow a busy machine down five times and more
    # (docs/decisions/0006-rendering-process.md). To be set before torch loads its threads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import tqdm

    # tqdm's own lock is a semaphore between processes, and would be left over by a kill.
    tqdm.tqdm.set_lock(threading.RLock())
    from renderer.diffusers_renderer import DiffusersRenderer  # torch, in this process only

    return DiffusersRenderer(model, threads)


class _Orders:
    """What the parent sends, read by a thread so that it is heard in the middle of a job."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._jobs: queue.Queue[tuple[RenderJob, Path]] = queue.Queue()
        self.stop = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def next_job(self) -> tuple[RenderJob, Path]:
        return self._jobs.get()

    def _listen(self) -> None:
        while True:
            try:
                order = self._connection.recv()
            except (EOFError, OSError):
                os._exit(0)  # the parent is gone; nobody wants what we do
            if order == STOP:
                self.stop.set()
            else:
                self.stop.clear()
                self._jobs.put(order)


def _work(
    renderer: Renderer, job: RenderJob, scratch: Path, orders: _Orders, connection: Connection
) -> Message:
    def on_step(part: float) -> None:
        if orders.stop.is_set():
            raise Cancelled
        connection.send(Progress(part=part))

    try:
        return Done(rendered=render_to_files(renderer, job, scratch, on_step))
    except Cancelled:
        return Stopped()
    except Exception as error:  # noqa: BLE001  (the parent decides what it means)
        return _failure(error)


def render_to_files(renderer: Renderer, job: RenderJob, scratch: Path, on_step: Any) -> Rendered:
    """Renders `job` and encodes its frames and its tail into files in `scratch`.

    Raises `RenderError`, `MediaError`, or what `on_step` raises.
    """
    clock = _Stopwatch()
    before = _conditioning(job)
    frames = renderer.render(job, before, on_step)
    problem = picture_problem(frames)
    if problem:
        raise BadPictureError(f"Seed {job.seed} gave a picture that is {problem}.")
    clock.lap("render_seconds")
    video, tail = scratch / "video.mp4", scratch / "tail.mkv"
    with ThreadPoolExecutor(1) as beside:  # two ffmpeg processes at the same time
        written = beside.submit(write_tail, _tail(job, before, frames), tail, fps=job.fps)
        encode_segment(frames, video, fps=job.fps)
        written.result()
    clock.lap("encode_seconds")
    return Rendered(
        video_path=str(video),
        tail_path=str(tail),
        num_frames=len(frames),
        made_by={**renderer.made_by(), **clock.laps, "peak_memory_bytes": _peak_memory()},
    )


def _conditioning(job: RenderJob) -> Frames | None:
    """The last `overlap_frames` of the tail before this segment, None after a cut."""
    if job.conditioning is None:
        return None
    return read_tail(Path(job.conditioning.path))[-job.overlap_frames :]


def _tail(job: RenderJob, before: Frames | None, frames: Frames) -> Frames:
    """The frames that condition what follows; a short segment adds from what came before it."""
    import numpy as np

    chain = frames if before is None else np.concatenate([before, frames])
    return chain[-job.tail_frames :]


class _Stopwatch:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = round(now - self._last, 4)
        self._last = now


def _peak_memory() -> int:
    """Peak resident memory of this process in bytes (Linux counts in KiB, macOS in bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if os.uname().sysname == "Darwin" else peak * 1024


def _failure(error: Exception) -> Failed:
    known = isinstance(error, LongreelError)
    return Failed(
        kind=type(error).__name__ if known else "RenderError",
        message=str(error) if known else f"{type(error).__name__}: {error}",
        detail="".join(traceback.format_exception(error)),
    )
