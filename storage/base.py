"""What every store can do: a Protocol of few methods, and the value they answer with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from film.errors import InputError, StoreError
from film.types import Struct

MAX_LINK_SECONDS = 7 * 24 * 3600
"""Longest life of a link: seven days, the limit of AWS Signature Version 4."""

CONTENT_TYPES = {
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".mkv": "video/x-matroska",
    ".mp4": "video/mp4",
    ".png": "image/png",
    ".vtt": "text/vtt",
    ".wav": "audio/wav",
    ".webp": "image/webp",
}


class ObjectInfo(Struct, frozen=True, kw_only=True):
    """One object in a store."""

    key: str
    size_bytes: int
    sha256: str | None
    """Hex digest recorded when it was put; `None` if the store received none."""
    modified_at: float | None = None
    """When it was put, in seconds since 1970 by the store's clock; only `list` looks it up."""


class ObjectStore(Protocol):
    """Objects by key. Every method may raise `StoreUnreachableError` (transient).

    A bad key raises `InputError` (`storage.keys.check_key`) and touches nothing. An object exists
    whole or not at all: no reader ever gets a half-written one, and of two writers of one key the
    later wins. Stores may be shared between threads.
    """

    @property
    def url(self) -> str:
        """Its address, as in `LONGREEL_STORE_URL`; holds no secret."""

    def put_file(
        self, key: str, path: str | Path, *, content_type: str | None = None
    ) -> ObjectInfo:
        """Store the file at `path` under `key`, with its SHA-256, replacing what was there.

        `content_type` is guessed from the key's ending if it is not given. Raises
        `FileNotFoundError` if `path` is missing, `StoreFullError` without space.
        """

    def get_file(self, key: str, path: str | Path) -> ObjectInfo:
        """Copy an object to `path`, which is replaced in one step once the checksum agrees.

        Raises `ObjectMissingError`, `StoreError` if the bytes are not those that were put, and
        `StoreFullError` if the disk of `path` is full; `path` is then as it was before.
        """

    def head(self, key: str) -> ObjectInfo | None:
        """What is known about an object, or `None` if there is none."""

    def delete(self, key: str) -> None:
        """Remove an object; does nothing if there is none."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """The objects whose keys begin with `prefix`, by key; `sha256` is not looked up."""

    def link(self, key: str, expires: float, filename: str | None = None) -> str:
        """A URL that reads the object for `expires` seconds (1 s to 7 days) without credentials.

        `filename` is what a browser saves it as. Whether the object exists is not looked up.
        A directory store gives a `file://` URL, which does not expire.
        """

    def check(self) -> None:
        """Find out within seconds whether the store can be read and written; leaves no object.

        Raises `StoreUnreachableError` (or `StoreFullError`) saying what to do about it.
        """


def content_type_of(key: str) -> str:
    """The MIME type that goes with the ending of a key."""
    return CONTENT_TYPES.get(PurePosixPath(key).suffix, "application/octet-stream")


def check_expires(seconds: float) -> int:
    """`seconds` as whole seconds; `InputError` outside 1 s to 7 days."""
    if not 1 <= seconds <= MAX_LINK_SECONDS:
        raise InputError(
            f"A link cannot last {seconds} seconds: choose from 1 to {MAX_LINK_SECONDS} (7 days)."
        )
    return int(seconds)


def corrupt(store_url: str, recorded: ObjectInfo, found: str) -> StoreError:
    """The error for an object whose bytes are not those that were put."""
    return StoreError(
        f"The object {recorded.key} in {store_url} is damaged: its SHA-256 is {found}, but "
        f"{recorded.sha256} was stored. Delete it and have it rendered again."
    )


def listed(store: ObjectStore, key: str) -> ObjectInfo | None:
    """The object as `list` finds it, with the time when it was put; None if there is none."""
    return next((info for info in store.list(key) if info.key == key), None)
