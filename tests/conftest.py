"""Fixtures that several packages' tests share: an installation of one's own, real servers."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from film.logs import PACKAGES
from film.settings import Settings
from film.settings import settings as read_settings
from flows.farm import Farm, open_farm
from flows.prefect_runs import prefect_server
from tests.services.commands import Commands, can_be_forked

pytest_plugins = ["tests.services.hub", "tests.services.postgres", "tests.services.s3"]

# The time of an example depends on how busy the machine is.
hypothesis_settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("untimed")

# Several test processes share the machine. Threads of OpenMP that wait for work would use it up.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell has commands in the background ignore Ctrl-C, and what they start inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("LONGREEL_")}


COMMANDS = Commands()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out files of slow tests alone if those are not run: importing them imports torch."""
    if config.option.markexpr != "not slow" or not collection_path.name.startswith("test_"):
        return None
    return True if _ALL_SLOW.search(collection_path.read_text(encoding="utf-8")) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the test that takes minutes first, so that no process has to run it alone."""
    items.sort(key=lambda item: "tests/chaos/test_chaos.py" not in item.nodeid)


_ALL_SLOW = re.compile(
    r"^pytestmark = (\[\s*)?pytest\.mark\.slow|^from .* import .*\bpytestmark\b", re.MULTILINE
)
"""In the source of a file whose tests are all slow."""


def _prefect_home(config: pytest.Config) -> Path:
    """One folder for the whole run, whichever test process asks."""
    base: Path = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    return (base.parent if hasattr(config, "workerinput") else base) / "prefect-home"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stops the Prefect server once every test process is done with it."""
    COMMANDS.close()
    if not hasattr(session.config, "workerinput"):
        prefect_server.stop(Settings(home=_prefect_home(session.config)))


@pytest.fixture(scope="session")
def prefect_api(pytestconfig: pytest.Config) -> str:
    """The API URL of a real Prefect server that the whole run shares."""
    home = _prefect_home(pytestconfig)
    url = prefect_server.ensure(Settings(home=home, prefect_port=0, prefect_api_url=None))
    if "prefect" in sys.modules:  # imported by a test before, and so with other settings
        from prefect.context import refresh_global_settings_context

        os.environ["PREFECT_API_URL"] = url
        refresh_global_settings_context()
    return url


_started: list[subprocess.Popen[str]] = []
"""Processes that tests started in installations, and may have left running when they failed."""


def _end_started() -> None:
    while _started:
        process = _started.pop()
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()


@dataclass(frozen=True)
class Installation:
    """A Longreel of one's own: its folder, its environment, and its command."""

    home: Path
    environment: dict[str, str]

    def run(self, *arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        """Runs `longreel` as a user would, with `more` environment variables."""
        words, environment = list(map(str, arguments)), {**self.environment, **more}
        if can_be_forked(words, more):
            return COMMANDS.run(words, environment, self.home)
        return subprocess.run(
            [sys.executable, "-m", "app.cli", *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            cwd=self.home,
        )

    def run_with_input(self, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs `longreel` with `text` as its standard input."""
        return subprocess.run(
            [sys.executable, "-m", "app.cli", *arguments],
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            cwd=self.home,
        )

    def run_forked(self, *arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        """The same for a command that ends before it starts a process, such as a wrong one."""
        environment = {**self.environment, **more}
        return COMMANDS.run(list(map(str, arguments)), environment, self.home)

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """The same, not waited for; it is killed at the end of the test at the latest."""
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", *map(str, arguments)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.home,
        )
        _started.append(process)
        return process

    def json(self, *arguments: str | Path, code: int = 0) -> Any:
        """What `longreel … --json` prints; its exit code must be `code`."""
        done = self.run(*arguments, "--json")
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Captures the records of our own loggers, whatever was done to the root logger before: Prefect
    replaces its handlers when it is imported, and commands set its level."""
    root = logging.getLogger()
    root_level = root.level
    root.setLevel(logging.WARNING)
    ours = [logging.getLogger(name) for name in PACKAGES]
    levels = [logger.level for logger in ours]
    for logger in ours:
        logger.addHandler(caplog.handler)
        logger.setLevel(logging.NOTSET)
        logger.propagate = False
    yield caplog
    for logger, level in zip(ours, levels, strict=True):
        logger.removeHandler(caplog.handler)
        logger.setLevel(level)
        logger.propagate = True
    root.setLevel(root_level)


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """An empty installation, for this process and for commands; no server is started for it."""
    home = tmp_path / "home"
    home.mkdir()
    for name in [name for name in os.environ if name.startswith("LONGREEL_")]:
        monkeypatch.delenv(name)
    # One thread each: two test processes share the machine.
    mine = {"LONGREEL_HOME": str(home), "LONGREEL_THREADS": "1", "LONGREEL_PREFECT_PORT": "0"}
    # Some tests read what a worker prints only when it has ended, and a pipe holds 64 KiB.
    mine["LONGREEL_LOG_LEVEL"] = "warning"
    for name, value in mine.items():
        monkeypatch.setenv(name, value)
    read_settings.cache_clear()
    yield Installation(home, {**CLEAN, **mine})
    _end_started()
    read_settings.cache_clear()


@pytest.fixture
def served(
    installation: Installation, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> Installation:
    """An installation that uses the run's Prefect server."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    read_settings.cache_clear()
    installation.environment["PREFECT_API_URL"] = prefect_api
    return installation


@pytest.fixture
def farm(served: Installation) -> Iterator[Farm]:
    """The parts of that installation, in this process."""
    farm = open_farm()
    yield farm
    farm.close()


@pytest.fixture
def write(installation: Installation) -> Callable[[str, str], Path]:
    """Writes a text file into the installation's folder, in which commands run."""

    def write_file(name: str, text: str) -> Path:
        path = installation.home / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_file
