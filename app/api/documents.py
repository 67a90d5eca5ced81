"""What the OpenAPI document says of answers that routes do not return themselves."""

from __future__ import annotations

from typing import Any

from app.api.problems import Problem

_KINDS: dict[int | str, str] = {
    "4XX": "What the client can correct.",
    "5XX": "A part is away, or a fault of ours.",
}


def _answers(kind: str, schema: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    content = {kind: {"schema": schema}}
    # FastAPI would describe its own form of 422.
    texts: dict[int | str, str] = {422: _KINDS["4XX"]}
    texts.update(_KINDS)
    return {status: {"description": text, "content": content} for status, text in texts.items()}


PROBLEMS = _answers("application/problem+json", Problem.model_json_schema())
"""Errors of the own API."""

_TEXT = {"type": "string"}
_TEXT_OR_NULL = {"type": ["string", "null"]}
OPENAI_ERRORS = _answers(
    "application/json",
    {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "param", "code"],
                "properties": {
                    "message": _TEXT,
                    "type": _TEXT,
                    "param": _TEXT_OR_NULL,
                    "code": _TEXT_OR_NULL,
                },
            }
        },
    },
)
"""Errors of `/v1`."""

_BYTES = {"schema": {"type": "string", "format": "binary"}}
FILES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file.",
        "content": dict.fromkeys(("video/mp4", "image/webp", "image/jpeg"), _BYTES),
    },
    206: {"description": "A part of the file.", "content": {"video/mp4": _BYTES}},
    302: {"description": "A link to the file in the store."},
}
"""Answers with a film or a picture of it."""


VIDEO_FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The film.", "content": {"video/mp4": _BYTES}}
}
"""An answer with a film."""

ARCHIVE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The films.", "content": {"application/zip": _BYTES}}
}
"""An answer with films in one file."""


def body_of(fields: dict[str, dict[str, Any]], required: list[str]) -> dict[str, Any]:
    """The body of a request with these fields, as JSON or as a form."""
    schema = {"type": "object", "properties": fields, "required": required}
    kinds = ("application/json", "multipart/form-data", "application/x-www-form-urlencoded")
    return {
        "requestBody": {
            "required": True,
            "content": {kind: {"schema": schema} for kind in kinds},
        }
    }
