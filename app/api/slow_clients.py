"""Clients that do not send what they announced are not waited for without end."""

from __future__ import annotations

import asyncio
import time

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PIECE_SECONDS = 30.0
"""How long the next piece of a body may take."""
BODY_SECONDS = 60.0
"""How long a whole body may take, in addition to the time of its bytes at the least rate."""
LEAST_RATE = 32 * 1024
"""Bytes a second."""


class SlowClients:
    """Ends requests whose body does not come, with 408."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI calls it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        until = time.monotonic() + BODY_SECONDS
        whole, size = False, 0

        async def receive_in_time() -> Message:
            nonlocal whole, size
            if whole:  # from here on it waits for the client to leave
                return await receive()
            seconds = min(PIECE_SECONDS, until + size / LEAST_RATE - time.monotonic())
            try:
                message = await asyncio.wait_for(receive(), max(0.0, seconds))
            except TimeoutError:
                detail = "The body of the request did not arrive in time; send it again."
                raise HTTPException(408, detail, headers={"connection": "close"}) from None
            size += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            return message

        await self._app(scope, receive_in_time, send)
