"""The embedded Prefect server: left running by who started it, ended without a trace, pruned."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from uuid import UUID

import psutil
import pytest

from film.settings import Settings
from flows.prefect_runs import prefect_server
from tests.conftest import Installation
from tests.flows.test_campaign import wait_for

pytestmark = pytest.mark.slow

STARTING = """
from flows.prefect_runs import prefect_server
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


CONNECTING = """
from film.settings import settings
from flows.prefect_runs import prefect_server
prefect_server.use(prefect_server.ensure(settings()), settings())
from prefect import get_client
from prefect.settings import get_current_settings
with get_client(sync_client=True) as client:
    print(client._client.get("/admin/settings").json()["home"], len(client.read_flow_runs()))
print(get_current_settings().home)
"""


def test_prefect_settings_for_other_work_neither_move_nor_close_the_server(
    installation: Installation, tmp_path: Path
) -> None:
    folder = tmp_path / "other work"
    (folder / "home").mkdir(parents=True)
    databases = {
        name: folder / f"{name}.db"
        for name in ("variable", "lower", "dotenv", "toml", "pyproject", "profile", "home/prefect")
    }
    for path in databases.values():
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE flow_run (name TEXT, end_time TEXT)")
            database.execute("INSERT INTO flow_run VALUES ('mine', '2001-01-01')")
            database.commit()
    before = {path: path.read_bytes() for path in databases.values()}

    def url(name: str) -> str:
        return f"sqlite+aiosqlite:///{databases[name]}"

    connection = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
    closed = "PREFECT_SERVER_API_AUTH_STRING=user:secret\nPREFECT_API_AUTH_STRING=user:secret\n"
    table = f'[server.database]\nconnection_url = "{url("toml")}"\n'
    profile = f'active = "mine"\n[profiles.mine]\n{connection} = "{url("profile")}"\n'
    (folder / ".env").write_text(f"{connection}={url('dotenv')}\n{closed}")
    (folder / "prefect.toml").write_text(table)
    (folder / "pyproject.toml").write_text(
        table.replace("[server", "[tool.prefect.server").replace(url("toml"), url("pyproject"))
    )
    (folder / "profiles.toml").write_text(profile)
    foreign = {
        connection: url("variable"),
        connection.lower(): url("lower"),
        "PREFECT_HOME": str(folder / "home"),
        "PREFECT_PROFILES_PATH": str(folder / "profiles.toml"),
        "PREFECT_PROFILE": "mine",
        "PREFECT_SERVER_API_BASE_PATH": "/elsewhere",
        "PREFECT_SERVER_API_AUTH_STRING": "user:secret",
        "PREFECT_API_AUTH_STRING": "user:secret",
    }
    try:
        done = subprocess.run(
            [sys.executable, "-c", CONNECTING],
            cwd=folder,
            env={**installation.environment, "PYTHONPATH": str(Path.cwd()), **foreign},
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        own = installation.home / "prefect"
        assert done.stdout.split() == [str(own), "0", str(own)], done.stderr
        with closing(sqlite3.connect(own / "prefect.db")) as database:
            assert database.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
    finally:
        prefect_server.stop(Settings(home=installation.home, prefect_api_url=None))
    assert {path: path.read_bytes() for path in databases.values()} == before
    assert sorted(path.name for path in (folder / "home").iterdir()) == ["prefect.db"]


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
        """A flow run that ended long ago, which only the server's own database can record."""
        run = client.create_flow_run(render_film)
        client.set_flow_run_state(run.id, Completed(), force=True)
        with closing(sqlite3.connect(installation.home / "prefect" / "prefect.db")) as database:
            database.execute(
                "UPDATE flow_run SET end_time = datetime(end_time, ?) WHERE id = ?",
                (f"-{days} days", str(run.id)),
            )
            database.commit()
        return run.id

    often = "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS"
    monkeypatch.setitem(prefect_server.SERVER_SETTINGS, often, "1")  # usually an hour
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
