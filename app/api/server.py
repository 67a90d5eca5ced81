"""The server of the application: streams do not hold up its end."""

from __future__ import annotations

import socket

import uvicorn

from app.api.event_hub import EventHub


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, hub: EventHub) -> None:
        super().__init__(config)
        self._hub = hub

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the streams, which would not end by themselves, then everything else."""
        self._hub.close()
        await super().shutdown(sockets)


def server_of(config: uvicorn.Config, hub: EventHub) -> uvicorn.Server:
    """A server whose streams get their events from `hub`."""
    return _Server(config, hub)
