"""The worker's side of a rendering process: start it, send jobs, receive messages, end it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing import resource_tracker
from multiprocessing.context import ForkServerContext, SpawnContext
from pathlib import Path
from typing import Any, Protocol

import psutil

from film.errors import LongreelError, RenderError, WorkerLostError
from film.models import ModelSpec
from film.types import RenderJob
from renderer.process import log_records, main, messages
from renderer.protocol import Rendered, Setup

logger = logging.getLogger(__name__)

STOP_SECONDS = 5.0
"""Longest time that a process may take to give up a job before it is killed, in seconds."""
LOOK_SECONDS = 0.2
"""Pause between two looks at whether a process still moves."""
IDLE_CPU_SHARE = 0.01
"""A process that uses a smaller share of one processor than this is idle."""


class Rendering:
    """A job that a rendering process was sent. One thread receives the messages until its pictures
    are denoised, another thread those that follow."""

    def __init__(
        self, process_: RenderProcess, job: RenderJob, ids: Mapping[str, Any] | None = None
    ) -> None:
        """`ids`: what log records of the job carry (`film.logs.ids`)."""
        self.process = process_
        self.ids = dict(ids or {})
        self.key = messages.key_of(job)
        self.seed = job.segment.seed
        self.messages: queue.Queue[messages.JobMessage | LongreelError] = queue.Queue()
        self.pictured = False
        """True once its pictures are denoised."""

    def receive(self, seconds: float) -> messages.JobMessage | None:
        """The next message about it, None if none arrives within `seconds`.

        Raises `WorkerLostError` if the process died.
        """
        try:
            message = self.messages.get(timeout=seconds)
        except queue.Empty:
            return None
        if isinstance(message, LongreelError):
            raise message
        return message

    def files(self, watch: Watch) -> Rendered:
        """The files of the take. Waits for the encoder as long as `watch` allows.

        Raises `WorkerLostError`, or the error that encoding ended with.
        """
        while (message := self.receive(LOOK_SECONDS)) is None:
            watch.require_moving()
        if isinstance(message, messages.Done):
            return message.rendered
        assert isinstance(message, messages.Failed)
        raise received_error(message)


class RenderProcess(Protocol):
    """A process with one warm model, which renders one job after another."""

    model: str
    ready_at: float | None
    """When its model was loaded, by `time.monotonic`; None before."""

    def begin(
        self, job: RenderJob, scratch: Path, ids: Mapping[str, Any] | None = None
    ) -> Rendering:
        """Sends it a job, whose files it writes to `scratch`. Raises `WorkerLostError`.

        `ids`: what log records of the job carry (`film.logs.ids`).
        """
        ...

    def give_up(self, rendering: Rendering) -> None:
        """Stops a job within a step; a process that does not react is killed."""

    def serves(self, spec: ModelSpec, setup: Setup) -> bool:
        """True if it can take a job of that model, loaded with that setup."""
        ...

    @property
    def loaded(self) -> bool:
        """True once its model is loaded."""
        ...

    def cpu_seconds(self) -> float:
        """Processor time that its threads and its programs (ffmpeg) have used; 0 if it ended."""
        ...

    def kill(self) -> None:
        """Ends it at once. Any thread may call this."""


StartProcess = Callable[[ModelSpec, Setup], RenderProcess]


class SpawnedRenderProcess:
    """The real `RenderProcess`: a fresh Python interpreter at the other end of a pipe."""

    def __init__(
        self, spec: ModelSpec, setup: Setup, context: SpawnContext | ForkServerContext | None = None
    ) -> None:
        """Starts it. The weights load while the caller continues.

        `context`: how Python starts it. By default with a fresh interpreter, which inherits neither
        threads nor connections of this process.
        """
        self.model, self.setup = spec.name, setup
        context = context or multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=main.serve,
            args=(theirs, spec, setup, logger.getEffectiveLevel()),
            name=f"render {spec.name}",
            daemon=True,
        )
        # Ctrl-C reaches the whole process group, and this process decides what it means. The
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
        """See `RenderProcess`."""
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
        """See `RenderProcess`."""
        try:
            self._pipe.send(messages.Stop(job=rendering.key))
            while True:
                message = rendering.receive(STOP_SECONDS)
                if isinstance(message, messages.Stopped | messages.Failed | messages.Pictured):
                    return
                if message is None:
                    break
        except (OSError, LongreelError) as error:
            logger.debug("The rendering process did not give up its job: %s", error)
        self.kill()

    def serves(self, spec: ModelSpec, setup: Setup) -> bool:
        """See `RenderProcess`."""
        return self.alive and (self.model, self.setup) == (spec.name, setup)

    @property
    def alive(self) -> bool:
        """True if it can take a job. One that cannot may still be encoding earlier ones."""
        return self._gone is None and not self._broken and self._process.is_alive()

    @property
    def loaded(self) -> bool:
        """See `RenderProcess`."""
        return self.ready_at is not None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    def cpu_seconds(self) -> float:
        """See `RenderProcess`."""
        try:
            me = psutil.Process(self.pid)
            programs = me.children(recursive=True)
            # The time of programs that have ended counts as their parent's.
            ended = me.cpu_times().children_user + me.cpu_times().children_system
        except psutil.Error:
            return 0.0
        return float(ended) + sum(map(_cpu_of, [me, *programs]))

    def kill(self) -> None:
        """See `RenderProcess`."""
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
                self._end(received_error(message))
                return
            else:
                self._deliver(message)

    def _log(self, message: messages.Logged) -> None:
        """Hands a record of the rendering process to this process's handlers."""
        with self._lock:
            rendering = self._renderings.get(message.job) if message.job else None
        log_records.handle(message, rendering.ids if rendering else {})

    def _deliver(self, message: messages.JobMessage) -> None:
        assert message.job is not None
        with self._lock:
            rendering = self._renderings[message.job]
            if isinstance(message, messages.Pictured):
                rendering.pictured = True
            elif isinstance(message, messages.Failed | messages.Stopped):
                self._broken |= self._is_broken_by(rendering)
            if isinstance(message, messages.Done | messages.Failed | messages.Stopped):
                del self._renderings[message.job]
        rendering.messages.put(message)

    def _is_broken_by(self, broken_off: Rendering) -> bool:
        """True if the process can take no more jobs after this one was broken off: processes that
        render together are then at different steps."""
        return bool(self.setup.flags.context_parallel) and not broken_off.pictured

    def _end(self, error: LongreelError) -> None:
        """Ends every job that it had with `error`."""
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
    """Notices that a living rendering process does nothing any more, and kills it."""

    def __init__(self, rendering: RenderProcess, *, stall: float, step: float, load: float) -> None:
        """Longest times in seconds. `stall`: without a step and without using the processor.
        `step`: for one step, also if it uses the processor. `load`: for loading the model."""
        self._process = rendering
        self._stall, self._step, self._load = stall, step, load
        self.note_progress()

    def note_progress(self) -> None:
        """Restarts the clock after a step."""
        self._since = self._worked = time.monotonic()
        self._cpu = self._process.cpu_seconds()
        self._loaded = self._process.loaded

    def require_moving(self) -> None:
        """Kills it and raises `WorkerLostError` if it is stuck. To be called once a second."""
        try:
            self._require_moving()
        except WorkerLostError:
            self._process.kill()
            raise

    def _require_moving(self) -> None:
        if self._process.loaded != self._loaded:
            self.note_progress()
        now, cpu = time.monotonic(), self._process.cpu_seconds()
        if cpu - self._cpu > IDLE_CPU_SHARE * (now - self._worked):
            self._worked, self._cpu = now, cpu
        longest = self._step if self._loaded else self._load
        doing = "made no step" if self._loaded else "did not load its model"
        if now - self._since > longest:
            raise WorkerLostError(
                f"The rendering process of {self._process.model} {doing} for {longest:g} s; "
                f"if the device is that slow, raise LONGREEL_STEP_SECONDS."
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


def received_error(failed: messages.Failed) -> LongreelError:
    """The error that a rendering process reported, of the class that it had there."""
    import film.errors

    kind = getattr(film.errors, failed.kind, RenderError)
    error: LongreelError = kind(failed.message)
    error.add_note(failed.detail)
    return error


def default_threads(configured: int) -> int:
    """CPU threads of a rendering process: as configured, else one per processor that it may use."""
    if configured > 0:
        return configured
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
