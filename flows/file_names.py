"""Names of downloaded films, made from patterns such as `{campaign}/{number:03}-{title}`."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from db.films.films import Film
from film.errors import InputError

DEFAULT_PATTERN = "{campaign}-{number}-{title}-seed{seed}-{width}x{height}"
ENDING = ".mp4"
FIELDS = ("campaign", "name", "number", "id", "title", "seed", "width", "height", "model")
"""What stands in a pattern: `name` is the campaign's, `number` the film's position in it."""
MOST_BYTES = 180
"""Longest part of a path, in UTF-8; file systems take 255, and files that are being fetched have
longer names."""
_NUMBERS = ("number", "seed", "width", "height")
_WIDTH = re.compile(r"0?[1-9]")
_UNSAFE = '<>:"\\|?*'
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
"""Names that Windows keeps for devices."""


def read_pattern(pattern: str) -> list[tuple[str, str | None, str]]:
    """The parts of a naming pattern: text, and the field after it with its width.

    Raises `InputError` for an unknown field, and for a path that leaves its folder.
    """
    try:
        parts = [
            (text, field, width or "")
            for text, field, width, conversion in string.Formatter().parse(pattern)
            if not conversion or _refuse(pattern, "it has a conversion (!)")
        ]
    except ValueError as error:
        raise InputError(f"The naming pattern {pattern!r} cannot be read: {error}.") from None
    for _, field, width in parts:
        _require_field(pattern, field, width)
    places = pattern.split("/")
    if any(not place.strip(" .") for place in places):
        _refuse(pattern, "a part of its path is empty or only dots")
    return parts


def _require_field(pattern: str, field: str | None, width: str) -> None:
    if field is not None and field not in FIELDS:
        _refuse(pattern, f"there is no field {{{field}}}; choose from {', '.join(FIELDS)}")
    if width and not (field in _NUMBERS and _WIDTH.fullmatch(width)):
        _refuse(pattern, "digits such as :03 are for number, seed, width and height")


def _refuse(pattern: str, why: str) -> bool:
    raise InputError(f"The naming pattern {pattern!r} cannot be used: {why}.")


def name_files(films: Sequence[tuple[Film, str]], total: int, pattern: str | None) -> list[str]:
    """The names of films' files, each given with the name of its campaign of `total` films.

    Paths have `/` between their parts and stay in their folder. Raises `InputError` for a pattern
    that cannot be used or that gives two films the same name.
    """
    parts = read_pattern(pattern or DEFAULT_PATTERN)
    names = [_fill(parts, _values(film, name, total)) for film, name in films]
    seen: dict[str, str] = {}
    for (film, _), name in zip(films, names, strict=True):
        other = seen.setdefault(name.casefold(), film.id)
        if other != film.id:
            _refuse(pattern or "", f"{other} and {film.id} would be {name}; add {{number}}")
    return names


def _values(film: Film, campaign_name: str, total: int) -> dict[str, Any]:
    settings, plan = film.request.settings, film.plan
    return {
        "campaign": film.campaign,
        "name": slug(campaign_name),
        "number": int(film.id.rpartition("-")[2]),
        "digits": len(str(total)),
        "id": film.id,
        "title": slug(film.title),
        "seed": settings.seed,
        "width": plan.width,
        "height": plan.height,
        "model": slug(plan.model),
    }


def _fill(parts: Sequence[tuple[str, str | None, str]], values: Mapping[str, Any]) -> str:
    text = ""
    for literal, field, width in parts:
        text += literal
        if field is not None:
            text += _field(field, width, values)
    *folders, last = text.split("/")
    return "/".join([*map(safe_name, folders), safe_name(last) + ENDING])


def _field(field: str, width: str, values: Mapping[str, Any]) -> str:
    # Files of a campaign sort in order unless the pattern says otherwise.
    digits = int(width or (values["digits"] if field == "number" else 1))
    value = values[field]
    return str(value).zfill(digits) if field in _NUMBERS else str(value)


def slug(title: str) -> str:
    """A title as part of a file name, in any language, without what a matrix adds to it; never
    empty."""
    title = unicodedata.normalize("NFC", title.partition(" · ")[0])
    return re.sub(r"[^\w]+", "-", title).strip("-").lower()[:40].rstrip("-") or "film"


def safe_name(text: str, most_bytes: int = MOST_BYTES) -> str:
    """`text` as one part of a path that every file system takes: no separators, no control
    characters, not hidden, not too long, not empty."""
    text = unicodedata.normalize("NFC", text)
    text = "".join("_" if _is_unsafe(character) else character for character in text)
    text = text.encode("utf-8", "replace")[:most_bytes].decode("utf-8", "ignore").strip(" .")
    return f"_{text}" if not text or _RESERVED.match(text) else text


def _is_unsafe(character: str) -> bool:
    return character in _UNSAFE or character == "/" or unicodedata.category(character)[0] == "C"
