"""Rendering processes that are forked from one that has imported torch and diffusers already.

The processes and what they do are the real ones; only four seconds of importing are saved for each.
Tests of how a process is started, and everything that runs `longreel`, start a fresh interpreter.
"""

from __future__ import annotations

import multiprocessing
import subprocess
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import TypeVar

from film.models import ModelSpec
from flows.worker.render_process import SpawnedRenderProcess
from renderer import context_parallel
from renderer.context_parallel import CompanionProcess
from renderer.protocol import Setup

Result = TypeVar("Result")

IMPORTED = [
    "renderer.context_parallel",
    "diffusers.pipelines.ltx.pipeline_ltx_condition",
    "diffusers.pipelines.wan.pipeline_wan",
    "peft",
]
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(IMPORTED)


def start_rendering(spec: ModelSpec, setup: Setup) -> SpawnedRenderProcess:
    """A rendering process."""
    return SpawnedRenderProcess(spec, setup, CONTEXT)


def run_alone(work: Callable[[], Result]) -> Result:
    """What `work`, a function of a module, returns in a process of its own."""
    ours, theirs = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_report, args=(theirs, work))
    process.start()
    theirs.close()
    try:
        result: Result = ours.recv()
    finally:
        process.join()
    return result


def _report(pipe: Connection, work: Callable[[], object]) -> None:
    pipe.send(work())


class Forked:
    """A companion's process, with the methods that its owner ends it by."""

    def __init__(self, theirs: Connection) -> None:
        self._process: ForkServerProcess = CONTEXT.Process(
            target=context_parallel.accompany, args=(theirs,), daemon=True
        )
        self._process.start()

    def kill(self) -> None:
        """See `Ending.kill`."""
        self._process.kill()

    def wait(self, timeout: float | None = None) -> int:
        """See `Ending.wait`."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("companion", timeout or 0)
        return self._process.exitcode


def start_companion(rank: int) -> CompanionProcess:
    """A companion of a rendering process."""
    return CompanionProcess(rank, Forked)
