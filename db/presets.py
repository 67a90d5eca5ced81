"""Presets: named sets of a film's options that operators and users keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db.clock import now
from db.rows import columns_of, read_row, upsert
from db.tables import presets
from film.errors import NotFoundError
from film.types import Struct


class PresetRow(Struct, frozen=True, kw_only=True):
    """A preset."""

    name: str
    options: dict[str, Any]
    """A film's options by the keys that they have in files."""
    note: str
    """What it is for."""
    updated_at: float


def put(connection: Connection, name: str, options: Mapping[str, Any], note: str = "") -> None:
    """Adds a preset, or replaces the one of this name."""
    values = {"name": name, "options": dict(options), "note": note, "updated_at": now()}
    upsert(connection, presets, "name", values)


def get(connection: Connection, name: str) -> PresetRow:
    """A preset. Raises `NotFoundError`."""
    row = connection.execute(_rows().where(presets.c.name == name)).first()
    if row is None:
        raise NotFoundError(
            f"There is no preset {name!r}; `longreel presets` lists those there are."
        )
    return read_row(PresetRow, row)


def listing(connection: Connection) -> list[PresetRow]:
    """All presets by name."""
    return [read_row(PresetRow, row) for row in connection.execute(_rows().order_by("name"))]


def remove(connection: Connection, name: str) -> None:
    """Removes a preset. Raises `NotFoundError`."""
    if not connection.execute(presets.delete().where(presets.c.name == name)).rowcount:
        get(connection, name)


def _rows() -> sa.Select[Any]:
    return sa.select(*columns_of(presets, PresetRow))
