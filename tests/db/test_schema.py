"""Migrations: from empty to the newest tables, by several processes at once, and back."""

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
from tests.db.farm import Farm


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


def test_rows_of_the_first_version_are_brought_along(empty: Database) -> None:
    up = config()
    with empty.write() as connection:
        up.attributes["connection"] = connection
        command.upgrade(up, "0001")
        for statement in OLD_ROWS:
            connection.execute(sa.text(statement))
    migrate(empty)
    with empty.read() as connection:
        active = connection.execute(sa.text("SELECT id, active FROM campaigns ORDER BY id")).all()
        kinds = connection.execute(
            sa.text("SELECT campaign_id, kind, model, shape FROM kinds ORDER BY campaign_id")
        ).all()
    assert [(row.id, bool(row.active)) for row in active] == [("a", False), ("b", True)]
    assert kinds == [
        ("a", "demo 96x64x17", "demo", "96x64x17"),
        ("b", "demo 96x64x17", "demo", "96x64x17"),
    ]
    farm = Farm(empty)
    lease = farm.claim()
    assert (lease.film_id, lease.campaign_id, lease.kind) == ("b-1", "b", "demo 96x64x17")
    with empty.write() as connection:
        up.attributes["connection"] = connection
        command.downgrade(up, "0001")
        old = connection.execute(sa.text("SELECT model, rank FROM segments ORDER BY film_id"))
        assert old.all() == [("demo", 0), ("demo", -3)]


PLAN = (
    '{"model": "demo", "revision": "r", "width": 96, "height": 64, "fps": "8", "scenes": [], '
    '"segments": [{"index": 0, "scene": 0, "prompt": "p", "seed": 1, "num_frames": 17, '
    '"overlap_frames": 0, "keep_frames": 17, "continues": null, "address": "x"}]}'
).replace(":", r"\:")
OLD_ROWS = [
    "INSERT INTO campaigns (id, name, priority, created_at) VALUES ('a', 'A', 0, 1), "
    "('b', 'B', 3, 2)",
    "INSERT INTO films (id, campaign_id, position, title, status, priority, request, plan, "
    "num_frames, seconds, created_at, finished_at) VALUES "
    f"('a-1', 'a', 1, 'A', 'delivered', 0, '{{}}', '{PLAN}', 17, 2, 1, 5), "
    f"('b-1', 'b', 1, 'B', 'queued', 3, '{{}}', '{PLAN}', 17, 2, 1, NULL)",
    "INSERT INTO segments (film_id, position, address, model, rank, status) VALUES "
    "('a-1', 0, 'x', 'demo', 0, 'done'), ('b-1', 0, 'y', 'demo', -3, 'ready')",
]
