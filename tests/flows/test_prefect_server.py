"""The embedded Prefect server: left running by who started it, ended without a trace, pruned."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from uuid import UUID

import psutil
import pytest

from film.settings import Settings
from flows import prefect_server
from tests.conftest import Installation
from tests.flows.test_campaign import wait_for

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
    before = psutil.Process().children(recursive=True)
    prefect_server.ensure(settings)
    children = [one for one in psutil.Process().children(recursive=True) if one not in before]
    assert any("prefect" in " ".join(child.cmdline()) for child in children)
    assert prefect_server.stop(settings)
    assert not [child for child in children if child.is_running()]
    assert not prefect_server.stop(settings)


def test_flow_runs_are_kept_for_two_weeks_after_their_end(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect import flow
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.states import Completed

    @flow
    def render_film() -> None:
        """Never run."""

    def ended(client: SyncPrefectClient, days: int) -> UUID:
        """A flow run that ended so long ago, which only the server's own database can be told."""
        run = client.create_flow_run(render_film)
        client.set_flow_run_state(run.id, Completed(), force=True)
        with closing(sqlite3.connect(installation.home / "prefect" / "prefect.db")) as database:
            database.execute(
                "UPDATE flow_run SET end_time = datetime(end_time, ?) WHERE id = ?",
                (f"-{days} days", str(run.id)),
            )
            database.commit()
        return run.id

    monkeypatch.setenv("PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS", "1")  # usually an hour
    settings = Settings(home=installation.home, prefect_port=0, prefect_api_url=None)
    try:
        with SyncPrefectClient(prefect_server.ensure(settings)) as client:
            older, old, new = (ended(client, days) for days in (15, 13, 0))
            wait_for(
                lambda: older not in {run.id for run in client.read_flow_runs()},
                "the old run's end",
            )
            assert {run.id for run in client.read_flow_runs()} == {old, new}
    finally:
        assert prefect_server.stop(settings)
