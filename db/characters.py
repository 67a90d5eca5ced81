"""Characters: named pictures that films can begin with."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db.clock import now
from db.rows import columns_of, read_row
from db.tables import characters
from film.errors import NotFoundError
from film.types import Struct


class CharacterRow(Struct, frozen=True, kw_only=True):
    """A character."""

    id: str
    name: str
    image: str
    """SHA-256 of the pixels of its picture, which is in the store under `keys.image`."""
    created_at: float


def insert(connection: Connection, name: str, image: str) -> CharacterRow:
    """Adds a character whose picture is in the store."""
    character_id = f"char_{secrets.token_hex(12)}"
    connection.execute(
        characters.insert().values(id=character_id, name=name, image=image, created_at=now())
    )
    return get(connection, character_id)


def get(connection: Connection, character_id: str) -> CharacterRow:
    """One character. Raises `NotFoundError`."""
    query = sa.select(*columns_of(characters, CharacterRow)).where(characters.c.id == character_id)
    row = connection.execute(query).first()
    if row is None:
        raise NotFoundError(f"There is no character {character_id!r}.")
    return read_row(CharacterRow, row)


def images(connection: Connection) -> set[str]:
    """The digests of the pictures of all characters."""
    return set(connection.execute(sa.select(characters.c.image).distinct()).scalars())
