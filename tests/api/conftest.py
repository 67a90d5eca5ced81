"""The service in this process, on a small farm."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from app.api.application import create_application
from flows.farm import Farm
from tests.db.conftest import database, postgres_database, postgres_server, sqlite_template
from tests.db.farm import Farm as Rows
from tests.flows.conftest import small_farm

__all__ = ["database", "postgres_database", "postgres_server", "small_farm", "sqlite_template"]


@pytest.fixture
def client(small_farm: Farm, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A client of the service; what the service raises is answered, as by a real server."""
    monkeypatch.setattr("app.api.identity.NEEDED_SECONDS", 0.0)
    monkeypatch.setattr("app.api.identity.KNOWN_SECONDS", 0.0)
    application = create_application(small_farm)
    with TestClient(application, "http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def rows(small_farm: Farm) -> Rows:
    """What workers and flows do."""
    return Rows(small_farm.database)
