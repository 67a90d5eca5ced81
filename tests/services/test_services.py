"""The servers that other tests rest on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy

from tests.services.postgres import PostgresServer, bundled_binaries, system_binaries
from tests.services.process import answers

pytestmark = pytest.mark.slow

ONE_SERVER = """
import sys, time
from tests.services.postgres import PostgresServer, bundled_binaries, system_binaries
server = PostgresServer(system_binaries() or bundled_binaries())
server.start()
print(server.port, server.folder, flush=True)
time.sleep(60)
"""


@pytest.fixture(params=[system_binaries, bundled_binaries], ids=["system", "bundled"])
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    find: Callable[[], Path | None] = request.param
    binaries = find()
    if binaries is None:
        pytest.skip("not installed")
    started = PostgresServer(binaries)
    started.start()
    yield started
    started.close()


def ask(url: str, statement: str) -> object:
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        answer = connection.execute(sqlalchemy.text(statement))
        return answer.scalar() if answer.returns_rows else None


def test_answers(server: PostgresServer) -> None:
    assert ask(server.url, "select 1") == 1


def test_databases_are_apart(server: PostgresServer) -> None:
    first, second = server.create_database(), server.create_database()
    ask(first, "create table films (id int)")
    assert ask(second, "select to_regclass('films')") is None


@pytest.mark.parametrize("end", [PostgresServer.stop, PostgresServer.kill])
def test_keeps_its_data_when_ended(
    server: PostgresServer, end: Callable[[PostgresServer], None]
) -> None:
    url = server.create_database()
    ask(url, "create table films (id int)")
    ask(url, "insert into films values (7)")
    end(server)
    assert not answers(server.port)
    server.start()
    assert ask(url, "select id from films") == 7


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process so")
def test_dies_with_the_process_that_started_it() -> None:
    if (system_binaries() or bundled_binaries()) is None:
        pytest.skip("there is no PostgreSQL")
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", ONE_SERVER],
        stdout=subprocess.PIPE,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as parent:
        assert parent.stdout is not None
        words = parent.stdout.readline().decode().split(maxsplit=1)
        port, left_behind = int(words[0]), words[1].strip()
        assert answers(port)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 10
    while answers(port):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    shutil.rmtree(left_behind, ignore_errors=True)
