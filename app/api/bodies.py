"""Bodies of requests: JSON, or forms whose names have brackets, as nested values."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

from film.errors import InputError

MOST_BYTES = 64 * 1024 * 1024
"""Of a body; pictures are the largest part of it."""
MOST_FIELDS = 500
MOST_FILES = 16
_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PART = re.compile(r"\[([^\[\]]*)\]")


@asynccontextmanager
async def reading_fields(request: Request) -> AsyncIterator[dict[str, Any]]:
    """The fields of a JSON object or of a form; files are `UploadFile`s, open in the block.

    In a form, `a[b]` is the field `b` of the object `a`, and `a[]` an element of the list `a`.
    Raises `InputError`, and an exception with status 413 for a body that is too large.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    _require_size(request)
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        limits = {"max_files": MOST_FILES, "max_fields": MOST_FIELDS, "max_part_size": MOST_BYTES}
        async with request.form(**limits) as form:
            yield nested(list(form.multi_items()))
        return
    yield _json_object(await read_body(request))


def _json_object(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        found = json.loads(body)
    except ValueError as error:
        raise InputError(f"The body is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise InputError("The body is JSON, but not an object with fields.")
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        message = "The body holds half a character (a lone surrogate); remove it."
        raise InputError(message) from None
    return found


async def read_body(request: Request) -> bytes:
    """The whole body, at most `MOST_BYTES` of it."""
    _require_size(request)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BYTES:
            raise _too_large()
        parts.append(part)
    return b"".join(parts)


def nested(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of a form by their names. Raises `InputError` for a name that is no name."""
    found: dict[str, Any] = {}
    for name, value in items:
        match = _NAME.fullmatch(name)
        if match is None:
            raise InputError(f"{name!r} is not the name of a field.")
        path = [match[1], *_PART.findall(match[2])]
        _put(found, path, value, name)
    return found


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
    else:
        inner = into.setdefault(key, {})
        if not isinstance(inner, dict):
            raise InputError(f"The field {name} is an object here and none elsewhere.")
        _put(inner, rest, value, name)


def _require_size(request: Request) -> None:
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > MOST_BYTES:
        raise _too_large()


def _too_large() -> HTTPException:
    return HTTPException(413, f"The body is larger than {MOST_BYTES // 1024 // 1024} MiB.")
