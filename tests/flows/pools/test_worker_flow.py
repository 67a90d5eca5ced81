"""A pool's flow and the command that it runs: its lines, its report, and its end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.pools import worker_flow
from flows.pools.worker_reports import (
    LONGEST_ERROR,
    WorkerReport,
    read_last_report,
    send_report,
)
from flows.prefect_runs import outcomes

REPORT = """
import os, sys
fd = int(sys.argv[sys.argv.index("--report-fd") + 1])
print("to nobody")
print("first line\\n\\n  second line  ", file=sys.stderr, flush=True)
os.write(fd, b'{"error": "No such model."}\\n')
sys.exit(2)
"""


def run_command(program: str, lines: list[str]) -> tuple[int, str]:
    """Runs a program in the place of `longreel worker`; its exit code and the error it reported."""
    command_line = [sys.executable, "-S", "-c", program]
    with (
        worker_flow._report_pipe() as (reports, for_command),
        worker_flow._running(command_line, for_command, lines.append) as command,
    ):
        lines += worker_flow._lines(command)
        code = command.wait()
        report = read_last_report(reports)
    return code, report.error if report else ""


def test_lines_come_from_stderr_and_the_error_from_the_report() -> None:
    lines: list[str] = []
    assert run_command(REPORT, lines) == (2, "No such model.")
    assert lines == ["first line", "second line"]


def test_a_command_that_dies_without_a_report_has_no_error() -> None:
    lines: list[str] = []
    dies = "import os, sys; print('Error: a line', file=sys.stderr, flush=True); os.abort()"
    code, error = run_command(dies, lines)
    assert (code, error) == (-6, "")
    assert worker_flow.end_state(code, error).message == "The worker ended (killed by SIGABRT)"


def test_the_command_is_not_part_of_this_flow_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "this one")
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect/api")
    lines: list[str] = []
    shows = (
        "import os, sys; print(sorted(n for n in os.environ if 'PREFECT' in n), file=sys.stderr)"
    )
    run_command(shows, lines)
    assert "'PREFECT_API_URL'" in lines[0]
    assert "PREFECT__FLOW_RUN_ID" not in lines[0]


def test_a_command_that_is_not_waited_for_is_ended() -> None:
    lines: list[str] = []
    program = """
import signal, sys
def end(*_):
    print("given back", file=sys.stderr, flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("ready", file=sys.stderr, flush=True)
while True:
    signal.pause()
"""
    command_line = [sys.executable, "-S", "-c", program]
    with (
        worker_flow._report_pipe() as (_, for_command),
        worker_flow._running(command_line, for_command, lines.append) as command,
    ):
        lines.append(next(worker_flow._lines(command)))
    assert command.returncode == 0
    assert lines == ["ready", "given back"]


@pytest.fixture
def sleeping() -> Iterator[subprocess.Popen[str]]:
    """A command that runs for long."""
    command = subprocess.Popen(["sleep", "60"], text=True)
    yield command
    command.kill()
    command.wait()


def test_a_command_ends_with_the_prefect_worker_that_placed_it(
    sleeping: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    discarded: list[bool] = []
    monkeypatch.setattr(worker_flow, "PARENT_SECONDS", 0.001)
    monkeypatch.setattr(worker_flow, "_discard_output", lambda: discarded.append(True))
    with worker_flow._ended_with_parent(sleeping) as orphaned:
        time.sleep(0.02)
        assert not orphaned.is_set()
        monkeypatch.setattr(worker_flow.os, "getppid", lambda: 1_000_000_000)
        assert sleeping.wait(10) == -15
    assert orphaned.is_set()
    assert discarded == [True]


def test_the_command_is_the_installations() -> None:
    python, longreel = worker_flow.longreel_command()
    assert python == sys.executable
    assert Path(longreel).is_absolute()
    assert Path(longreel).name == "longreel"


def test_the_options_of_a_placed_worker() -> None:
    assert worker_flow._options(models="demo", tags=None, processes=2) == [
        *("--models", "demo", "--processes", "2")
    ]


def test_the_two_sentences_of_a_completed_worker_agree() -> None:
    assert outcomes.COMPLETED.message == worker_flow.ENDED


@pytest.mark.parametrize(
    ("code", "error", "orphaned", "state", "message"),
    [
        (0, "", False, "COMPLETED", worker_flow.ENDED),
        (2, "No such model.", False, "FAILED", "The worker ended (exit code 2): No such model."),
        (-9, "", False, "FAILED", "The worker ended (killed by SIGKILL)"),
        (
            0,
            "",
            True,
            "CRASHED",
            "Its Prefect worker was killed; what it had started is given back",
        ),
    ],
)
def test_a_run_ends_as_its_command_did(
    code: int, error: str, orphaned: bool, state: str, message: str
) -> None:
    found = worker_flow.end_state(code, error, orphaned=orphaned)
    assert (found.type.value, found.message) == (state, message)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe for reports: the end to read from, and the end to write to."""
    with worker_flow._report_pipe() as ends:
        yield ends


def test_the_last_report_of_a_worker_counts(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    assert read_last_report(reading) is None
    for error in ("First.", "Second: “zweitens”."):
        send_report(writing, WorkerReport(error))
    assert read_last_report(reading) == WorkerReport("Second: “zweitens”.")
    assert read_last_report(reading) is None


@pytest.mark.parametrize("sign", ["x", "€", "\x01", "\udcff"])
def test_no_error_is_too_long_or_too_odd_to_be_reported(pipe: tuple[int, int], sign: str) -> None:
    reading, writing = pipe
    os.set_blocking(writing, False)  # if the pipe is full, that is an error here
    send_report(writing, WorkerReport(100_000 * sign))
    report = read_last_report(reading)
    assert report is not None
    assert len(report.error) >= LONGEST_ERROR


def test_a_report_that_nothing_reads_is_an_os_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        send_report(writing, WorkerReport("No such model."))
    os.close(writing)
