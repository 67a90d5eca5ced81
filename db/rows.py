"""Rows of the database: read as values, added or replaced, released."""

from __future__ import annotations

from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from film.types import Struct, from_json

Value = TypeVar("Value", bound=Struct)

RELEASED: dict[str, Any] = {"owner": None, "lease_until": None}
"""What a film or a segment has in the columns of its lease while no process holds it."""

_DIALECTS = {"sqlite": sqlite, "postgresql": postgresql}


def columns_of(table: sa.Table, kind: type[Struct]) -> list[sa.Column[Any]]:
    """The columns of `table` that the fields of `kind` are named after."""
    return [table.c[field] for field in kind.__struct_fields__]


def read_row(kind: type[Value], row: sa.Row[Any], **instead: Any) -> Value:
    """The value in a row whose columns are named after the fields of `kind`; `instead` has what
    takes the place of columns.

    Raises `msgspec.ValidationError` if another version of Longreel wrote what does not fit.
    """
    # SQLAlchemy's names are of a class of their own, which msgspec does not take as text.
    values = {str(name): value for name, value in row._mapping.items()}
    return from_json(kind, values | instead)


def insert_into(table: sa.Table, dialect: str) -> Any:
    """An `INSERT` of the database's own kind, which knows what to do on a conflict."""
    return _DIALECTS[dialect].insert(table)


def upsert(connection: Connection, table: sa.Table, key: str, values: dict[str, Any]) -> None:
    """Adds a row, or replaces the values of the one with the same `key`."""
    connection.execute(
        insert_into(table, connection.dialect.name)
        .values(values)
        .on_conflict_do_update(index_elements=[table.c[key]], set_=values)
    )


def whole_number(column: sa.Column[Any], *path: str) -> sa.ColumnElement[int]:
    """What is at a path in a JSON column as a whole number of 64 bits: sizes are beyond 32."""
    return sa.cast(column[path].as_string(), sa.BigInteger)
