"""The files of a take in the store: named by their content, and checked when they are fetched.

A worker that comes back after its lease ran out may still store what it rendered. Its files never
replace those of the take that was recorded, because the name of a file holds its digest.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from film.types import Take
from flows.recorded_objects import fetch_recorded
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
    """Fetches the frames of a take. Raises as `fetch_recorded` does."""
    fetch_recorded(store, take.video_key, path, take.sha256)


def fetch_tail(store: ObjectStore, take: Take, path: Path) -> None:
    """Fetches the last frames of a take. Raises as `fetch_recorded` does.

    The names of takes of earlier versions hold no digest; these cannot be compared.
    """
    fetch_recorded(store, take.tail_key, path, keys.digest_in(take.tail_key))


def fetch_sound(store: ObjectStore, key: str, path: Path) -> None:
    """Fetches the sound of a take by its key. Compares and raises as `fetch_tail` does."""
    fetch_recorded(store, key, path, keys.digest_in(key))
