"""Values from the answers of a service, which may be newer than this version."""

from __future__ import annotations

import types
import typing
from functools import cache
from typing import Any, TypeVar

import msgspec

from film.errors import ServerError
from film.types import Struct, from_json

T = TypeVar("T")


def decode(kind: type[T], data: Any) -> T:
    """`data` as a value of `kind`; what it has beyond the fields is left out.

    Raises `ServerError` if a field is missing or has a value that this version does not know.
    """
    try:
        return from_json(kind, _known(kind, data))
    except (msgspec.ValidationError, ValueError, TypeError) as error:
        raise ServerError(
            f"The service answers in a form that this version of Longreel cannot read ({error}); "
            f"use the same version on both sides."
        ) from None


def _known(kind: Any, data: Any) -> Any:
    """`data` without the fields that values of `kind` do not have."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, type) and issubclass(kind, Struct) and isinstance(data, dict):
        fields = _fields(kind)
        return {name: _known(fields[name], data[name]) for name in fields if name in data}
    if origin in (typing.Union, types.UnionType) and data is not None:
        inner = [each for each in arguments if each is not type(None)]
        return _known(inner[0], data) if len(inner) == 1 else data
    if origin in (tuple, list) and isinstance(data, list) and arguments:
        return [_known(arguments[0], item) for item in data]
    if origin is dict and isinstance(data, dict):
        read = int if arguments[0] is int else str  # JSON has no other keys than texts
        return {read(key): _known(arguments[1], item) for key, item in data.items()}
    return data


@cache
def _fields(kind: type[Struct]) -> dict[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(kind)}
