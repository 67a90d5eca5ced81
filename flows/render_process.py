"""The parent's side of the rendering process: start it, give it a job, hear from it, end it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing import resource_tracker
from pathlib import Path

from film.errors import LongreelError, RenderError, WorkerLostError
from film.types import RenderJob
from renderer import process

STOP_SECONDS = 5.0
"""How long a process may take to give up a job before it is killed."""


class RenderProcess:
    """One rendering process with one warm model."""

    def __init__(self, model: str, threads: int) -> None:
        """Starts it; the model loads while the caller goes on."""
        self.model = model
        # A fresh interpreter: neither our threads nor our connections get into it.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=process.main, args=(theirs, model, threads), name=f"render {model}", daemon=True
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
        self._busy = False
        self.loaded = False
        """Whether its model is loaded."""

    def send(self, job: RenderJob, scratch: Path) -> None:
        """Gives it a job; results are written into `scratch`. Raises `WorkerLostError`."""
        try:
            self._pipe.send((job, scratch))
        except OSError:
            raise self._lost() from None
        self._busy = True

    def hear(self, seconds: float) -> process.Message | None:
        """Its next message, None where there is none within `seconds`. Raises `WorkerLostError`."""
        try:
            if not self._pipe.poll(seconds):
                return None
            message: process.Message = self._pipe.recv()
        except (EOFError, OSError):
            raise self._lost() from None
        if isinstance(message, process.Ready):
            self.loaded = True
        if isinstance(message, process.Done | process.Failed | process.Stopped):
            self._busy = False
        return message

    def give_up(self) -> None:
        """Stops its job within a step; a process that does not listen is killed."""
        try:
            self._pipe.send(process.STOP)
            while self._busy:
                if self.hear(STOP_SECONDS) is None:
                    self.kill()
                    return
        except (OSError, WorkerLostError):
            self.kill()

    @property
    def alive(self) -> bool:
        """Whether it can take a job."""
        return self._process.is_alive()

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _lost(self) -> WorkerLostError:
        self._process.join(STOP_SECONDS)
        code = self._process.exitcode
        return WorkerLostError(f"The rendering process of {self.model} died (exit code {code}).")


def raised(failed: process.Failed) -> LongreelError:
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
