"""One farm, reached by its database and over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.actions.local import LocalActions
from app.actions.protocol import Actions
from app.actions.remote import RemoteActions
from app.actions.server import Server
from flows.farm import Farm
from tests.db.conftest import sqlite_template
from tests.db.farm import Farm as Rows
from tests.flows.conftest import small_farm
from tests.services.service import serving

__all__ = ["small_farm", "sqlite_template"]


@pytest.fixture
def server(small_farm: Farm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The service of the farm in this process."""
    monkeypatch.setattr("app.api.identity.NEEDED_SECONDS", 0.0)
    with serving(small_farm) as address:
        found = Server(address)
        yield found
        found.close()


@pytest.fixture(params=["local", "remote"])
def actions(request: pytest.FixtureRequest, small_farm: Farm) -> Actions:
    """The farm in both ways."""
    if request.param == "local":
        return LocalActions(small_farm)
    return RemoteActions(request.getfixturevalue("server"))


@pytest.fixture
def rows(small_farm: Farm) -> Rows:
    """What workers and flows do."""
    return Rows(small_farm.database)
