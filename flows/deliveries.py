"""Delivered films in the store: fetched, compared with what was recorded, and their names."""

from __future__ import annotations

import tempfile
from pathlib import Path

from sqlalchemy.engine import Connection

from db.films import campaigns, films
from db.films.films import Film
from film.errors import StoreError, StoreFullError, StoreUnreachableError
from film.types import Delivery
from flows.file_names import name_files
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


def named_films(
    connection: Connection, name: str, pattern: str | None = None
) -> list[tuple[Film, str]]:
    """The films that `name` means (a film, or a campaign), each with the name of its file by a
    naming pattern (`flows/file_names.py`).

    Raises `NotFoundError`, and `InputError` for a pattern that cannot be used.
    """
    campaign = campaigns.of(connection, name)
    total = len(campaigns.resolve(connection, campaign.id))
    found = [films.get(connection, film_id) for film_id in campaigns.resolve(connection, name)]
    names = name_files([(film, campaign.name) for film in found], total, pattern)
    return list(zip(found, names, strict=True))


def film_file_name(film: Film, films_of_campaign: int = 1) -> str:
    """The name of a delivered film's file: its id, with zeros so that the files of a campaign of
    that many films sort in order, its title, seed and size."""
    (name,) = name_files([(film, "")], films_of_campaign, None)
    return name
