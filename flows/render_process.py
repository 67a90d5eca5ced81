"""The parent's side of the rendering process: start it, give it jobs, hear from it, end it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Mapping
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import psutil

from film.errors import LongreelError, RenderError, WorkerLostError
from film.models import ModelSpec
from film.types import RenderJob
from renderer import log_records, messages, process
from renderer.base import Rendered, Setup

logger = logging.getLogger(__name__)

STOP_SECONDS = 5.0
"""How long a process may take to give up a job before it is killed."""
LOOK_SECONDS = 0.2
"""Pause between two looks at whether a process still moves."""
IDLE_CPU_SHARE = 0.01
"""A process that uses less of one processor is not working at anything."""


class Rendering:
    """A job in the hands of a rendering process. Two threads may hear of its two halves."""

    def __init__(
        self, process_: RenderProcess, job: RenderJob, ids: Mapping[str, Any] | None = None
    ) -> None:
        """`ids`: what log records of the job carry (`film.logs.ids`)."""
        self.process = process_
        self.ids = dict(ids or {})
        self.key = messages.key_of(job)
        self.seed = job.seed
        self.messages: queue.Queue[messages.JobMessage | LongreelError] = queue.Queue()
        self.pictured = False
        """Whether its pictures are denoised."""

    def hear(self, seconds: float) -> messages.JobMessage | None:
        """The next that is said of it, None where nothing is within `seconds`.

        Raises `WorkerLostError` where the process died.
        """
        try:
            message = self.messages.get(timeout=seconds)
        except queue.Empty:
            return None
        if isinstance(message, LongreelError):
            raise message
        return message

    def files(self, watch: Watch) -> Rendered:
        """What it gave, once its pictures are there; waits for the encoder as long as `watch` does.

        Raises `WorkerLostError`, or the error that encoding ended with.
        """
        while (message := self.hear(LOOK_SECONDS)) is None:
            watch.require_moving()
        if isinstance(message, messages.Done):
            return message.rendered
        assert isinstance(message, messages.Failed)
        raise raised(message)


class RenderProcess:
    """One rendering process with one warm model."""

    def __init__(self, spec: ModelSpec, setup: Setup) -> None:
        """Starts it; the weights load while the caller goes on."""
        self.model, self.setup = spec.name, setup
        # A fresh interpreter: neither our threads nor our connections get into it.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=process.main,
            args=(theirs, spec, setup, logger.getEffectiveLevel()),
            name=f"render {spec.name}",
            daemon=True,
        )
        # Ctrl-C reaches the whole group of processes; what it means is for us to decide. The
        # tracker that multiprocessing starts first would unblock the signal again.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self._renderings: dict[messages.JobKey, Rendering] = {}
        self._lock, self._killing = threading.Lock(), threading.Lock()
        self._gone: LongreelError | None = None
        self._broken = False
        self.ready_at: float | None = None
        """When its model was loaded, by `time.monotonic`; None before."""
        self._listener = threading.Thread(target=self._listen, name="listener", daemon=True)
        self._listener.start()

    def begin(
        self, job: RenderJob, scratch: Path, ids: Mapping[str, Any] | None = None
    ) -> Rendering:
        """Gives it a job; its files will be in `scratch`. Raises `WorkerLostError`."""
        rendering = Rendering(self, job, ids)
        with self._lock:
            if self._gone:
                raise self._gone
            self._renderings[rendering.key] = rendering
        try:
            self._pipe.send((job, scratch))
        except OSError:
            raise self._lost() from None
        return rendering

    def give_up(self, rendering: Rendering) -> None:
        """Stops a job within a step; a process that does not listen is killed."""
        try:
            self._pipe.send(messages.Stop(job=rendering.key))
            while True:
                message = rendering.hear(STOP_SECONDS)
                if isinstance(message, messages.Stopped | messages.Failed | messages.Pictured):
                    return
                if message is None:
                    break
        except (OSError, LongreelError) as error:
            logger.debug("The rendering process did not give up its job: %s", error)
        self.kill()

    def serves(self, spec: ModelSpec, setup: Setup) -> bool:
        """Whether it can take a job of that model, loaded like that."""
        return self.alive and (self.model, self.setup) == (spec.name, setup)

    @property
    def alive(self) -> bool:
        """Whether it can take a job; one that cannot may still be encoding the ones before."""
        return self._gone is None and not self._broken and self._process.is_alive()

    @property
    def loaded(self) -> bool:
        """Whether its model is loaded."""
        return self.ready_at is not None

    @property
    def pid(self) -> int:
        """Its number among the machine's processes."""
        assert self._process.pid is not None
        return self._process.pid

    def cpu_seconds(self) -> float:
        """Processor time used so far by its threads and the programs that it runs (ffmpeg); 0
        where it has ended."""
        try:
            me = psutil.Process(self.pid)
            programs = me.children(recursive=True)
            # What ended programs had used counts as their parent's.
            ended = me.cpu_times().children_user + me.cpu_times().children_system
        except psutil.Error:
            return 0.0
        return float(ended) + sum(map(_cpu_of, [me, *programs]))

    def kill(self) -> None:
        """Ends it at once. Whichever thread asks: the one that renders, or one that stores."""
        with self._killing:
            self._process.kill()
            self._process.join()
            self._listener.join()
            self._pipe.close()

    def _listen(self) -> None:
        while True:
            try:
                message: messages.Message = self._pipe.recv()
            except (EOFError, OSError):
                self._end(self._lost())
                return
            if isinstance(message, messages.Ready):
                self.ready_at = time.monotonic()
                logger.info("Model %s loaded in %.1f s", self.model, message.load_seconds)
            elif isinstance(message, messages.Logged):
                self._log(message)
            elif message.job is None:
                self._end(raised(message))
                return
            else:
                self._tell(message)

    def _log(self, message: messages.Logged) -> None:
        """Hands a record of the rendering process to this process's handlers."""
        with self._lock:
            rendering = self._renderings.get(message.job) if message.job else None
        log_records.handle(message, rendering.ids if rendering else {})

    def _tell(self, message: messages.JobMessage) -> None:
        assert message.job is not None
        with self._lock:
            rendering = self._renderings[message.job]
            if isinstance(message, messages.Pictured):
                rendering.pictured = True
            elif isinstance(message, messages.Failed | messages.Stopped):
                self._broken |= self._is_ended_by(rendering)
            if isinstance(message, messages.Done | messages.Failed | messages.Stopped):
                del self._renderings[message.job]
        rendering.messages.put(message)

    def _is_ended_by(self, broken_off: Rendering) -> bool:
        """Whether a job that was broken off takes it along: those that rendered it together are
        each at another place."""
        return bool(self.setup.flags.context_parallel) and not broken_off.pictured

    def _end(self, error: LongreelError) -> None:
        """Every job that it had ends with `error`."""
        with self._lock:
            self._gone = error
            left, self._renderings = self._renderings, {}
        for rendering in left.values():
            rendering.messages.put(error)

    def _lost(self) -> WorkerLostError:
        self._process.join(STOP_SECONDS)
        code = self._process.exitcode
        return WorkerLostError(f"The rendering process of {self.model} died (exit code {code}).")


class Watch:
    """Notices that a rendering process does nothing any more, though it lives, and kills it."""

    def __init__(self, rendering: RenderProcess, *, stall: float, step: float, load: float) -> None:
        """`stall`: seconds without a step and without using the processor; `step`: seconds for
        a step, whatever it does; `load`: seconds for loading the model."""
        self._process = rendering
        self._stall, self._step, self._load = stall, step, load
        self.heard()

    def heard(self) -> None:
        """It made a step."""
        self._since = self._worked = time.monotonic()
        self._cpu = self._process.cpu_seconds()
        self._loaded = self._process.loaded

    def require_moving(self) -> None:
        """Kills it and raises `WorkerLostError` where it is stuck; to be asked about once a
        second."""
        try:
            self._require_moving()
        except WorkerLostError:
            self._process.kill()
            raise

    def _require_moving(self) -> None:
        if self._process.loaded != self._loaded:
            self.heard()
        now, cpu = time.monotonic(), self._process.cpu_seconds()
        if cpu - self._cpu > IDLE_CPU_SHARE * (now - self._worked):
            self._worked, self._cpu = now, cpu
        longest = self._step if self._loaded else self._load
        doing = "made no step" if self._loaded else "did not load its model"
        if now - self._since > longest:
            raise WorkerLostError(
                f"The rendering process of {self._process.model} {doing} for {longest:g} s; "
                f"where that is how slow the device is, raise LONGREEL_STEP_SECONDS."
            )
        if now - self._worked > self._stall:
            raise WorkerLostError(
                f"The rendering process of {self._process.model} stalled: {doing} and used no "
                f"processor for {self._stall:g} s."
            )


def _cpu_of(running: psutil.Process) -> float:
    try:
        times = running.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def raised(failed: messages.Failed) -> LongreelError:
    """The error that a rendering process reported, as the class it was there."""
    import film.errors

    kind = getattr(film.errors, failed.kind, RenderError)
    error: LongreelError = kind(failed.message)
    error.add_note(failed.detail)
    return error


def default_threads(configured: int) -> int:
    """CPU threads of a rendering process: as configured, else one per processor we may use."""
    if configured > 0:
        return configured
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
