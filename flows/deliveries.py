"""Delivered films in the store: fetched, and compared with what was recorded."""

from __future__ import annotations

import tempfile
from pathlib import Path

from film.errors import StoreError, StoreFullError, StoreUnreachableError
from film.types import Delivery
from media.atomic_files import replacing
from storage.base import ObjectStore


def fetch_film(store: ObjectStore, delivery: Delivery, path: Path) -> None:
    """Fetches a delivered film. Raises as `ObjectStore.get_file` does, and `StoreError` if the
    object is not the film that was delivered; `path` is then as it was before."""
    with replacing(path) as partial:
        found = store.get_file(delivery.key, partial)
        if delivery.sha256 and found.sha256 != delivery.sha256:
            raise StoreError(
                f"The object {delivery.key} in {store.url} is not the film that was delivered: its "
                f"SHA-256 is {found.sha256}, and {delivery.sha256} was recorded."
            )


def is_whole(store: ObjectStore, delivery: Delivery, scratch: Path) -> bool:
    """True if the store holds the film that was delivered; it is fetched into `scratch` and
    removed. Raises `StoreUnreachableError`, `StoreFullError`."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        try:
            fetch_film(store, delivery, Path(folder, "film.mp4"))
        except (StoreUnreachableError, StoreFullError):
            raise
        except StoreError:
            return False
    return True
