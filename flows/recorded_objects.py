"""Objects of the store, fetched and compared with what the database recorded of them."""

from __future__ import annotations

from pathlib import Path

from film.errors import StoreError
from media.atomic_files import replacing
from storage.base import ObjectStore


def fetch_recorded(store: ObjectStore, key: str, path: Path, digest: str) -> None:
    """Fetches an object whose SHA-256 begins with `digest`; empty if none was recorded.

    Raises as `ObjectStore.get_file` does, and `StoreError` if it is another object; `path` is then
    as it was before.
    """
    with replacing(path) as partial:
        found = store.get_file(key, partial)
        if not (found.sha256 or "").startswith(digest):
            raise StoreError(
                f"The object {key} in {store.url} is not the one that was recorded: its SHA-256 is "
                f"{found.sha256}, and {digest} was expected. Something else wrote to this key."
            )
