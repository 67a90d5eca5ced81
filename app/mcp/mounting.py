"""The tools as a part of the service, at `/mcp`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from mcp.server.transport_security import TransportSecuritySettings

from app.mcp.api import OwnApi
from app.mcp.tools import create_server

PATH = "/mcp"


def mount(application: FastAPI, user_header: str) -> None:
    """Adds the tools to the service. Each request stands for itself, so that copies of the service
    may run in parallel."""
    server = create_server(OwnApi(application, user_header))
    # The guard of the service looks at Host and Origin.
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    tools = server.streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,
        json_response=True,
        transport_security=security,
    )
    application.router.routes += tools.routes

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with server.session_manager.run():
            yield

    application.router.lifespan_context = lifespan
