"""Answers of the own API."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from film.types import to_json


def json_answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A value, our own classes among it, as JSON."""
    body = msgspec.json.encode(to_json(value, order=None))
    return Response(body, status, headers, media_type="application/json")
