"""A worker whose rendering process is a fake, on a real SQLite file and a real folder as store."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from db.engine import Database
from db.workers import registry
from db.workers.registry import Registration, WorkerNews
from film.models import ModelSpec
from flows.farm import Farm
from flows.worker import completer, worker
from flows.worker.claimer import Claimer
from flows.worker.completer import Completer
from flows.worker.heartbeat import Heartbeat
from flows.worker.worker import Worker
from renderer.protocol import Setup
from tests.db.farm import Farm as Rows
from tests.db.farm import a_film
from tests.fakes import (
    Action,
    FakeInventory,
    FakeRenderProcess,
    FlakyDatabase,
    FlakyStore,
    InlineExecutor,
    RecordingReporter,
)


class Bench:
    """A worker on the test bench: every part can be looked at, and nothing runs by itself."""

    def __init__(self, farm: Farm, **options: Any) -> None:
        self.farm = farm
        self.rows = Rows(farm.database)
        self.database = FlakyDatabase(farm.database)
        self.store = FlakyStore(farm.store)
        farm.__dict__.update(database=self.database, store=self.store)
        self.reporter = RecordingReporter()
        self.inventory = FakeInventory()
        self.script: deque[Action] = deque()
        self.processes: list[FakeRenderProcess] = []
        self.me = Registration(
            name="gpu-0",
            owner=farm.owner,
            host="host",
            device="cpu",
            models=self.inventory.models,
            weights=self.inventory.weights,
            tags=(),
            quiet=None,
            lease_seconds=farm.settings.lease_seconds,
        )
        with farm.database.write() as connection:
            registry.register(connection, self.me)
        self.claimer = Claimer(farm, self.me, self.inventory)
        self.worker = Worker(
            farm,
            self.me,
            reporter=self.reporter,
            claimer=self.claimer,
            heartbeat=self._make_heartbeat,
            start_process=self._start,
            **options,
        )
        self.executor = InlineExecutor(1)

    def submit(self, *films: Any, **options: Any) -> list[str]:
        """Adds films; returns their ids."""
        return self.rows.submit(*(films or [a_film(segments_each=1)]), **options)

    def turn(self, count: int = 1) -> None:
        """Lets the worker render or look `count` times."""
        for _ in range(count):
            self.worker.turn(self.executor)

    def end(self) -> None:
        """Stops the worker, which gives back what it holds."""
        if not self.worker.stopping.is_set() or self.heartbeat.holding:
            self.worker.stopping.set()
            self.worker.run()
        self.executor.shutdown()

    def statuses(self, film: str) -> list[str]:
        """The statuses of a film's segments."""
        return self.rows.statuses(film)

    @property
    def completer(self) -> Completer:
        """The part that ends segments."""
        return self.worker._completer

    @property
    def process(self) -> FakeRenderProcess:
        """The rendering process that was started last."""
        return self.processes[-1]

    def status(self) -> WorkerNews:
        """What the heartbeat would report now."""
        return self.worker._status()

    def _make_heartbeat(self, status: Callable[[], WorkerNews]) -> Heartbeat:
        self.heartbeat = Heartbeat(self.farm, self.me, status)
        return self.heartbeat

    def _start(self, spec: ModelSpec, setup: Setup) -> FakeRenderProcess:
        self.processes.append(FakeRenderProcess(spec, setup, self.script))
        return self.processes[-1]


MakeBench = Callable[..., Bench]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are so short that tests take milliseconds."""
    monkeypatch.setattr(worker, "IDLE_SECONDS", 0.001)
    monkeypatch.setattr(worker, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(completer, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(completer, "REAP_SECONDS", 0.0)


@pytest.fixture
def make_bench(small_farm: Farm) -> Iterator[MakeBench]:
    """Makes the worker of this test, with options of `Worker`."""
    benches: list[Bench] = []

    def make(**options: Any) -> Bench:
        benches.append(Bench(small_farm, **options))
        return benches[0]

    yield make
    for bench in benches:
        bench.end()


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    """The worker of this test."""
    return make_bench()


def files(folder: Path) -> list[str]:
    """The files in a folder and below, by name."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


__all__ = ["Database"]
