"""Several GPUs of this machine that render each segment together, by context parallelism.

The rendering process is one of them. It starts a companion process for each of the others, and all
load the same weights and make the same call; within the denoiser each computes its share of the
tokens. Prompts are encoded by the rendering process alone, which sends them to the companions. A
companion returns nothing, and ends with the rendering process, whatever it is doing.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import timedelta
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed

from film import logs
from film.errors import FlagError, LongreelError, RenderError, WorkerLostError
from film.models import ModelSpec
from film.types import RenderJob
from renderer.pipeline.diffusers_renderer import DiffusersRenderer
from renderer.pipeline.shared_prompts import SharedPrompts
from renderer.pipeline.vae_decoding import Undecoded
from renderer.process import log_records
from renderer.process.log_records import RecordSender
from renderer.process.messages import Logged
from renderer.protocol import Footage, Frames, Renderer, RenderInputs, Setup

Result = TypeVar("Result")

HOST = "127.0.0.1"
LOOK_SECONDS = 0.2
"""Pause between two looks at whether the companions live."""
GRACE_SECONDS = 2.0
"""How long after a companion's end ours may take to fail by itself, and the other way round."""

PATIENCE = timedelta(days=1)
"""How long one waits for another; a process that dies meanwhile is noticed in another way."""

_READY = "ready"
_distributed: Any = torch.distributed  # its types are incomplete


class Ensemble:
    """A `Renderer` that renders with companions. After a job that failed or was given up they are
    in the middle of something, so they are ended and it takes no more."""

    def __init__(
        self,
        spec: ModelSpec,
        setup: Setup,
        start_companion: Callable[[int], Companion] | None = None,
        join: Callable[[int, Any, ModelSpec, Setup], Renderer] | None = None,
    ) -> None:
        """Starts the companions; returns when all have loaded the weights.

        `start_companion` starts the one with the given rank, `join` makes this process a member of
        the group and loads its weights; both are the real ones unless a test gives others. Raises
        `FlagError` if there are fewer GPUs, `WorkerLostError` if a companion died, and what
        `DiffusersRenderer` raises.
        """
        start_companion, join = start_companion or CompanionProcess, join or _member
        count = setup.flags.context_parallel
        assert count
        _require_gpus(count)
        # All of torch's work is in this thread, so that we can watch the companions meanwhile: what
        # waits for one that died may wait for ever.
        self._thread = ThreadPoolExecutor(1, "rank 0")
        self._companions = [start_companion(rank) for rank in range(1, count)]
        level = logging.getLogger(__name__).getEffectiveLevel()
        try:
            store = _meeting_place()
            for companion in self._companions:
                companion.send((companion.rank, store.port, spec, setup, level))
            self._renderer = self._watched(lambda: join(0, store, spec, setup))
            self._await_all()
        except BaseException:
            self.end()
            raise

    def start(self, job: RenderJob, inputs: RenderInputs) -> Future[Footage]:
        """See `Renderer.start`. Raises `WorkerLostError` if a companion died."""
        try:
            for companion in self._companions:
                _require_alive(companion)
                companion.send((job, inputs.first, inputs.last))
            footage = self._watched(lambda: self._renderer.start(job, inputs).result())
        except BaseException:
            self.end()
            raise
        done: Future[Footage] = Future()
        done.set_result(footage)
        return done

    def end(self) -> None:
        """Ends the companions at once."""
        for companion in self._companions:
            companion.kill()

    def _await_all(self) -> None:
        lost = self._lost()
        while lost is None and not all(companion.ready for companion in self._companions):
            time.sleep(LOOK_SECONDS / 10)
            lost = self._lost()
        if lost is not None:
            raise lost

    def _watched(self, work: Callable[[], Result]) -> Result:
        """The result of `work`; if a companion ends meanwhile, raises the reason."""
        future = self._thread.submit(work)
        lost_at = None
        while not wait([future], LOOK_SECONDS).done:
            if self._lost() is None:
                continue
            lost_at = lost_at or time.monotonic()
            if time.monotonic() - lost_at > GRACE_SECONDS:
                break
        if future.done():
            try:
                return future.result()
            except LongreelError:
                raise
            except Exception as error:
                self._raise_lost(error)
                raise
        self._raise_lost(None)
        raise AssertionError("unreachable")

    def _lost(self) -> LongreelError | None:
        return next((lost for one in self._companions if (lost := one.lost())), None)

    def _raise_lost(self, error: Exception | None) -> None:
        """Raises the reason for which a companion ended, if one has."""
        until = time.monotonic() + GRACE_SECONDS
        while (lost := self._lost()) is None and time.monotonic() < until:
            time.sleep(LOOK_SECONDS / 10)
        if lost is not None:
            raise lost from error


class Companion(Protocol):
    """The rendering process's side of a companion."""

    rank: int
    """Which of the GPUs is its own; the first is the rendering process's."""
    ready: bool
    """True if it has loaded the weights."""

    def send(self, message: Any) -> None:
        """Raises `WorkerLostError` if it has ended."""
        ...

    def lost(self) -> LongreelError | None:
        """Why it ended; None while it lives."""
        ...

    def kill(self) -> None:
        """Ends it at once."""
        ...


class Ending(Protocol):
    """What ends a companion's process (`subprocess.Popen` does)."""

    def kill(self) -> None:
        """Ends it at once."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code. Raises `subprocess.TimeoutExpired`."""
        ...


def _start_process(theirs: Connection) -> Ending:
    """A companion at the other end of our pipe, in a fresh interpreter."""
    # Not by multiprocessing: the rendering process is daemonic, and may have no such children.
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "renderer.context_parallel", str(theirs.fileno())],
        pass_fds=(theirs.fileno(),),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


class CompanionProcess:
    """A companion that is a process of this machine."""

    def __init__(
        self, rank: int, start_process: Callable[[Connection], Ending] = _start_process
    ) -> None:
        self.rank = rank
        self.ready = False
        self._failure: LongreelError | None = None
        self._pipe, theirs = Pipe()
        self._process = start_process(theirs)
        theirs.close()

    def send(self, message: Any) -> None:
        """Raises `WorkerLostError`."""
        try:
            self._pipe.send(message)
        except OSError as error:
            raise self.lost() or self._died() from error

    def lost(self) -> LongreelError | None:
        """Why it ended; None while it lives."""
        try:
            while self._failure is None and self._pipe.poll():
                said = self._pipe.recv()
                if said == _READY:
                    self.ready = True
                elif isinstance(said, Logged):
                    log_records.handle(said, {})
                else:
                    self._failure = said
        except (EOFError, OSError):
            self._failure = self._died()
        return self._failure

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()
        self._process.wait()

    def _died(self) -> WorkerLostError:
        try:
            code: Any = self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            code = "none yet"
        return WorkerLostError(
            f"Companion {self.rank} of the rendering process died (exit code {code})."
        )


def _require_alive(companion: Companion) -> None:
    """Raises the reason for which it ended, if it has."""
    lost = companion.lost()
    if lost is not None:
        raise lost


def _meeting_place() -> Any:
    """The store by which the processes find each other.

    On this machine only: torch would listen on every address, and asks for no password.
    """
    listening = socket.create_server((HOST, 0))
    port = listening.getsockname()[1]
    return _distributed.TCPStore(
        HOST,
        port,
        is_master=True,
        wait_for_workers=False,
        timeout=PATIENCE,
        master_listen_fd=listening.detach(),  # torch closes it
    )


def _require_gpus(count: int) -> None:
    there = torch.cuda.device_count()
    if torch.cuda.is_available() and there < count:
        raise FlagError(
            f"{count} GPUs are to render together, but this worker may use only {there}; give it "
            f"more, or set context_parallel lower."
        )


def _member(rank: int, store: Any, spec: ModelSpec, setup: Setup) -> DiffusersRenderer:
    """One of those that render together; returns when all of them are there."""
    assert setup.flags.context_parallel
    # diffusers calls what torch has renamed.
    warnings.filterwarnings("ignore", r"`torch\.distributed\._functional", FutureWarning)
    if torch.cuda.is_available():
        torch.cuda.set_device(rank)
    loopback = (name for _, name in socket.if_nameindex() if name.startswith("lo"))
    os.environ.setdefault("GLOO_SOCKET_IFNAME", next(loopback, "lo"))
    _distributed.init_process_group(
        "nccl" if torch.cuda.is_available() else "gloo",
        store=store,
        rank=rank,
        world_size=setup.flags.context_parallel,
    )
    shared = SharedPrompts(store, rank, setup.flags.context_parallel)
    return DiffusersRenderer(spec, setup.replace(overlap=False), shared)


def _ignore(step: int, steps: int) -> None:
    pass


def accompany(pipe: Connection) -> None:
    """Does what the rendering process at the other end of `pipe` does, until that closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the rendering process stops this one
    orders: queue.Queue[Any] = queue.Queue()
    threading.Thread(target=_listen, args=(pipe, orders), daemon=True).start()
    try:
        rank, port, spec, setup, level = orders.get()
        logs.install(RecordSender(pipe.send), level)
        store = _distributed.TCPStore(HOST, port, is_master=False, timeout=PATIENCE)
        renderer = _member(rank, store, spec, setup.replace(home=None))
        if spec.calling.decodes_last:
            renderer.leave_undecoded()
        pipe.send(_READY)
        while True:
            _render(renderer, *orders.get())
    except LongreelError as error:
        pipe.send(error)
    except Exception as error:  # noqa: BLE001  (the rendering process decides what it means)
        pipe.send(RenderError(f"{type(error).__name__}: {error}"))
    # Not by the ordinary way, which waits for the others.
    os._exit(1)


def _render(
    renderer: DiffusersRenderer, job: RenderJob, first: Frames | None, last: Frames | None
) -> None:
    with suppress(Undecoded):
        renderer.render(job, first, _ignore, last)


def _listen(pipe: Connection, orders: queue.Queue[Any]) -> None:
    while True:
        try:
            orders.put(pipe.recv())
        except (EOFError, OSError):
            os._exit(0)  # the rendering process is gone


if __name__ == "__main__":
    from renderer.environment import prepare_libraries

    prepare_libraries()
    accompany(Connection(int(sys.argv[1])))
