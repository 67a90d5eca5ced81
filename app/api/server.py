"""The server of the application, with the threads that send webhooks and check batches; streams do
not hold up its end."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from app.api.event_hub import EventHub
from app.api.openai.batch_checker import BatchChecker
from app.api.webhooks.sender import Sender, guarded_post
from flows.farm import Farm


class _Server(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, hub: EventHub, sender: Sender, checker: BatchChecker
    ) -> None:
        super().__init__(config)
        self._hub, self._sender, self._checker = hub, sender, checker

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the threads, too."""
        self._sender.start()
        self._checker.start()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the streams, which would not end by themselves, then everything else."""
        self._hub.close()
        await super().shutdown(sockets)
        await run_in_threadpool(self._checker.stop)
        await run_in_threadpool(self._sender.stop)


def server_of(application: FastAPI, **options: Any) -> uvicorn.Server:
    """A server of the application, with these options of uvicorn's; it sends webhooks and checks
    batches, too."""
    farm: Farm = application.state.farm
    defaults = {"log_config": None, "access_log": False, "lifespan": "on", "server_header": False}
    defaults["proxy_headers"] = False  # the guard decides itself which proxies it trusts
    config = uvicorn.Config(application, **{**defaults, **options})
    sender = Sender(farm, guarded_post(farm.settings.open_networks))
    return _Server(config, application.state.hub, sender, BatchChecker(farm))
