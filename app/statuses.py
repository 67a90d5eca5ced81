"""Statuses of films as users write them."""

from __future__ import annotations

from film.errors import InputError
from film.types import FilmStatus


def read_statuses(text: str) -> list[FilmStatus]:
    """The statuses in a list with commas between. Raises `InputError`."""
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word not in list(FilmStatus)]
    if unknown:
        known = ", ".join(FilmStatus)
        raise InputError(f"status: there is no status {unknown[0]!r}; choose from {known}")
    return [FilmStatus(word) for word in words]
