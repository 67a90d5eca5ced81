"""Pydantic models of our values, made from them, for the OpenAPI document."""

from __future__ import annotations

import types
import typing
from fractions import Fraction
from functools import cache
from typing import Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field, create_model

from film.types import Struct

_FRACTION = typing.Annotated[
    str, Field(description="An exact number, as `24000/1001` or `8`.", examples=["24000/1001"])
]


@cache
def schema_of(kind: type[Struct]) -> type[BaseModel]:
    """The model of what `to_json` makes of a value of this class."""
    fields: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        known = _schema(field.type)
        required = field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT
        fields[field.name] = (known, ... if required else Field(default=None))
    return create_model(
        kind.__name__, __doc__=kind.__doc__, __config__=ConfigDict(frozen=True), **fields
    )


def _schema(kind: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(_schema(each) for each in arguments)]  # noqa: UP007
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return list[_schema(arguments[0])]  # type: ignore[misc]
    if origin is tuple:
        return list[Any]
    if origin in (list, dict):
        return origin[tuple(_schema(each) for each in arguments)]
    if isinstance(kind, type) and issubclass(kind, Struct):
        return schema_of(kind)
    if kind is Fraction:
        return _FRACTION
    return kind
