"""`longreel worker` as a Prefect flow, so that a work pool places it on a machine.

The flow runs the command in a process of its own, and ends when that ends: one worker for each GPU,
as by hand. What the command prints goes to the log of the flow run.

It imports nothing but Prefect and modules that import little: Prefect also loads it with a folder
of its own first on the path, in which there is a module `storage`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed, Crashed, Failed

from flows.machine.supervisor import CLOSING_SECONDS
from flows.pools.worker_reports import read_last_report

PARENT_SECONDS = 1.0
"""Pause between two looks at whether the process that started this one still runs, in seconds."""
ENDED = "The worker ended; what it had started is done or given back"
"""The message of a run that completed."""


def longreel_command() -> list[str]:
    """The `longreel` command of this installation, never a file of the working folder."""
    return [sys.executable, str(Path(sysconfig.get_path("scripts")) / "longreel")]


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

    The run fails if the command ends with a code other than 0, and names its error. If the run is
    cancelled, the command gives back what it holds and ends.
    """
    log = _line_logger()
    options = _options(
        models=models, tags=tags, name=name, quiet=quiet, gpus=gpus, processes=processes
    )
    options += ["--until-idle"] * until_idle + ["--once"] * once
    # The run, and how often Prefect had started it (flows/pools/placement.py).
    options += ["--flow-run", f"{runtime.flow_run.id}/{runtime.flow_run.run_count}"]
    with (
        _report_pipe() as (reports, for_command),
        _running([*longreel_command(), "worker", *options], for_command, log) as command,
        _ended_with_parent(command) as orphaned,
    ):
        for line in _lines(command):
            log(line)
        code = command.wait()
        report = read_last_report(reports)
    return end_state(code, report.error if report else "", orphaned=orphaned.is_set())


def end_state(code: int, error: str, *, orphaned: bool = False) -> State[Any]:
    """The state of a run whose command ended with `code` and reported `error`, "" if none.

    `orphaned`: the command was ended because the Prefect worker that had placed it was gone.
    """
    if orphaned:
        return Crashed(message="Its Prefect worker was killed; what it had started is given back")
    if code == 0:
        return Completed(message=ENDED)
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return Failed(message=f"The worker ended ({how}){f': {error}' if error else ''}")


def _line_logger() -> Callable[[str], None]:
    """A function that writes a line to the log of this flow run."""
    logger = get_run_logger()

    def log(line: str) -> None:
        try:
            logger.info(line)
        except SystemExit:  # rich's reaction if Prefect's worker does not read its pipe any more
            _discard_output()

    return log


def _discard_output() -> None:
    """Discards what this process prints from now on."""
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
def _report_pipe() -> Iterator[tuple[int, int]]:
    """A pipe: the end that is read here, and the end that the command writes to."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


@contextmanager
def _running(
    command_line: Sequence[str], reports: int, log: Callable[[str], None]
) -> Iterator[subprocess.Popen[str]]:
    """The command, until it has ended; it is ended if the block does not wait for that.

    It writes its reports to the file descriptor `reports`, which it gets as `--report-fd`, and ends
    if its standard input is closed, because of `--attached`.
    """
    # The flows that the worker runs must not take this flow run for theirs.
    environment = {n: value for n, value in os.environ.items() if not n.startswith("PREFECT__")}
    with subprocess.Popen(
        # Attached: it ends when its standard input does, so that it never outlives this process.
        [*command_line, "--attached", "--report-fd", str(reports)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=(reports,),
        text=True,
        # Prefect's signals are for this process, which passes one of them on.
        start_new_session=True,
    ) as command:
        try:
            yield command
        finally:
            if command.poll() is None:
                command.terminate()
                try:
                    command.wait(CLOSING_SECONDS)
                except subprocess.TimeoutExpired:
                    command.kill()
                for line in _lines(command):
                    log(line)
                command.wait()


@contextmanager
def _ended_with_parent(command: subprocess.Popen[str]) -> Iterator[threading.Event]:
    """Ends the command if the process that started this one is gone; the event is then set.

    Prefect's worker ends its runs when it is stopped, but not when it is killed. The next worker
    would place another run on the same GPUs, and nothing could cancel this one.
    """
    parent = os.getppid()
    orphaned, over = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.wait(PARENT_SECONDS):
            if os.getppid() != parent:
                _discard_output()
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


def _lines(command: subprocess.Popen[str]) -> Iterator[str]:
    """The lines that the command prints for people, until it has ended."""
    assert command.stderr is not None
    for line in command.stderr:
        if line.strip():
            yield line.strip()
