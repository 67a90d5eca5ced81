"""Bringing a database's tables to this version of the program."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db.engine import Database
from film.errors import DatabaseError

HEAD = "0013"
"""Newest revision in `db/migrations/versions`; kept true by a test."""

_LOCK = 0x10E62EE1  # an arbitrary number that two migrating processes agree on


def migrate(database: Database) -> None:
    """Creates the tables of this version or updates them; does nothing if they are up to date.

    Raises `DatabaseError` if they are of a newer version than this program.
    """
    database.create_folder()
    if current_revision(database) == HEAD:
        return
    # Not needed, and not quick to import, on any later start.
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", "db:migrations")
    with database.write() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise DatabaseError(
                f"The database {database.url} was made by another version of Longreel "
                f"({error}); update Longreel, or point LONGREEL_DATABASE_URL elsewhere."
            ) from None


def current_revision(database: Database) -> str | None:
    """The revision of the tables, None if there are none yet."""
    with database.read() as connection:
        return _revision(connection)


def _revision(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    table = sa.table("alembic_version", sa.column("version_num", sa.String))
    return connection.execute(sa.select(table.c.version_num)).scalar()
