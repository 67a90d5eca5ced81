"""Pages of lists."""

from __future__ import annotations

from film.errors import InputError


def read_limit(text: str, most: int) -> int:
    """The number of entries of a page. Raises `InputError`."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
        raise InputError(f"limit: expected a number from 1 to {most}, got {text!r}")
    return int(text)
