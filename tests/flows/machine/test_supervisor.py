"""Processes that are kept running, and what distinguishes a process from another one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.machine import process_identity, supervisor
from flows.machine.supervisor import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Child, supervise


def child(code: str, **environment: str) -> Child:
    """A child that runs some Python."""
    return Child("gpu-0", [sys.executable, "-c", code], environment)


@pytest.fixture(autouse=True)
def closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every process that a test starts has ended when it does."""
    started: list[Child] = []
    start = Child._start

    def noted(one: Child, now: float) -> None:
        start(one, now)
        started.append(one)

    monkeypatch.setattr(Child, "_start", noted)
    yield
    for one in started:
        one.stop()
        one.wait(time.monotonic() + 5)


@pytest.fixture
def lines() -> list[str]:
    """What the supervisor reports."""
    return []


def die(one: Child, lines: list[str]) -> None:
    """Starts a child if it does not run, and looks until it has died."""
    count, until = len(lines), time.monotonic() + 10
    while len(lines) == count:
        one.look((0,), lines.append)
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_final_code_ends_a_child(lines: list[str]) -> None:
    one = child("raise SystemExit(2)")
    assert supervise([one], (0, 2), lines.append) == 2
    assert lines == []


def test_a_code_that_is_final_at_first_is_not_after_a_death(
    lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(supervisor, "LOOK_SECONDS", 0.01)
    assert supervise([child("raise SystemExit(2)")], (0,), lines.append, final_at_first=(2,)) == 2
    assert lines == []
    # Killed; then the store is away (2), twice; then it works until there is nothing left (0).
    codes = tmp_path / "codes"
    codes.write_text("9 2 2 0")
    one = child(
        "import os, pathlib; path = pathlib.Path(os.environ['CODES']);"
        "code, *rest = path.read_text().split(); path.write_text(' '.join(rest));"
        "raise SystemExit(int(code))",
        CODES=str(codes),
    )
    assert supervise([one], (0,), lines.append, final_at_first=(2,)) == 0
    assert codes.read_text() == ""
    assert len(lines) == 3


def test_the_highest_code_counts(lines: list[str]) -> None:
    children = [child("raise SystemExit(0)"), child("raise SystemExit(4)")]
    assert supervise(children, (0, 4), lines.append) == 4


def test_a_child_that_dies_is_started_again_after_longer_and_longer_pauses(
    lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = child("raise SystemExit(9)")
    pauses = []
    for _ in range(8):
        one._start_at = time.monotonic()
        die(one, lines)
        assert one._start_at is not None
        pauses.append(round(one._start_at - time.monotonic()))
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert lines[0] == "The worker gpu-0 died (exit code 9); started again in 1 s."
    assert FIRST_PAUSE_SECONDS == 1.0
    assert LONGEST_PAUSE_SECONDS == 60.0


def test_a_child_that_lived_long_starts_with_the_first_pause(lines: list[str]) -> None:
    one = child("import sys; sys.stdin.read(); raise SystemExit(9)")
    one._pause = 60.0
    for lived, pause in ((0.0, "60 s"), (2 * LONGEST_PAUSE_SECONDS, "1 s")):
        one._start_at = time.monotonic()
        one.look((0,), lines.append)
        assert one._process
        assert one._process.stdin
        one._started -= lived
        one._process.stdin.close()
        die(one, lines)
        assert f"again in {pause}" in lines[-1]


def test_a_signal_is_named(lines: list[str]) -> None:
    one = child("import os; os.kill(os.getpid(), 9)")
    die(one, lines)
    assert "(signal 9)" in lines[-1]


def test_children_do_not_outlive_an_error_of_the_check(
    lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "LOOK_SECONDS", 0.01)
    one = child("import time; time.sleep(60)")

    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        supervise([one], (0,), lines.append, fail)
    assert one._process
    assert one._process.poll() is not None


def test_a_child_that_does_not_end_is_killed() -> None:
    one = child("import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)")
    one.look((0,), print)
    time.sleep(0.3)
    one.stop()
    one.wait(time.monotonic())
    assert one.code == -9


def test_a_child_has_the_environment_that_it_was_given() -> None:
    one = child("import os; raise SystemExit(int(os.environ['N']))", N="7")
    assert supervise([one], (7,), print) == 7


@pytest.fixture
def sleeping() -> Iterator[subprocess.Popen[bytes]]:
    """Another process."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_a_living_process_is_not_dead() -> None:
    me = process_identity.this_process()
    assert me.count("/") == 3
    assert not process_identity.is_dead(me)


def test_a_process_that_ended_is_dead(sleeping: subprocess.Popen[bytes]) -> None:
    host, machine, _, _ = process_identity.this_process().split("/")
    other = f"{host}/{machine}/{sleeping.pid}/{process_identity.start_time(sleeping.pid)}"
    assert not process_identity.is_dead(other)
    sleeping.kill()
    sleeping.wait()
    assert process_identity.is_dead(other)
    assert process_identity.start_time(sleeping.pid) == ""


def test_another_process_with_the_same_id_is_not_the_same() -> None:
    host, machine, pid, _ = process_identity.this_process().split("/")
    assert process_identity.is_dead(f"{host}/{machine}/{pid}/1")


@pytest.mark.parametrize("owner", ["", "a worker", "host/another machine/1/1", "a/b/c"])
def test_what_cannot_be_known_is_not_dead(owner: str) -> None:
    assert not process_identity.is_dead(owner)
    assert process_identity.start_time(os.getpid()) != ""
