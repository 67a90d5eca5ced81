"""Removing films, and objects of the store that nothing needs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import PurePosixPath

from db import api_keys, files
from db.films import removal
from db.films.removal import Expired, Removed
from db.segments import takes
from film.errors import InputError
from film.settings import Settings
from film.types import Struct
from flows.farm import Farm
from storage import keys
from storage.base import ObjectInfo, listed

logger = logging.getLogger(__name__)

GRACE_SECONDS = 24 * 3600.0
"""A younger object may belong to work that is not recorded yet."""
OBJECTS_AT_ONCE = 500
DELETIONS = 8
"""Number of objects deleted at the same time."""


class Cleaned(Struct, frozen=True, kw_only=True):
    """What was removed from the store, or would be."""

    takes: int = 0
    """Objects of takes."""
    films: int = 0
    uploads: int = 0
    """Pictures, LoRAs and other files that users gave."""
    expired_films: int = 0
    """Films that were finished for longer than films are kept."""
    size_bytes: int = 0


class Retention(Struct, frozen=True, kw_only=True):
    """For how many seconds things are kept; None means until they are removed by hand."""

    films: float | None = None
    """Since a film was finished."""
    takes: float | None = None
    """Since the last film that has a take was finished."""
    audit: float | None = None
    """Since a request was made."""


def retention_of(settings: Settings, *, finished: bool = False) -> Retention:
    """The rules of the settings; with `finished`, takes of finished films are not kept."""
    return Retention(
        films=settings.keep_films_seconds,
        takes=0.0 if finished else settings.keep_takes_seconds,
        audit=settings.keep_audit_seconds,
    )


def remove_films(farm: Farm, name: str) -> Removed:
    """Removes the finished film `name`, or the films of that campaign, and their files; takes stay
    until `clean`. Raises `InputError`, `DatabaseError`, `StoreError`."""
    with farm.database.write() as connection:
        removed = removal.remove(connection, name)
    _delete(farm, removed.keys)
    _delete(farm, (key for film in removed.keys for key in _stills(farm, film)))
    return removed


def _stills(farm: Farm, key: str) -> list[str]:
    """The keys of the pictures that were made of a delivered film."""
    folder = key.rpartition("/")[0]
    if not folder.startswith(keys.FILMS):
        return []
    names = keys.STILLS.values()
    found = (info.key for info in farm.store.list(f"{folder}/"))
    return [one for one in found if PurePosixPath(one).name in names]


def clean(
    farm: Farm,
    *,
    finished: bool = False,
    dry_run: bool = False,
    grace_seconds: float = GRACE_SECONDS,
) -> Cleaned:
    """Removes what no film needs: takes that no film has, files of films that are not in the
    database, pictures and LoRAs that neither a film nor a character refers to, and uploaded files
    that were deleted; and first the films and requests that are older than the settings keep them.

    With `finished`, also takes that only finished films have: those keep their files, but a changed
    one renders all of its segments. Objects that are younger than `grace_seconds` stay, unless
    their take was recorded. With `dry_run`, nothing is removed. Raises `StoreError`,
    `DatabaseError`.
    """
    rules = retention_of(farm.settings, finished=finished)
    expired = _remove_expired(farm, rules, dry_run=dry_run)
    oldest = time.time() - grace_seconds

    def old(info: ObjectInfo) -> bool:
        return info.modified_at is not None and info.modified_at < oldest

    found: dict[str, list[ObjectInfo]] = {"takes": [], "films": [], "uploads": []}
    for some in _in_parts(farm.store.list(keys.TAKES)):
        spare = _spare(farm, some, old, rules.takes, dry_run=dry_run)
        found["takes"] += spare
        if not dry_run:
            _delete(farm, (info.key for info in spare))
    with farm.database.read(streaming=True) as connection:
        delivered = {PurePosixPath(key).parent for key in removal.delivered_keys(connection)}
        needed = removal.uploads_needed(connection)
    found["films"] = [
        info
        for info in farm.store.list(keys.FILMS)
        if PurePosixPath(info.key).parent not in delivered and old(info)
    ]
    uploads = (info for prefix in (keys.IMAGES, keys.LORAS) for info in farm.store.list(prefix))
    found["uploads"] = [
        info for info in uploads if PurePosixPath(info.key).stem not in needed and old(info)
    ]
    for some in _in_parts(farm.store.list(keys.FILES)):
        found["uploads"] += [info for info in _without_row(farm, some) if old(info)]
    if not dry_run:
        _delete_old(farm, found["films"] + found["uploads"], old)
    sizes = sum(info.size_bytes for infos in found.values() for info in infos)
    return Cleaned(
        **{kind: len(infos) for kind, infos in found.items()},
        expired_films=len(expired),
        size_bytes=sizes + sum(film.size_bytes for film in expired),
    )


def _remove_expired(farm: Farm, rules: Retention, *, dry_run: bool) -> list[Expired]:
    """Removes films and records of requests that were kept for long enough; returns the films."""
    expired: list[Expired] = []
    if rules.films is not None:
        with farm.database.read() as connection:
            expired = removal.expired(connection, rules.films)
        for film in () if dry_run else expired:
            with suppress(InputError):  # it was queued again in this moment
                remove_films(farm, film.id)
    if rules.audit is not None and not dry_run:
        with farm.database.write() as connection:
            api_keys.forget_history(connection, rules.audit)
    return expired


def _without_row(farm: Farm, infos: Sequence[ObjectInfo]) -> list[ObjectInfo]:
    """Those uploaded files that the database does not know: deleted, or never recorded."""
    with farm.database.read() as connection:
        known = files.existing(connection, {PurePosixPath(info.key).name for info in infos})
    return [info for info in infos if PurePosixPath(info.key).name not in known]


def _spare(
    farm: Farm,
    infos: Sequence[ObjectInfo],
    old: Callable[[ObjectInfo], bool],
    finished_seconds: float | None,
    *,
    dry_run: bool,
) -> list[ObjectInfo]:
    """Those objects of takes that nothing needs. Their takes are dropped first: a film that is
    submitted in this moment finds either both or nothing."""
    addresses = {_address(info.key) for info in infos}
    with farm.database.read() as connection:
        recorded = takes.recorded_keys(connection, addresses)
        unneeded = takes.unneeded(connection, addresses, finished_seconds=finished_seconds)
    if unneeded and not dry_run:
        with farm.database.write() as connection:
            unneeded = takes.unneeded(connection, unneeded, finished_seconds=finished_seconds)
            takes.remove(connection, unneeded)
    return [
        info
        for info in infos
        if (_address(info.key) in unneeded if info.key in recorded else old(info))
    ]


def _address(key: str) -> str:
    """The address in the key of a take's file; any text for another key, which no film has."""
    return PurePosixPath(key).parent.name


def _delete(farm: Farm, unneeded: Iterable[str]) -> None:
    names = list(unneeded)
    with ThreadPoolExecutor(DELETIONS) as pool:
        list(pool.map(farm.store.delete, names))
    for key in names:
        logger.info("Removed the object %s", key)


def _delete_old(farm: Farm, infos: Sequence[ObjectInfo], old: Callable[[ObjectInfo], bool]) -> None:
    """Deletes objects that nothing needed when they were listed. A submission that needs one now
    has put it again: it is young."""

    def still_old(info: ObjectInfo) -> bool:
        found = listed(farm.store, info.key)
        return found is not None and old(found)

    for some in _in_parts(iter(infos)):
        with ThreadPoolExecutor(DELETIONS) as pool:
            spare = [
                info for info, is_old in zip(some, pool.map(still_old, some), strict=True) if is_old
            ]
        _delete(farm, (info.key for info in spare))


def _in_parts(infos: Iterator[ObjectInfo]) -> Iterator[list[ObjectInfo]]:
    while part := list(islice(infos, OBJECTS_AT_ONCE)):
        yield part
