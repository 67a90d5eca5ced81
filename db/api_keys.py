"""Keys of the service: their secrets are kept as digests; and what was done with them."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection
from contextlib import suppress
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from db.clock import now
from db.quotas import Limits
from db.rows import columns_of, read_row
from db.tables import api_keys, audit, campaigns
from film.errors import InputError, NotFoundError
from film.types import Struct

PREFIX = "lr"
_ID_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
_ID_LENGTH = 8
_SECRET_BYTES = 32
"""256 random bits: a digest without salt and rounds cannot be guessed."""
USED_SECONDS = 60.0
"""How exactly the last use of a key is noted: a write for each request would be too many."""


class Scope(StrEnum):
    """What a key may do."""

    READ = "read"
    """See films, campaigns, workers; download."""
    SUBMIT = "submit"
    """Submit films."""
    STEER = "steer"
    """Pause, cancel, queue again and remove films; command workers."""
    ADMIN = "admin"
    """All of it."""


class KeyRow(Struct, frozen=True, kw_only=True):
    """A key as listings show it."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    used_at: float | None
    """Of the last use, to a minute."""
    user: str | None = None
    """The name by which a trusted proxy knows its holder; such a key has no secret."""
    own_only: bool = False
    """True if it sees and steers only what was submitted with it."""
    gpu_seconds_a_day: float | None = None
    """What it may use, as in `db.quotas.Limits`."""
    films_at_once: int | None = None
    stored_bytes: int | None = None
    requests_a_minute: int | None = None

    def may(self, scope: Scope) -> bool:
        """True if it may do this."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


def create(
    connection: Connection,
    name: str,
    scopes: Collection[Scope],
    seconds: float | None = None,
    *,
    limits: Limits = Limits(),  # noqa: B008
    own_only: bool = False,
    user: str | None = None,
) -> str:
    """Adds a key that is good for `seconds` (None: until it is revoked); returns its text, which
    cannot be read again.

    With `user`, the key of a person whom a trusted proxy signs in: returns its id, because it has
    no text. Raises `InputError` if that user has a key already.
    """
    key_id = "".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH))
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    values = {
        "id": key_id,
        "name": name,
        "secret_sha256": _digest(secret) if user is None else "",
        "scopes": sorted(scopes),
        "created_at": now(),
        "expires_at": None if seconds is None else now() + seconds,
        "user": user,
        "own_only": own_only,
        **_columns(limits),
    }
    try:
        with connection.begin_nested():
            connection.execute(api_keys.insert().values(**values))
    except IntegrityError:
        raise InputError(f"The user {user!r} has a key already.") from None
    return f"{PREFIX}_{key_id}_{secret}" if user is None else key_id


def set_limits(connection: Connection, key_id: str, limits: Limits) -> KeyRow:
    """Gives a key other limits. Raises `NotFoundError` if there is none with this id."""
    connection.execute(api_keys.update().where(api_keys.c.id == key_id).values(**_columns(limits)))
    # What its quota held continues with the next check.
    connection.execute(
        campaigns.update().where(campaigns.c.key_id == key_id).values(checked_at=None)
    )
    return get(connection, key_id)


def _columns(limits: Limits) -> dict[str, Any]:
    return {field: getattr(limits, field) for field in Limits.__struct_fields__}


def check(connection: Connection, text: str) -> KeyRow | None:
    """The key with this text, if it is good now."""
    prefix, _, rest = text.partition("_")
    key_id, _, secret = rest.partition("_")
    mine = sa.and_(api_keys.c.id == key_id, api_keys.c.user.is_(None))
    row = connection.execute(_rows(api_keys.c.secret_sha256).where(mine, _good()))
    found: Any = row.first()
    expected = found.secret_sha256 if found else _digest("")
    same = hmac.compare_digest(expected, _digest(secret))
    return _key(found) if found and same and prefix == PREFIX else None


def of_user(connection: Connection, user: str) -> KeyRow | None:
    """The key of a person whom a trusted proxy signed in, if it is good now."""
    row = connection.execute(_rows().where(api_keys.c.user == user, _good())).first()
    return None if row is None else _key(row)


def of_new_user(connection: Connection, user: str, scopes: Collection[Scope]) -> KeyRow | None:
    """The key of a user who is signed in for the first time. None if the user's key was revoked,
    or has expired."""
    with suppress(InputError):
        create(connection, user, scopes, user=user)
    return of_user(connection, user)


def _good() -> sa.ColumnElement[bool]:
    return sa.and_(
        api_keys.c.revoked_at.is_(None),
        sa.or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > now()),
    )


def note_use(connection: Connection, key: KeyRow) -> None:
    """The key was used now; noted once a minute."""
    long_ago = sa.or_(api_keys.c.used_at.is_(None), now() - api_keys.c.used_at > USED_SECONDS)
    other = api_keys.alias()
    # Another request may be noting the same, or an operator change the key: not waited for.
    free = sa.select(other.c.id).where(other.c.id == key.id).with_for_update(skip_locked=True)
    connection.execute(
        api_keys.update().where(api_keys.c.id.in_(free), long_ago).values(used_at=now())
    )


def are_needed(connection: Connection) -> bool:
    """True if there is a key, or was one: then every request needs one, also when all keys were
    revoked or have expired."""
    return connection.execute(sa.select(api_keys.c.id).limit(1)).first() is not None


def listing(connection: Connection) -> list[KeyRow]:
    """All keys, newest first."""
    rows = connection.execute(_rows().order_by(api_keys.c.created_at.desc(), api_keys.c.id))
    return [_key(row) for row in rows]


def revoke(connection: Connection, key_id: str) -> KeyRow:
    """Ends a key at once. Raises `NotFoundError` if there is none with this id."""
    connection.execute(
        api_keys.update()
        .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
        .values(revoked_at=now())
    )
    return get(connection, key_id)


def rotate(connection: Connection, key_id: str) -> str:
    """Gives a key another secret, and returns its new text; the old one ends at once. Raises
    `NotFoundError` if there is no such key, or it was revoked."""
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    changed = connection.execute(
        api_keys.update()
        .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None), api_keys.c.user.is_(None))
        .values(secret_sha256=_digest(secret))
    )
    if not changed.rowcount:
        raise NotFoundError(
            f"There is no key {key_id!r} with a secret that was not revoked; `longreel keys` lists "
            f"those there are."
        )
    return f"{PREFIX}_{key_id}_{secret}"


class AuditRow(Struct, frozen=True, kw_only=True):
    """A request that changed something, or tried to."""

    at: float
    key_id: str | None
    """None if no key was needed."""
    request_id: str
    method: str
    path: str
    status: int


def record(
    connection: Connection, key_id: str | None, request_id: str, method: str, path: str, status: int
) -> None:
    """Notes a request."""
    connection.execute(
        audit.insert().values(
            at=now(),
            key_id=key_id,
            request_id=request_id,
            method=method,
            path=path,
            status=status,
        )
    )


def history(connection: Connection, limit: int) -> list[AuditRow]:
    """The latest requests that changed something, newest first."""
    rows = connection.execute(
        sa.select(*columns_of(audit, AuditRow)).order_by(audit.c.id.desc()).limit(limit)
    )
    return [read_row(AuditRow, row) for row in rows]


def forget_history(connection: Connection, seconds: float) -> int:
    """Removes the records of requests that are older than that; returns their number."""
    return connection.execute(audit.delete().where(audit.c.at < now() - seconds)).rowcount


def get(connection: Connection, key_id: str) -> KeyRow:
    """A key by its id. Raises `NotFoundError`."""
    row = connection.execute(_rows().where(api_keys.c.id == key_id)).first()
    if row is None:
        raise NotFoundError(f"There is no key {key_id!r}; `longreel keys` lists those there are.")
    return _key(row)


def _rows(*more: sa.ColumnElement[Any]) -> sa.Select[Any]:
    return sa.select(*columns_of(api_keys, KeyRow), *more)


def _key(row: Any) -> KeyRow:
    fields = {name: getattr(row, name) for name in KeyRow.__struct_fields__}
    return KeyRow(**{**fields, "scopes": tuple(row.scopes)})


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
