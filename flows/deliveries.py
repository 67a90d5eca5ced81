"""Delivered films in the store: fetched, and compared with what was recorded."""

from __future__ import annotations

import tempfile
from pathlib import Path

from film.errors import StoreError, StoreFullError, StoreUnreachableError
from film.types import Delivery
from flows.recorded_objects import fetch_recorded
from storage.base import ObjectStore


def fetch_film(store: ObjectStore, delivery: Delivery, path: Path) -> None:
    """Fetches a delivered film. Raises as `fetch_recorded` does."""
    fetch_recorded(store, delivery.key, path, delivery.sha256)


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
