"""Opening a database and its transactions, on SQLite and PostgreSQL alike."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InternalError,
    NoSuchModuleError,
    OperationalError,
)

from film.errors import DatabaseError, InputError, SettingsError

BUSY_SECONDS = 30
"""How long a writer waits for SQLite's one write lock."""

POOL: dict[str, Any] = {"pool_size": 16, "max_overflow": 56, "pool_timeout": 60}
"""A process that conducts films has two threads for each, and all may ask at once. Of the
connections that this takes, the first 16 stay: as many as the service has threads."""


class Database:
    """An engine with two kinds of transaction. Safe to share between threads, not processes."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @property
    def url(self) -> str:
        """Its address, without the password."""
        # libpq also takes a password among the query's options.
        return self.engine.url.set(query={}).render_as_string(hide_password=True)

    @contextmanager
    def read(self, *, streaming: bool = False) -> Iterator[Connection]:
        """A transaction that only reads; with `streaming`, results may be fetched in parts. Raises
        `DatabaseError` if the database fails, and `InputError` for a value that it cannot hold
        (PostgreSQL: a NUL in a text)."""
        with self._naming_failures(), self.engine.connect() as connection:
            if not streaming or self.engine.dialect.name == "sqlite":
                connection = connection.execution_options(**self._reading)
            with connection.begin():
                yield connection

    @cached_property
    def _reading(self) -> dict[str, Any]:
        """PostgreSQL shows each statement what is committed when it begins, in a transaction as
        without one, which saves the way there and back of BEGIN and ROLLBACK."""
        if self.engine.dialect.name == "postgresql":
            return {"isolation_level": "AUTOCOMMIT"}
        return {"longreel_read": True}

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes; rolled back on any exception. Raises as `read` does."""
        with self._naming_failures(), self.engine.begin() as connection:
            yield connection

    def count_anew(self, *tables: str) -> None:
        """Has PostgreSQL look at tables whose rows have become many: until it does so by itself, a
        minute later, it plans queries as if they were few. Raises `DatabaseError`."""
        if self.engine.dialect.name != "postgresql":
            return
        with self._naming_failures(), self.engine.connect() as connection:
            alone = connection.execution_options(isolation_level="AUTOCOMMIT")
            for table in tables:
                alone.exec_driver_sql(f"ANALYZE {table}")

    @contextmanager
    def _naming_failures(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.TimeoutError as error:
            raise DatabaseError(f"The database {self.url} is too busy: {error}") from error
        except sa.exc.InterfaceError as error:
            raise DatabaseError(f"The database {self.url} failed: {_first_line(error)}") from error
        except sa.exc.DataError as error:
            raise InputError(
                f"The database cannot hold a value that was given: {_first_line(error)}"
            ) from error
        except sa.exc.DatabaseError as error:
            if not _is_failure(error):
                raise
            raise DatabaseError(f"The database {self.url} failed: {_first_line(error)}") from error

    def create_folder(self) -> None:
        """Creates the folder of a SQLite file. Raises `DatabaseError`."""
        file = self.engine.url.database
        if self.engine.dialect.name != "sqlite" or not file:
            return
        try:
            Path(file).absolute().parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseError(
                f"The folder of the database {file} cannot be created: {error.strerror}."
            ) from None

    def close(self) -> None:
        """Closes its connections."""
        self.engine.dispose()


def open_database(url: str) -> Database:
    """The database at a SQLAlchemy `url` (`sqlite:///file` or `postgresql://…`), not yet connected
    to. Raises `SettingsError` on a URL that names neither."""
    try:
        parsed = _sqlite_url(url) or make_url(url)
        dialect = parsed.get_backend_name()
        if dialect in ("postgresql", "postgres"):
            _require_encoded_password(parsed)
            return Database(_postgresql_engine(parsed))
        if parsed.drivername in ("sqlite", "sqlite+pysqlite") and _is_file(parsed.database):
            return Database(_sqlite_engine(parsed))
    except (ArgumentError, NoSuchModuleError, ValueError):
        pass
    raise SettingsError(
        "LONGREEL_DATABASE_URL names no database that Longreel knows; give it "
        "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME."
    )


def _sqlite_url(url: str) -> sa.URL | None:
    """The URL of a SQLite file whose name may have any character in it, `?` too; None for others.

    What looks like parameters (`?mode=ro`) stays parameters.
    """
    path = url.removeprefix("sqlite:///")
    if path == url or re.search(r"\?\w+=[^/]*$", path):
        return None
    return sa.URL.create("sqlite", database=path)


def _is_file(database: str | None) -> bool:
    """False for databases in memory, which no two connections share."""
    return bool(database) and database != ":memory:" and not str(database).startswith("file:")


def _require_encoded_password(url: sa.URL) -> None:
    """Raises `SettingsError` if a part of the password was read as part of the address."""
    if any("@" in part for part in (url.host or "", url.database or "")):
        raise SettingsError(
            "LONGREEL_DATABASE_URL has a password with a character that has a meaning in a URL; "
            "write @ as %40, / as %2F, : as %3A, # as %23, ? as %3F and % as %25."
        )


IDLE_TRANSACTION_SECONDS = 60
"""How long a transaction may wait for its next statement; ours take milliseconds."""


def _postgresql_engine(url: sa.URL) -> Engine:
    engine = sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        **POOL,
        connect_args={
            "connect_timeout": 10,
            "application_name": "longreel",
            # A connection that goes silent (a failover, a NAT that forgets it) fails within a
            # minute. The defaults of most systems are two hours.
            "keepalives": 1,
            "keepalives_idle": 20,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 45_000,
        },
    )
    sa.event.listen(engine, "connect", _prepare_postgresql)
    sa.event.listen(engine, "checkin", _note_use)
    sa.event.listen(engine, "checkout", _require_living)
    return engine


UNUSED_SECONDS = 1.0
"""A connection that was used within this time is not asked if it still lives."""


def _note_use(connection: Any, record: Any) -> None:
    record.info["used_at"] = time.monotonic()


def _require_living(connection: Any, record: Any, proxy: Any) -> None:
    """Has a connection replaced that was closed while it lay in the pool, and with it all others:
    the database was restarted."""
    import psycopg  # not quick to import, and not needed for SQLite

    used_at = record.info.get("used_at")
    if used_at is None or time.monotonic() - used_at < UNUSED_SECONDS:
        return
    try:
        connection.execute("")
        connection.rollback()
    except psycopg.Error as error:
        raise sa.exc.InvalidatePoolError from error


def _prepare_postgresql(connection: Any, record: Any) -> None:
    # A machine that is lost inside a transaction gives its locks back within a minute. (Poolers
    # such as PgBouncer refuse settings that are sent while connecting.)
    connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_TRANSACTION_SECONDS}s'")
    connection.commit()


WAL_SECONDS = 0.05
"""Pause between two tries to switch a file to a WAL."""


def _sqlite_engine(url: sa.URL) -> Engine:
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS}, **POOL)
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, record: Any) -> None:
    # We begin transactions ourselves; the driver's own deferred ones end in lock errors.
    connection.isolation_level = None
    _use_wal(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _use_wal(connection: Any) -> None:
    """Has the file written through a WAL. SQLite does not wait if another process, which opens the
    new file at the same time, is doing the same."""
    patience = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > patience:
                raise
            time.sleep(WAL_SECONDS)


def _begin_sqlite(connection: Connection) -> None:
    reading = connection.get_execution_options().get("longreel_read")
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _is_failure(error: sa.exc.DatabaseError) -> bool:
    """True if the database failed, rather than a statement of ours."""
    # For a damaged file, SQLite raises no more than the base class.
    failures = (OperationalError, InternalError)
    return isinstance(error, failures) or type(error) is sa.exc.DatabaseError


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).strip().splitlines()[0].strip().rstrip(".") + "."
