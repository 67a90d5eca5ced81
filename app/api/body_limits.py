"""Limits the size of every request's body, also of one without a length."""

from __future__ import annotations

from fastapi.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 64 * 1024 * 1024
"""Pictures are the largest part of a body."""
MOST_JSON_BYTES = 16 * 1024 * 1024
MOST_FILE_BYTES = 512 * 1024 * 1024
"""For uploads to `/v1/files`."""
MOST_CAMPAIGN_BYTES = 4 * 1024**3
"""For campaigns with their pictures and LoRAs."""
_CAMPAIGNS = ("/api/v1/campaigns", "/api/v1/estimates")
_FORM_BYTES = 64 * 1024
"""What a form holds in addition to its file."""


class BodyLimits:
    """Answers with the status 413 if a body is larger than its route allows."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI calls it."""
        if scope["type"] == "http":
            receive = _limited(receive, scope)
        await self._app(scope, receive, send)


def most_bytes(path: str, content_type: bytes = b"") -> int:
    """The largest body of a request to `path`. Forms with files go to the disk as they come; JSON
    takes many times its size of memory."""
    is_form = content_type.strip().lower().startswith(b"multipart/form-data")
    if path in _CAMPAIGNS:
        return MOST_CAMPAIGN_BYTES if is_form else MOST_BYTES
    if not is_form:
        return MOST_JSON_BYTES
    return MOST_FILE_BYTES + _FORM_BYTES if path == "/v1/files" else MOST_BYTES


def _limited(receive: Receive, scope: Scope) -> Receive:
    headers = dict(scope["headers"])
    most, size = most_bytes(scope["path"], headers.get(b"content-type", b"")), 0
    length = headers.get(b"content-length", b"")

    async def receive_limited() -> Message:
        nonlocal size
        # Raised where the body is read, so that it is answered as every other error is.
        if length.isdigit() and int(length) > most:
            raise _too_large(most)
        message = await receive()
        size += len(message.get("body", b""))
        if size > most:
            raise _too_large(most)
        return message

    return receive_limited


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"The body is larger than {most // 1024 // 1024} MiB.")
