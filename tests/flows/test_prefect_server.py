"""The embedded Prefect server: what it keeps, and for how long."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from uuid import UUID

import pytest

from film.settings import settings
from flows import prefect_server
from tests.conftest import Installation
from tests.flows.test_campaign import wait_for

pytestmark = pytest.mark.slow


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
    try:
        with SyncPrefectClient(prefect_server.ensure(settings())) as client:
            older, old, new = (ended(client, days) for days in (15, 13, 0))
            wait_for(
                lambda: older not in {run.id for run in client.read_flow_runs()},
                "the old run's end",
            )
            assert {run.id for run in client.read_flow_runs()} == {old, new}
    finally:
        assert prefect_server.stop(settings())
