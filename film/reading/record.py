"""A mapping that the user wrote, with the line of each of its keys."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from film.errors import CampaignFileError
from film.reading.keys import ALIASES
from film.reading.values import short

T = TypeVar("T")


class Record:
    """A mapping the user wrote, with the line of each key, read key by key."""

    def __init__(
        self, data: Any, source: str, line: int | None, lines: Mapping[str, int] | None = None
    ) -> None:
        self.source, self.line, self.lines = source, line, lines or {}
        if not isinstance(data, Mapping):
            raise self.error(f"expected keys and values here, got {short(data)}")
        self.data: dict[str, Any] = {}
        for written, value in data.items():
            key = key_of(written)
            if key in self.data:
                raise self.error(f"{key} is given twice, in two spellings", key)
            self.data[key] = value

    def error(self, problem: str, key: str | None = None) -> CampaignFileError:
        """The error to raise for `key` (or the record as a whole)."""
        line = self.lines.get(key, self.line) if key else self.line
        return CampaignFileError(self.source, line, problem)

    def allow(self, keys: set[str]) -> None:
        """Raises on the first key that is none of `keys`."""
        for key in self.data:
            if key not in keys:
                meant = difflib.get_close_matches(key, keys, 1)
                hint = f"; did you mean {meant[0]!r}?" if meant else ""
                known = f" (known are {', '.join(sorted(keys))})"
                raise self.error(f"unknown key {key!r}{hint}{known}", key)

    def get(self, key: str, read: Callable[[Any], T], default: T) -> T:
        """The value of `key` through `read`, or `default` if it is missing or empty."""
        value = self.data.get(key)
        if value is None:
            return default
        try:
            return read(value)
        except ValueError as error:
            raise self.error(f"{key}: {error}", key) from None


def items_of(record: Record, key: str) -> Iterator[Record]:
    """The mappings in the list at `key`; in a list of bare texts each is a prompt."""
    items = record.data.get(key)
    if items is None:
        return
    if not isinstance(items, list):
        raise record.error(f"{key}: expected a list", key)
    places = getattr(getattr(items, "lc", None), "data", None) or {}
    for index, item in enumerate(items):
        line = places[index][0] + 1 if index in places else record.line
        if isinstance(item, str):
            item = {"prompt": item}
        yield Record(item, record.source, line, lines_of(item))


def child_of(record: Record, key: str) -> Record:
    data = record.data[key]
    return Record(data, record.source, record.lines.get(key, record.line), lines_of(data))


def lines_of(data: Any) -> dict[str, int]:
    """Line (from 1) of each key of a mapping that ruamel.yaml read."""
    place_of: Mapping[Any, Any] = getattr(getattr(data, "lc", None), "data", None) or {}
    return {key_of(key): place[0] + 1 for key, place in place_of.items()}


def key_of(written: Any) -> str:
    """A key as we name it; what YAML takes for a number or a list becomes text."""
    text = written if isinstance(written, str) else short(written)
    return ALIASES.get(text, str(text))
