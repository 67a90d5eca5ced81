"""Opening databases, and the message if that does not work."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from db.clock import now
from db.engine import Database, open_database
from film.errors import DatabaseError, InputError, SettingsError
from tests.services.postgres import PostgresServer
from tests.services.process import free_port


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "mysql://u:secret@h/d",
        "sqlite://",
        "postgresql://u:secret@h:port/d",
        "oracle:x",
        "sqlite:///:memory:",
        "sqlite:///file:x?mode=memory&uri=true",
        "sqlite+aiosqlite:///x.db",
    ],
)
def test_a_url_of_no_known_database_is_refused(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        open_database(url)
    assert str(refused.value).startswith("LONGREEL_DATABASE_URL names no database")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("password", ["p@ss", "p@ss/word", "a/b@c", "se?cret@x"])
def test_a_password_that_is_not_encoded_is_not_shown(password: str) -> None:
    with pytest.raises(SettingsError) as refused:
        open_database(f"postgresql://farm:{password}@127.0.0.1/longreel")
    said = str(refused.value)
    assert said.startswith("LONGREEL_DATABASE_URL ")
    assert not any(part in said for part in ("p@ss", "ss/word", "a/b", "cret"))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_each_name_of_postgresql_is_known(scheme: str) -> None:
    assert open_database(f"{scheme}://farm:secret@db/longreel").url == (
        "postgresql+psycopg://farm:***@db/longreel"
    )


@pytest.mark.parametrize("name", ["a b", "50%", "what?", "no #1", "q?a=b", "Über", "a@b"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    file = tmp_path / name / "longreel.db"
    database = open_database(f"sqlite:///{file}")
    database.create_folder()
    with database.write() as connection:
        connection.execute(sa.text("CREATE TABLE x (y INTEGER)"))
    database.close()
    assert file.is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_machine_that_is_lost_gives_its_locks_back(postgres_server: PostgresServer) -> None:
    database = open_database(postgres_server.url)
    with database.read() as connection:
        timeout = connection.execute(sa.text("SHOW idle_in_transaction_session_timeout"))
        assert timeout.scalar() == "1min"
        parameters = connection.connection.dbapi_connection.info.get_parameters()
    database.close()
    assert parameters["keepalives_idle"] == "20"
    assert parameters["tcp_user_timeout"] == "45000"


@pytest.mark.parametrize(
    "place", ["u:secret@127.0.0.1:{port}/d", "127.0.0.1:{port}/d?user=u&password=secret"]
)
def test_a_server_that_is_not_there_is_told_without_the_password(place: str) -> None:
    database = open_database(f"postgresql://{place.format(port=free_port())}")
    assert "secret" not in database.url
    with pytest.raises(DatabaseError) as failed, database.read():
        pass
    said = str(failed.value)
    assert said.startswith("The database postgresql+psycopg://")
    assert said.endswith(".")
    assert "Connection refused" in said or "connection failed" in said
    assert "\n" not in said
    assert "secret" not in said
    assert failed.value.transient


def test_a_database_that_the_server_does_not_have_is_told(postgres_server: PostgresServer) -> None:
    database = open_database(postgres_server.url.removesuffix("postgres") + "nope")
    with pytest.raises(DatabaseError, match='database "nope" does not exist'), database.write():
        pass


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"no database at all, only some bytes" * 100)
    database = open_database(f"sqlite:///{path}")
    with pytest.raises(DatabaseError, match="file is not a database"), database.read():
        pass


def test_a_folder_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}")
    with pytest.raises(DatabaseError, match="unable to open database file"), database.read():
        pass


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseError, match=r"folder of the database .* cannot be created"):
        open_database(f"sqlite:///{tmp_path}/file/longreel.db").create_folder()


ADD_CAMPAIGN = sa.text(
    "insert into campaigns (id, name, priority, created_at) values ('c', 'n', 0, 0)"
)
COUNT_CAMPAIGNS = sa.text("select count(*) from campaigns")


def add_campaigns(database: Database, count: int, fail: bool = False) -> None:
    """The same one `count` times, in one transaction."""
    with database.write() as connection:
        for _ in range(count):
            connection.execute(ADD_CAMPAIGN)
        if fail:
            raise KeyError


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    with pytest.raises(KeyError):
        add_campaigns(database, 1, fail=True)
    with database.read() as connection:
        assert connection.execute(COUNT_CAMPAIGNS).scalar() == 0


def test_a_mistake_of_ours_is_no_failure_of_the_database(database: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError):
        add_campaigns(database, 2)


@pytest.mark.slow
def test_a_value_that_it_cannot_hold_is_a_mistake_of_who_gave_it(
    postgres_server: PostgresServer,
) -> None:
    database = open_database(postgres_server.create_database())
    with pytest.raises(InputError, match="cannot hold a value"), database.read() as connection:
        connection.execute(sa.select(sa.bindparam("text", "a\0b")))
    database.close()


def test_readers_of_sqlite_see_one_moment_and_stop_no_writer(
    sqlite_template: Path, tmp_path: Path
) -> None:
    database = open_database(f"sqlite:///{shutil.copy(sqlite_template, tmp_path)}")
    with database.read() as reading:
        assert reading.execute(COUNT_CAMPAIGNS).scalar() == 0
        add_campaigns(database, 1)
        assert reading.execute(COUNT_CAMPAIGNS).scalar() == 0
    with database.read() as reading:
        assert reading.execute(COUNT_CAMPAIGNS).scalar() == 1
    database.close()


def test_the_clock_is_the_databases_and_goes_on_within_a_transaction(database: Database) -> None:
    with database.write() as connection:
        first = connection.execute(sa.select(now())).scalar_one()
        time.sleep(0.02)
        second = connection.execute(sa.select(now())).scalar_one()
    assert 0.015 < second - first < 5
    assert abs(first - time.time()) < 5


@pytest.mark.slow
def test_connections_that_the_server_closed_are_replaced(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.engine.UNUSED_SECONDS", 0.0)
    url = postgres_server.create_database()
    ours, other = open_database(url), open_database(url)
    name = "select pg_backend_pid()"
    with ours.read() as first, ours.read() as second:
        pids = [connection.exec_driver_sql(name).scalar_one() for connection in (first, second)]
    with other.write() as connection:
        for pid in pids:
            connection.exec_driver_sql(f"select pg_terminate_backend({pid})")
    with ours.read() as first, ours.write() as second:
        assert first.exec_driver_sql("select 1").scalar_one() == 1
        assert second.exec_driver_sql("select 1").scalar_one() == 1
    ours.close()
    other.close()


def test_rows_are_counted_anew(database: Database) -> None:
    database.count_anew("films", "segments")
    if database.engine.dialect.name == "postgresql":
        with database.read() as connection:
            query = sa.text("select reltuples from pg_class where relname = 'films'")
            assert connection.execute(query).scalar_one() == 0, "-1 before it was counted"
