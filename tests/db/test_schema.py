"""Migrations: from empty to the newest tables, by anyone, at once, and back."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from db.engine import Database, open_database
from db.schema import HEAD, current_revision, migrate
from db.tables import metadata
from film.errors import DatabaseError


def config() -> Config:
    made = Config()
    made.set_main_option("script_location", "db:migrations")
    return made


def table_names(database: Database) -> set[str]:
    with database.read() as connection:
        return set(sa.inspect(connection).get_table_names())


def test_head_is_the_newest_revision() -> None:
    assert ScriptDirectory.from_config(config()).get_heads() == [HEAD]


def test_an_empty_database_gets_all_tables(empty: Database) -> None:
    assert current_revision(empty) is None
    migrate(empty)
    assert current_revision(empty) == HEAD
    assert table_names(empty) == {*metadata.tables, "alembic_version"}


def test_migrating_again_changes_nothing(empty: Database) -> None:
    migrate(empty)
    migrate(empty)
    assert current_revision(empty) == HEAD


def test_migrations_make_exactly_the_tables_of_the_program(empty: Database) -> None:
    migrate(empty)
    with empty.read() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_a_downgrade_to_nothing_leaves_nothing(empty: Database) -> None:
    migrate(empty)
    with empty.write() as connection:
        down = config()
        down.attributes["connection"] = connection
        command.downgrade(down, "base")
    assert table_names(empty) == {"alembic_version"}
    migrate(empty)
    assert current_revision(empty) == HEAD


def test_a_database_of_a_newer_version_is_refused(empty: Database) -> None:
    migrate(empty)
    with empty.write() as connection:
        connection.execute(sa.text("update alembic_version set version_num = '9999'"))
    with pytest.raises(DatabaseError, match=r"made by another version of Longreel .*9999"):
        migrate(empty)


def test_threads_may_migrate_at_once(empty: Database) -> None:
    errors: list[Exception] = []

    def run() -> None:
        own = open_database(empty.engine.url.render_as_string(hide_password=False))
        try:
            migrate(own)
        except Exception as error:  # noqa: BLE001
            errors.append(error)
        finally:
            own.close()

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert current_revision(empty) == HEAD


MIGRATING = """
import sys
from db.engine import open_database
from db.schema import migrate
database = open_database(sys.argv[1])
sys.stdin.readline()
migrate(database)
"""


def test_processes_may_migrate_at_once(empty: Database) -> None:
    url = empty.engine.url.render_as_string(hide_password=False)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MIGRATING, url],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    said = [process.communicate("go\n")[1] for process in processes]
    assert said == [""] * 3
    assert current_revision(empty) == HEAD
