"""Opening a database and its transactions, on SQLite and PostgreSQL alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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

from film.errors import DatabaseError, SettingsError

BUSY_SECONDS = 30
"""How long a writer waits for SQLite's one write lock."""

POOL: dict[str, Any] = {"pool_size": 8, "max_overflow": 64, "pool_timeout": 60}
"""A process that conducts films has two threads for each, and all may ask at once."""


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
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads. Raises `DatabaseError` if the database fails."""
        with self._naming_failures(), self.engine.connect() as connection:
            connection = connection.execution_options(longreel_read=True)
            with connection.begin():
                yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes; rolled back on any exception. Raises as `read` does."""
        with self._naming_failures(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def _naming_failures(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.TimeoutError as error:
            raise DatabaseError(f"The database {self.url} is too busy: {error}") from error
        except sa.exc.InterfaceError as error:
            raise DatabaseError(f"The database {self.url} failed: {_first_line(error)}") from error
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
        parsed = make_url(url)
        dialect = parsed.get_backend_name()
        if dialect == "postgresql":
            return Database(_postgresql_engine(parsed))
        if dialect == "sqlite" and parsed.database:
            return Database(_sqlite_engine(parsed))
    except (ArgumentError, NoSuchModuleError, ValueError):
        pass
    raise SettingsError(
        "LONGREEL_DATABASE_URL names no database that Longreel knows; give it "
        "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME."
    )


def _postgresql_engine(url: sa.URL) -> Engine:
    return sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,
        **POOL,
        connect_args={"connect_timeout": 10, "application_name": "longreel"},
    )


def _sqlite_engine(url: sa.URL) -> Engine:
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS}, **POOL)
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, record: Any) -> None:
    # We begin transactions ourselves; the driver's own deferred ones end in lock errors.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")


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
