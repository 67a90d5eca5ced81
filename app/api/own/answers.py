"""Answers of the own API."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from film.types import to_json


def json_answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A value, our own classes among it, as JSON."""
    return _answer(msgspec.json.encode(to_json(value, order=None)), status, headers)


def polled_answer(request: Request, value: Any, leave_out: Collection[str] = ()) -> Response:
    """The same with an ETag, and without a body (304) if the client has it already.

    Fields of entries that only tell the time are named in `leave_out`: they do not count as a
    change.
    """
    data = to_json(value, order=None)
    body = msgspec.json.encode(data)
    counted = msgspec.json.encode(_without(data, leave_out)) if leave_out else body
    tag = f'W/"{hashlib.blake2b(counted, digest_size=16).hexdigest()}"'
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    if tag in _tags(request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    return _answer(body, 200, headers)


def _answer(body: bytes, status: int, headers: dict[str, str] | None) -> Response:
    return Response(body, status, headers, media_type="application/json")


def _without(data: Any, names: Collection[str]) -> Any:
    if isinstance(data, list):
        return [_without(item, names) for item in data]
    if isinstance(data, dict):
        return {key: _without(item, names) for key, item in data.items() if key not in names}
    return data


def _tags(header: str) -> list[str]:
    """The tags of If-None-Match; a strong one stands for the weak one of the same content."""
    tags = [tag.strip() for tag in header.split(",")]
    return [tag if tag.startswith("W/") else f"W/{tag}" for tag in tags]
