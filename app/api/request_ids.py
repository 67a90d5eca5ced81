"""Every answer has an id by which it is found in the log."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

HEADER = "x-request-id"
_GIVEN = re.compile(rb"[A-Za-z0-9_.:-]{1,128}")


class RequestIds:
    """Takes over the id that the client gives, or makes one; logs every request with it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI calls it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(HEADER.encode(), b"")
        found = given.decode() if _GIVEN.fullmatch(given) else f"req_{uuid.uuid4().hex}"
        scope.setdefault("state", {})["request_id"] = found
        began, status = time.perf_counter(), 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", []),
                    (HEADER.encode(), found.encode()),
                ]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            _log(scope, status, time.perf_counter() - began, found)


def _log(scope: Scope, status: int, seconds: float, request_id: str) -> None:
    fields: dict[str, Any] = {"request": request_id}
    message = "%s %s answered with %d after %.3f s"
    logger.info(message, scope["method"], scope["path"], status, seconds, extra=fields)
