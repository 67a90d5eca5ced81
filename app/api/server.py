"""The server of the application: streams do not hold up its end, and webhooks are sent."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from app.api.event_hub import EventHub
from app.api.webhooks.sender import Sender, guarded_post
from flows.farm import Farm


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, hub: EventHub, sender: Sender) -> None:
        super().__init__(config)
        self._hub, self._sender = hub, sender

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to send webhooks, too."""
        self._sender.start()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the streams, which would not end by themselves, then everything else."""
        self._hub.close()
        await super().shutdown(sockets)
        await run_in_threadpool(self._sender.stop)


def server_of(application: FastAPI, **options: Any) -> uvicorn.Server:
    """A server of the application, with these options of uvicorn's; it sends webhooks, too."""
    farm: Farm = application.state.farm
    defaults = {"log_config": None, "access_log": False, "lifespan": "on", "server_header": False}
    defaults["proxy_headers"] = False  # the guard decides itself which proxies it trusts
    config = uvicorn.Config(application, **{**defaults, **options})
    sender = Sender(farm, guarded_post(farm.settings.open_networks))
    return _Server(config, application.state.hub, sender)
