"""Delivered films in the store: fetched, compared with what was recorded, and their names."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from sqlalchemy.engine import Connection

from db.films import campaigns, films
from db.films.films import Film
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


def named_films(connection: Connection, name: str) -> list[tuple[Film, str]]:
    """The films that `name` means (a film, or a campaign), each with the name of its file.

    Raises `NotFoundError`.
    """
    campaign = campaigns.of(connection, name)
    total = len(campaigns.resolve(connection, campaign.id))
    found = [films.get(connection, film_id) for film_id in campaigns.resolve(connection, name)]
    return [(film, film_file_name(film, total)) for film in found]


def film_file_name(film: Film, films_of_campaign: int = 1) -> str:
    """The name of a delivered film's file: its id, with zeros so that the files of a campaign of
    that many films sort in order, its title, seed and size."""
    campaign, _, number = film.id.rpartition("-")
    counted = number.zfill(len(str(films_of_campaign)))
    seed, plan = film.request.settings.seed, film.plan
    return f"{campaign}-{counted}-{_slug(film.title)}-seed{seed}-{plan.width}x{plan.height}.mp4"


def _slug(title: str) -> str:
    """A title as part of a file name, in any language, without what a matrix adds to it; never
    empty."""
    title = title.partition(" · ")[0]
    return re.sub(r"[^\w]+", "-", title).strip("-").lower()[:40].rstrip("-") or "film"
