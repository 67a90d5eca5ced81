"""Text from users on its way to a terminal or into one line of a table."""

from __future__ import annotations

import unicodedata

_ORDER = {"\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068", "\u2069"}
"""Marks that turn the order of what follows, beyond the end of a text."""


def printable(text: str) -> str:
    """`text` without what a terminal acts on: control characters, all but line breaks and tabs, are
    replaced by `?`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if _is_safe(character) else "?" for character in text)


def one_line(text: str) -> str:
    """`text` in one line that can be printed."""
    return " ".join(printable(text).split())


def _is_safe(character: str) -> bool:
    if character in "\n\t":
        return True
    return unicodedata.category(character) not in ("Cc", "Cs") and character not in _ORDER
