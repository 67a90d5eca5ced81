"""Fixtures: a farm without servers for tests of logic, and Prefect as an operator has it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from film.settings import Settings
from flows.farm import Farm
from tests.conftest import Installation
from tests.db.conftest import sqlite_template
from tests.flows.placing import Prefect

__all__ = ["sqlite_template"]


@pytest.fixture
def small_farm(tmp_path: Path, sqlite_template: Path) -> Iterator[Farm]:
    """A farm on an empty SQLite file and a folder, made in milliseconds; nothing runs for it."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(sqlite_template, home / "longreel.db")
    farm = Farm(Settings(home=home, prefect_api_url=None, threads=1))
    yield farm
    farm.close()


@pytest.fixture
def prefect(served: Installation) -> Iterator[Prefect]:
    """Prefect's commands for the installation; the workers that they start end with the test."""
    more = {
        "PREFECT_HOME": str(served.home / "prefect"),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "NO_COLOR": "1",
        "COLUMNS": "300",
    }
    served.environment.update(more)
    prefect = Prefect(served)
    yield prefect
    prefect.end()


@pytest.fixture
def pool(prefect: Prefect) -> None:
    """A process pool with a worker of Prefect's on this machine, and the deployment for it."""
    prefect.make_pool()
    prefect.start_worker()
