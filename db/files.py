"""Files that clients uploaded: what is known of them; their bytes are in the store."""

from __future__ import annotations

import secrets
from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db.clock import now
from db.rows import columns_of, read_row
from db.tables import files
from film.errors import NotFoundError
from film.types import Struct


class FileRow(Struct, frozen=True, kw_only=True):
    """A file that a client uploaded."""

    id: str
    filename: str
    """As the client calls it; fit to be printed, not a path."""
    purpose: str
    size_bytes: int
    sha256: str
    """Hex digest of its bytes."""
    created_at: float
    key_id: str | None = None
    """Id of the key that it was uploaded with."""


def new_id() -> str:
    """An id for a file, which cannot be guessed."""
    return f"file-{secrets.token_hex(12)}"


def insert(
    connection: Connection,
    file_id: str,
    filename: str,
    purpose: str,
    size_bytes: int,
    sha256: str,
    key_id: str | None = None,
) -> FileRow:
    """Adds a file whose bytes are in the store."""
    connection.execute(
        files.insert().values(
            id=file_id,
            filename=filename,
            purpose=purpose,
            size_bytes=size_bytes,
            sha256=sha256,
            created_at=now(),
            key_id=key_id,
        )
    )
    return get(connection, file_id)


def get(connection: Connection, file_id: str, key_id: str | None = None) -> FileRow:
    """One file; only if it was uploaded with the key, if one is given. Raises `NotFoundError`."""
    query = sa.select(*columns_of(files, FileRow)).where(files.c.id == file_id)
    if key_id is not None:
        query = query.where(files.c.key_id == key_id)
    row = connection.execute(query).first()
    if row is None:
        raise NotFoundError(f"There is no file {file_id!r}.")
    return read_row(FileRow, row)


def find(
    connection: Connection,
    *,
    purpose: str | None = None,
    key_id: str | None = None,
    after: str | None = None,
    ascending: bool = False,
    limit: int,
) -> list[FileRow]:
    """Files, newest first (`ascending`: oldest first), those after the file `after`; of one purpose
    or key, if given.

    Raises `NotFoundError` if there is no file `after`.
    """
    columns = (files.c.created_at, files.c.id)
    order = columns if ascending else tuple(column.desc() for column in columns)
    query = sa.select(*columns_of(files, FileRow)).order_by(*order).limit(limit)
    if purpose is not None:
        query = query.where(files.c.purpose == purpose)
    if key_id is not None:
        query = query.where(files.c.key_id == key_id)
    if after is not None:
        last = get(connection, after)
        place = sa.tuple_(*columns)
        here = sa.tuple_(sa.literal(last.created_at), sa.literal(last.id))
        query = query.where(place > here if ascending else place < here)
    return [read_row(FileRow, row) for row in connection.execute(query)]


def delete(connection: Connection, file_id: str) -> None:
    """Removes a file from the database. Raises `NotFoundError`."""
    if not connection.execute(files.delete().where(files.c.id == file_id)).rowcount:
        raise NotFoundError(f"There is no file {file_id!r}.")


def existing(connection: Connection, file_ids: Collection[str]) -> set[str]:
    """Those of the ids that are of files."""
    query = sa.select(files.c.id).where(files.c.id.in_(file_ids))
    return set(connection.execute(query).scalars())
