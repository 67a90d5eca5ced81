"""The rendering process: one warm model that receives jobs through a pipe, one after another.

A job's pictures are decoded (if the GPU has the memory), checked and encoded while the next one is
denoised, so that the device never waits for ffmpeg. It touches neither the database nor the store:
files in, files out. Its parent holds the lease and watches it, so that a crash or a stall of this
process never loses a lease by accident. It ends with the pipe, whatever it is doing, so that none
is ever left over.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
import time
from concurrent.futures import Future
from multiprocessing.connection import Connection
from pathlib import Path

from film import logs
from film.errors import Cancelled
from film.models import ModelSpec
from film.types import RenderJob
from renderer.environment import prepare_libraries
from renderer.out_of_memory import started_pool
from renderer.process.log_records import RecordSender
from renderer.process.messages import (
    Done,
    JobKey,
    Message,
    Pictured,
    Progress,
    Ready,
    Stop,
    Stopped,
    failure,
    key_of,
    wanted,
)
from renderer.process.segment_files import Pictures, encode, start
from renderer.protocol import Renderer, Setup


def serve(
    connection: Connection, spec: ModelSpec, setup: Setup, log_level: int = logging.WARNING
) -> None:
    """Serves `connection` until it closes; the entry of the process.

    Log records of `log_level` and above are sent to the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent asks us to stop
    outlet = _Outlet(connection)
    records = RecordSender(outlet.send)
    logs.install(records, log_level)
    orders = _Orders(connection)
    try:
        started = time.perf_counter()
        renderer = _load(spec, setup)
        outlet.send(Ready(load_seconds=time.perf_counter() - started))
    except Exception as error:  # noqa: BLE001  (the parent decides what it means)
        outlet.send(failure(None, f"to load the model {spec.name!r}", error))
        return
    encoder = _Encoder(outlet)
    while True:
        job, scratch = orders.next_job()
        records.job = key_of(job)
        _work(renderer, job, scratch, orders, outlet, encoder)
        records.job = None


class _Outlet:
    """Sends messages to the parent, from any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        with self._lock:
            self._connection.send(message)


def _load(spec: ModelSpec, setup: Setup) -> Renderer:
    prepare_libraries()
    if setup.flags.context_parallel:
        from renderer.context_parallel import Ensemble

        return Ensemble(spec, setup)
    from renderer.pipeline.diffusers_renderer import (
        DiffusersRenderer,  # torch, in this process only
    )

    return DiffusersRenderer(spec, setup)


class _Orders:
    """Orders of the parent, read by a thread so that they are received during a job."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._jobs: queue.Queue[tuple[RenderJob, Path]] = queue.Queue()
        self._stopped: JobKey | None = None
        threading.Thread(target=self._listen, daemon=True).start()

    def next_job(self) -> tuple[RenderJob, Path]:
        return self._jobs.get()

    def require_wanted(self, job: RenderJob) -> None:
        """Raises `Cancelled` if the parent gave the job up."""
        if self._stopped == key_of(job):
            raise Cancelled

    def _listen(self) -> None:
        while True:
            try:
                order = self._connection.recv()
            except (EOFError, OSError):
                os._exit(0)  # the parent is gone
            if isinstance(order, Stop):
                self._stopped = order.job
            else:
                self._stopped = None
                self._jobs.put(order)


class _Encoder:
    """Encodes pictures in a thread, one job at a time, and sends the files to the parent."""

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
            self._outlet.send(failure(key_of(job), wanted(job), error))


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
        outlet.send(Pictured(job=key))  # before any message about its files
        encoder.begin(pictures, scratch)
    except Cancelled:
        outlet.send(Stopped(job=key))
    except Exception as error:  # noqa: BLE001  (the parent decides what it means)
        outlet.send(failure(key, wanted(job), error))
