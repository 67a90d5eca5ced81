"""Rendering with companions: started together, watched, and ended together.

The companions and the member of the group are handed in, so that no process and no weights are
needed; test_ensemble.py has the real ones.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from film.errors import Cancelled, FlagError, LongreelError, RenderError, WorkerLostError
from film.families import DEMO
from film.types import RenderFlags, RenderJob
from renderer import context_parallel
from renderer.context_parallel import Ensemble
from renderer.protocol import Footage, RenderInputs, Setup
from tests.jobs import a_job

JOB = a_job(model="demo")
FOOTAGE = Footage(np.zeros((1, 2, 2, 3), np.uint8))


class FakeCompanion:
    """A companion that is ready at once, and lost when a test sets `failure`."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.ready = True
        self.failure: LongreelError | None = None
        self.received: list[Any] = []
        self.killed = False

    def send(self, message: Any) -> None:
        """See `Companion.send`."""
        if self.failure is not None:
            raise self.failure
        self.received.append(message)

    def lost(self) -> LongreelError | None:
        """See `Companion.lost`."""
        return self.failure

    def kill(self) -> None:
        """See `Companion.kill`."""
        self.killed = True


class FakeMember:
    """The rendering process's own renderer; `work` is done for each job."""

    def __init__(self, work: Callable[[], Any] = lambda: None) -> None:
        self.work = work

    def start(self, job: RenderJob, inputs: RenderInputs) -> Future[Footage]:
        """See `Renderer.start`."""
        self.work()
        done: Future[Footage] = Future()
        done.set_result(FOOTAGE)
        return done


class Group:
    """An ensemble of two or more, with what it is made of."""

    def __init__(self, count: int = 2, work: Callable[[], Any] = lambda: None) -> None:
        self.companions: list[FakeCompanion] = []
        self.member = FakeMember(work)
        self.setup = Setup(
            folder=Path("weights"), threads=1, flags=RenderFlags(context_parallel=count)
        )

    def start_companion(self, rank: int) -> FakeCompanion:
        """Starts one, and remembers it."""
        self.companions.append(FakeCompanion(rank))
        return self.companions[-1]

    def make(self, join: Callable[..., Any] | None = None) -> Ensemble:
        """The ensemble."""
        return Ensemble(DEMO, self.setup, self.start_companion, join or (lambda *_: self.member))

    def render(self, ensemble: Ensemble) -> Footage:
        """The footage of one job."""
        return ensemble.start(JOB, RenderInputs(None, lambda _step, _steps: None)).result(10)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context_parallel, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(context_parallel, "GRACE_SECONDS", 0.05)


def test_all_load_the_same_weights_and_get_the_same_job() -> None:
    group = Group(3)
    ensemble = group.make()
    assert group.render(ensemble) is FOOTAGE
    assert [companion.rank for companion in group.companions] == [1, 2]
    for companion in group.companions:
        (rank, port, spec, setup, _level), (job, first, last) = companion.received
        assert (rank, spec, setup) == (companion.rank, DEMO, group.setup)
        assert port > 0
        assert (job, first, last) == (JOB, None, None)
        assert not companion.killed


def test_it_is_there_only_when_every_companion_has_loaded() -> None:
    group = Group(2)

    def start_companion(rank: int) -> FakeCompanion:
        companion = group.start_companion(rank)
        companion.ready = False
        return companion

    made: list[Ensemble] = []
    starting = threading.Thread(
        target=lambda: made.append(
            Ensemble(DEMO, group.setup, start_companion, lambda *_: group.member)
        )
    )
    starting.start()
    starting.join(0.1)
    assert not made
    group.companions[0].ready = True
    starting.join(10)
    assert len(made) == 1


def test_a_companion_that_cannot_load_ends_all() -> None:
    group = Group(3)

    def join(*_: Any) -> FakeMember:
        group.companions[1].ready = False
        group.companions[1].failure = RenderError("no such weights")
        return group.member

    with pytest.raises(RenderError, match="no such weights"):
        group.make(join)
    assert all(companion.killed for companion in group.companions)


def test_weights_that_cannot_be_loaded_here_end_the_companions() -> None:
    group = Group(2)

    def join(*_: Any) -> FakeMember:
        raise RenderError("not these weights")

    with pytest.raises(RenderError, match="not these weights"):
        group.make(join)
    assert group.companions[0].killed


def test_a_job_that_is_given_up_ends_the_companions_and_no_other_is_taken() -> None:
    group = Group(2, work=lambda: (_ for _ in ()).throw(Cancelled()).__next__())
    ensemble = group.make()
    with pytest.raises(Cancelled):
        group.render(ensemble)
    assert group.companions[0].killed
    group.companions[0].failure = WorkerLostError("Companion 1 died.")
    with pytest.raises(WorkerLostError):
        group.render(ensemble)


def test_the_reason_is_the_companions_when_ours_failed_because_of_it() -> None:
    group = Group(2)
    ensemble = group.make()

    def lose() -> None:
        group.companions[0].failure = RenderError("a size that is odd")
        raise RuntimeError("Connection closed by peer")

    group.member.work = lose
    with pytest.raises(RenderError, match="a size that is odd"):
        group.render(ensemble)


def test_a_failure_of_ours_stays_ours() -> None:
    def fail() -> None:
        raise RuntimeError("device-side assert")

    group = Group(2, work=fail)
    with pytest.raises(RuntimeError, match="device-side assert"):
        group.render(group.make())
    assert group.companions[0].killed


def test_work_that_waits_for_a_dead_companion_for_ever_is_left() -> None:
    """As NCCL does, which does not notice it."""
    group = Group(2)
    ensemble = group.make()
    release = threading.Event()

    def wait() -> None:
        group.companions[0].failure = WorkerLostError("Companion 1 died (exit code -9).")
        release.wait(10)

    group.member.work = wait
    try:
        with pytest.raises(WorkerLostError, match="exit code -9"):
            group.render(ensemble)
    finally:
        release.set()
    assert group.companions[0].killed


def test_fewer_gpus_than_asked_for_start_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    group = Group(2)
    with pytest.raises(FlagError, match=r"2 GPUs are to render together, but .* only 1"):
        group.make()
    assert group.companions == []


def test_a_companion_is_ended_by_the_end_of_its_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    ended = threading.Event()

    def leave(code: int) -> None:
        codes.append(code)
        ended.set()
        threading.Event().wait()  # a process that has ended does nothing more

    monkeypatch.setattr("os._exit", leave)
    ours, theirs = Pipe()
    orders: Any = context_parallel.queue.Queue()
    threading.Thread(target=context_parallel._listen, args=(theirs, orders), daemon=True).start()
    ours.send("a job")
    assert orders.get(timeout=10) == "a job"
    ours.close()
    assert ended.wait(10)
    assert codes == [0]


def test_the_meeting_place_is_on_this_machine_only() -> None:
    store = context_parallel._meeting_place()
    listening = [
        one.laddr
        for one in psutil.Process().net_connections("tcp")
        if one.status == psutil.CONN_LISTEN and one.laddr.port == store.port
    ]
    assert [address.ip for address in listening] == ["127.0.0.1"]
    other = context_parallel._distributed.TCPStore("127.0.0.1", store.port, is_master=False)
    store.set("key", "value")
    assert other.get("key") == b"value"
