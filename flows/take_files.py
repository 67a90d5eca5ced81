"""The files of a take in the store: named by their content, and checked when they are fetched.

A worker that comes back after its lease ran out may still store what it rendered. Its files never
replace those of the take that was recorded, because the name of a file holds its digest.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from film.errors import StoreError
from film.types import Take
from storage import keys
from storage.base import ObjectInfo, ObjectStore


def store_file(
    store: ObjectStore, address: str, kind: keys.TakeFile, path: str | Path
) -> ObjectInfo:
    """Stores a file of the take of `address`. Raises as `ObjectStore.put_file` does."""
    with Path(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return store.put_file(keys.take_file(address, kind, digest), path)


def fetch_video(store: ObjectStore, take: Take, path: Path) -> None:
    """Fetches the frames of a take. Raises as `ObjectStore.get_file` does, and `StoreError` if the
    object is not the one that was recorded."""
    _fetch(store, take.video_key, path, take.sha256)


def fetch_tail(store: ObjectStore, take: Take, path: Path) -> None:
    """Fetches the last frames of a take. Raises as `fetch_video` does."""
    _fetch(store, take.tail_key, path, keys.digest_in(take.tail_key))


def fetch_sound(store: ObjectStore, key: str, path: Path) -> None:
    """Fetches the sound of a take by its key. Raises as `fetch_video` does."""
    _fetch(store, key, path, keys.digest_in(key))


def _fetch(store: ObjectStore, key: str, path: Path, digest: str) -> None:
    """`digest`: what the file's SHA-256 begins with; empty if none was recorded (takes that are
    older than this check)."""
    found = store.get_file(key, path)
    if not (found.sha256 or "").startswith(digest):
        path.unlink(missing_ok=True)
        raise StoreError(
            f"The object {key} in {store.url} is not the one that was recorded: its SHA-256 is "
            f"{found.sha256}, and {digest} was expected. Something else wrote to this key."
        )
