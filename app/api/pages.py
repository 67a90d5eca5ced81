"""Pages of lists."""

from __future__ import annotations

from film.errors import InputError
from film.reading.values import short

MOST_DIGITS = 10


def read_limit(text: str, most: int) -> int:
    """The number of entries of a page. Raises `InputError`."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < MOST_DIGITS else 0
    if not 1 <= number <= most:
        raise InputError(f"limit: expected a number from 1 to {most}, got {short(text)}")
    return number
