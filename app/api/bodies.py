"""Bodies of requests: JSON, or forms whose names have brackets, as nested values."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.api.body_limits import MOST_JSON_BYTES
from film.errors import InputError

MOST_FIELDS = 500
MOST_FILES = 16
MOST_DEPTH = 64
"""Lists and objects in one another."""
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PART = re.compile(r"\[([^\[\]]*)\]")


@asynccontextmanager
async def reading_fields(
    request: Request, most_text: int = MOST_JSON_BYTES
) -> AsyncIterator[dict[str, Any]]:
    """The fields of a JSON object or of a form; files are `UploadFile`s, open in the block. Fields
    of forms that are not files have at most `most_text` bytes.

    In a form, `a[b]` is the field `b` of the object `a`, and `a[]` an element of the list `a`.
    Raises `InputError`.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        limits = {"max_files": MOST_FILES, "max_fields": MOST_FIELDS, "max_part_size": most_text}
        async with request.form(**limits) as form:
            yield nested(list(form.multi_items()))
        return
    body = await read_body(request)
    yield await run_in_threadpool(read_object, body) if body.strip() else {}


def read_object(text: bytes, what: str = "body") -> dict[str, Any]:
    """The fields of a JSON object. Raises `InputError` about the `what` that it is."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"The {what} is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise InputError(f"The {what} is JSON, but not an object with fields.")
    if text.count(b"[") + text.count(b"{") > MOST_DEPTH and _is_deep(found):
        raise InputError(f"The {what} has more than {MOST_DEPTH} lists and objects in one another.")
    if _SURROGATE.search(text) and not _is_whole(found):
        message = f"The {what} holds half a character (a lone surrogate); remove it."
        raise InputError(message)
    return found


def _is_deep(found: Any) -> bool:
    """True if lists and objects are nested deeper than `MOST_DEPTH`."""
    level = [found]
    for _ in range(MOST_DEPTH + 1):
        inner = [each for one in level for each in (one.values() if isinstance(one, dict) else one)]
        level = [each for each in inner if isinstance(each, dict | list)]
        if not level:
            return False
    return True


def _is_whole(found: Any) -> bool:
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


async def read_body(request: Request) -> bytes:
    """The whole body."""
    return await request.body()


def nested(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of a form by their names.

    `a[][b]` is the field `b` of an object of the list `a`. Clients send all values of one such
    field before those of the next one: the n-th value of each belongs to the n-th object. Raises
    `InputError` for a name that is not the name of a field, and if fields contradict each other.
    """
    found: dict[str, Any] = {}
    for name, value in items:
        match = _NAME.fullmatch(name)
        if match is None:
            raise InputError(f"{name!r} is not the name of a field.")
        path = [match[1], *_PART.findall(match[2])]
        if len(path) > MOST_DEPTH:
            raise InputError(f"The name of a field has more than {MOST_DEPTH} parts.")
        _put(found, path, value, name)
    return _join_columns(found)


class _Columns(dict[str, list[Any]]):
    """A list of objects, as lists of the values of each of their fields."""


def _put(into: dict[str, Any], path: list[str], value: Any, name: str) -> None:
    key, *rest = path
    if not rest:
        if key in into:
            raise InputError(f"The field {name} is given twice.")
        into[key] = value
    elif rest == [""]:
        values = into.setdefault(key, [])
        if not isinstance(values, list):
            raise InputError(f"The field {name} is a list here and none elsewhere.")
        values.append(value)
    elif rest[0] == "" and len(rest) == 2:
        columns = into.setdefault(key, _Columns())
        if not isinstance(columns, _Columns):
            raise InputError(f"The field {name} is a list of objects here and none elsewhere.")
        columns.setdefault(rest[1], []).append(value)
    else:
        inner = into.setdefault(key, {})
        if not isinstance(inner, dict) or isinstance(inner, _Columns):
            raise InputError(f"The field {name} is an object here and none elsewhere.")
        _put(inner, rest, value, name)


def _join_columns(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: _joined(name, value) for name, value in fields.items()}


def _joined(name: str, value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if not isinstance(value, _Columns):
        return _join_columns(value)
    if len({len(values) for values in value.values()}) > 1:
        raise InputError(
            f"{name}: its objects have different fields, so that it is not clear which belong "
            f"together; send the list as one JSON text"
        )
    rows = zip(*value.values(), strict=True)
    return [dict(zip(value, row, strict=True)) for row in rows]
