"""The databases under test: a SQLite file, and a PostgreSQL that is emptied between tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.engine import Database, open_database
from db.schema import migrate
from db.tables import metadata
from tests.services.postgres import PostgresServer, postgres_server

__all__ = ["postgres_server"]

KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]


@pytest.fixture(params=KINDS)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without tables, of each kind."""
    if request.param == "sqlite":
        opened = open_database(f"sqlite:///{tmp_path / 'new folder' / 'longreel.db'}")
        opened.create_folder()
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        opened = open_database(server.create_database())
    yield opened
    opened.close()


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database with empty tables, of each kind."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        opened = open_database(f"sqlite:///{shutil.copy(template, tmp_path)}")
        yield opened
        opened.close()
    else:
        opened = request.getfixturevalue("postgres_database")
        clear(opened)
        yield opened


def clear(database: Database) -> None:
    """Empties every table."""
    with database.write() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with empty tables, to be copied."""
    path = tmp_path_factory.mktemp("template") / "longreel.db"
    database = open_database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    return path


@pytest.fixture(scope="session")
def postgres_database(postgres_server: PostgresServer) -> Iterator[Database]:
    """One migrated PostgreSQL database for all tests."""
    opened = open_database(postgres_server.create_database())
    migrate(opened)
    yield opened
    opened.close()
