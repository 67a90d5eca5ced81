"""How tools reach `/api/v1`: of this process, or of a service elsewhere.

Tools act only by requests, with the key of their caller: they can do only what that key may do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

import httpx
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from starlette.requests import Request
from starlette.types import ASGIApp

SECONDS = 120.0
"""How long an answer may take: planning a large campaign takes its time."""
_HANDED_ON = ("authorization", "x-forwarded-for", "host", "x-request-id")


class Api(Protocol):
    """Opens a client for one call of a tool."""

    def client(self, context: Context[Any, Any]) -> Any:
        """An asynchronous context manager that gives an `httpx.AsyncClient`."""


class RemoteApi:
    """A service elsewhere."""

    def __init__(self, url: str, key: str | None) -> None:
        self._url = url
        self._headers = {"authorization": f"Bearer {key}"} if key else {}

    @asynccontextmanager
    async def client(self, context: Context[Any, Any]) -> AsyncIterator[httpx.AsyncClient]:
        """See `Api`."""
        async with httpx.AsyncClient(
            base_url=self._url, headers=self._headers, timeout=SECONDS, follow_redirects=True
        ) as client:
            yield client


class OwnApi:
    """The application of this process, asked without a network."""

    def __init__(self, application: ASGIApp, user_header: str) -> None:
        """`user_header`: in which a trusted proxy names the user."""
        self._application = application
        self._handed_on = (*_HANDED_ON, *([user_header] if user_header else []))

    @asynccontextmanager
    async def client(self, context: Context[Any, Any]) -> AsyncIterator[httpx.AsyncClient]:
        """See `Api`; the request that calls the tool decides who acts."""
        asked = context.request_context.request
        headers: dict[str, str] = {}
        peer = ("127.0.0.1", 0)
        if isinstance(asked, Request):
            headers = {
                name: asked.headers[name] for name in self._handed_on if name in asked.headers
            }
            peer = asked.client or peer
        transport = httpx.ASGITransport(self._application, client=(peer[0], peer[1]))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", headers=headers, timeout=SECONDS
        ) as client:
            yield client


async def ask(client: httpx.AsyncClient, method: str, path: str, **request: Any) -> Any:
    """The JSON of an answer. Raises `ToolError` with what the answer says is wrong."""
    if "params" in request:
        request["params"] = {k: v for k, v in request["params"].items() if v is not None}
    try:
        answer = await client.request(method, path, **request)
    except httpx.HTTPError as error:
        raise ToolError(f"The farm does not answer: {error or type(error).__name__}") from error
    if answer.is_error:
        raise ToolError(_said(answer))
    found = answer.json()
    # A list would become a text for each item.
    return {"items": found} if isinstance(found, list) else found


def _said(answer: httpx.Response) -> str:
    try:
        problem: Mapping[str, Any] = answer.json()
    except ValueError:
        problem = {}
    said = [str(problem.get("detail") or f"The farm answered with {answer.status_code}.")]
    said += [str(each.get("detail")) for each in problem.get("errors", [])[:20]]
    return "\n".join(dict.fromkeys(said))
