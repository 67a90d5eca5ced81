"""`longreel worker` as a Prefect flow, so that a work pool places it on a machine.

The flow runs the command itself in a process beside it, and ends when that ends: one worker for
each GPU, as by hand. What the command says goes to the log of the flow run.

It imports nothing but Prefect and flows/supervisor.py: Prefect also loads it with a folder of its
own first on the path, in which there is a module `storage`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed, Crashed, Failed

from flows.supervisor import CLOSING_SECONDS

ERROR = "longreel: "
"""A command's last word begins with it where something is wrong."""
PARENT_SECONDS = 1.0
"""Pause between two looks at whether the process that started this one is still there."""


def _run_name() -> str:
    return f"worker on {socket.gethostname()}"


@flow(name="longreel worker", flow_run_name=_run_name, persist_result=False)
def run_worker(
    models: str | None = None,
    tags: str | None = None,
    name: str | None = None,
    quiet: str | None = None,
    gpus: str | None = None,
    processes: int | None = None,
    until_idle: bool = False,
    once: bool = False,
) -> State[Any]:
    """Runs `longreel worker` with these options on the machine that the run is placed on.

    The run fails where the command ends with anything but 0, with its last sentence. Where the
    run is cancelled, the command gives back what it has and ends.
    """
    tell = _teller()
    options = _options(
        models=models, tags=tags, name=name, quiet=quiet, gpus=gpus, processes=processes
    )
    options += ["--until-idle"] * until_idle + ["--once"] * once
    # The run, and how often Prefect had begun it: read again by flows/placement.py.
    options += ["--flow-run", f"{runtime.flow_run.id}/{runtime.flow_run.run_count}"]
    with _running(options, tell) as command, _ended_with_parent(command) as orphaned:
        error = ""
        for line in _said(command):
            tell(line)
            error = line.removeprefix(ERROR) if line.startswith(ERROR) else error
        code = command.wait()
    return ending(code, error, orphaned=orphaned.is_set())


def ending(code: int, error: str, *, orphaned: bool = False) -> State[Any]:
    """The state of a run whose command ended with `code`; `error` is its last sentence, or "".

    `orphaned`: it was told to end, since the Prefect worker that had placed it was gone.
    """
    if orphaned:
        return Crashed(message="Its Prefect worker was killed; what it had begun is given back")
    if code == 0:
        return Completed(message="The worker ended; what it had begun is done or given back")
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return Failed(message=f"The worker ended ({how}){f': {error}' if error else ''}")


def _teller() -> Callable[[str], None]:
    """What writes a line to the log of this flow run."""
    log = get_run_logger()

    def tell(line: str) -> None:
        try:
            log.info(line)
        except SystemExit:  # rich's answer to a pipe that Prefect's worker reads no more
            _print_no_more()

    return tell


def _print_no_more() -> None:
    """What this process prints goes nowhere from now on."""
    with Path(os.devnull).open("wb") as nowhere:
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)


def _options(**values: object) -> list[str]:
    return [
        word
        for name, value in values.items()
        if value is not None
        for word in (f"--{name}", str(value))
    ]


@contextmanager
def _running(
    options: Sequence[str], tell: Callable[[str], None]
) -> Iterator[subprocess.Popen[str]]:
    """The command, until it has ended; it is ended where the block does not wait for that."""
    # What Prefect told this process about its flow run is not for the flows that a worker runs.
    environment = {n: value for n, value in os.environ.items() if not n.startswith("PREFECT__")}
    command = subprocess.Popen(
        # Attached: it ends when its standard input does, so it never outlives this process.
        [sys.executable, "-m", "app.cli", "worker", "--attached", *options],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # Prefect's signals are for this process, which passes on one.
        start_new_session=True,
    )
    try:
        yield command
    finally:
        if command.poll() is None:
            command.terminate()
            try:
                command.wait(CLOSING_SECONDS)
            except subprocess.TimeoutExpired:
                command.kill()
            for line in _said(command):
                tell(line)
            command.wait()


@contextmanager
def _ended_with_parent(command: subprocess.Popen[str]) -> Iterator[threading.Event]:
    """Ends the command where the process that started this one is gone; the event says so.

    Prefect's worker ends its runs when it is stopped, but not when it is killed. The next one
    would place another run beside this, on the same GPUs, and nobody could cancel this one.
    """
    parent = os.getppid()
    orphaned, over = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.wait(PARENT_SECONDS):
            if os.getppid() != parent:
                _print_no_more()
                orphaned.set()
                command.terminate()
                return

    thread = threading.Thread(target=watch, name="parent", daemon=True)
    thread.start()
    try:
        yield orphaned
    finally:
        over.set()
        thread.join()


def _said(command: subprocess.Popen[str]) -> Iterator[str]:
    """What the command says, a line at a time, until it has ended."""
    assert command.stderr is not None
    for line in command.stderr:
        if line.strip():
            yield line.strip()
