"""The embedded Prefect server: left running by who started it, and ended without a trace."""

from __future__ import annotations

import json
import subprocess
import sys

import psutil
import pytest

from film.settings import Settings
from flows import prefect_server
from tests.conftest import Installation

pytestmark = pytest.mark.slow

STARTING = """
from flows import prefect_server
from film.settings import settings
prefect_server.ensure(settings())
"""


def test_a_server_outlives_who_started_it_without_a_warning(installation: Installation) -> None:
    settings = Settings(home=installation.home, prefect_api_url=None)
    done = subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-c", STARTING],
        env=installation.environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=True,
    )
    note = installation.home / "prefect" / "server.json"
    url = json.loads(note.read_text())["url"]
    try:
        assert done.stderr == ""
        assert prefect_server.answers(url, patience=0)
    finally:
        assert prefect_server.stop(settings)
    assert not prefect_server.answers(url, patience=0)


def test_a_server_that_is_stopped_by_who_started_it_leaves_nothing(
    installation: Installation,
) -> None:
    settings = Settings(home=installation.home, prefect_port=0, prefect_api_url=None)
    prefect_server.ensure(settings)
    children = psutil.Process().children(recursive=True)
    assert any("prefect" in " ".join(child.cmdline()) for child in children)
    assert prefect_server.stop(settings)
    assert not [child for child in children if child.is_running()]
    assert not prefect_server.stop(settings)
