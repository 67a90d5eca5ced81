"""What all values have in common: frozen, and exact in JSON."""

from __future__ import annotations

import re
import threading
from fractions import Fraction
from typing import Any, Literal, Self, TypeVar

import msgspec

T = TypeVar("T")


_HUGE = re.compile(r"e[-+]?[\d_]{4}", re.IGNORECASE)
"""Exponents beyond any float's: the digits of `1e999999999` would fill the memory."""


class Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every value: immutable, keyword-only, strict about its fields."""

    def replace(self, **changes: Any) -> Self:
        """A copy with other values in the fields that `changes` names."""
        return msgspec.structs.replace(self, **changes)


def to_json(value: Any, *, order: Literal["deterministic"] | None = "deterministic") -> Any:
    """`value` as plain JSON data (dict, list, str, …); fractions become `"24000/1001"`.

    Keys of mappings are sorted unless `order` is None.
    """
    return msgspec.to_builtins(value, enc_hook=_encode, order=order)


def from_json(kind: type[T], data: Any) -> T:
    """The inverse of `to_json`. Raises `msgspec.ValidationError` naming the path that is wrong."""
    if kind not in _READABLE:
        # msgspec inspects a class when it first reads one, and crashes the process if another
        # thread uses the class during that.
        with _LOOKING:
            msgspec.json.Decoder(kind)
            _READABLE.add(kind)
    return msgspec.convert(data, kind, dec_hook=_decode)


_LOOKING = threading.Lock()


_READABLE: set[Any] = set()


def _encode(value: Any) -> Any:
    if isinstance(value, Fraction):
        return str(value)
    raise NotImplementedError(f"cannot put {type(value).__name__} into JSON")


def _decode(kind: type, data: Any) -> Any:
    if kind is Fraction:
        return parse_fraction(data)
    raise NotImplementedError(f"cannot read {kind.__name__} from JSON")


def parse_fraction(data: Any) -> Fraction:
    """An exact rate or duration from `24`, `2.5`, `"2.5"` or `"24000/1001"`.

    A float is read by its shortest decimal form, so that 0.1 means one tenth.
    Raises `ValueError` on anything else, infinities included.
    """
    if isinstance(data, bool) or not isinstance(data, (int, float, str, Fraction)):
        raise ValueError(f"expected a number, got {data!r}")
    try:
        if isinstance(data, str) and _HUGE.search(data):
            raise ValueError
        return Fraction(repr(data) if isinstance(data, float) else data)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise ValueError(f"expected a number such as 24, 2.5 or 24000/1001, got {data!r}") from None


def counted(number: int, noun: str) -> str:
    """`1 segment`, `2 segments`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
