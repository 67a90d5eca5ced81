"""Connecting to a farm: a server, or this machine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from longreel.client import AsyncClient, Client
from longreel.values import Error

START_SECONDS = 30.0


def connect(url: str | None = None, key: str | None = None) -> Client:
    """The farm at `url`, else at LONGREEL_SERVER, else that of this machine.

    `key` is one of `longreel keys create`, else LONGREEL_KEY; a farm without keys needs none.
    Raises `Error` if the farm does not answer or refuses the key.
    """
    from film.errors import LongreelError
    from film.settings import settings

    try:
        found = settings()
        address, close = (url or found.server), _nothing
        if not address:
            address, close = _serve_here()
    except LongreelError as error:
        raise Error(str(error)) from error
    client = Client(address, key or found.key or None, close)
    try:
        client.films(limit=1)
    except Error:
        client.close()
        raise
    return client


async def connect_async(url: str | None = None, key: str | None = None) -> AsyncClient:
    """As `connect`, for programs that await."""
    return AsyncClient(await asyncio.to_thread(connect, url, key))


def _nothing() -> None:
    """Nothing is to be closed."""


def _serve_here() -> tuple[str, Callable[[], None]]:
    """Starts the service of this machine's farm in a thread; its address, and how to end it."""
    import socket

    from app.api.application import create_application
    from app.api.server import server_of
    from flows.farm import open_farm

    farm = open_farm(create=False)
    farm.store.check()
    farm.prepare_database()
    application = create_application(farm)
    server = server_of(application)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listener]}, name="longreel", daemon=True
    )
    thread.start()

    def close() -> None:
        server.should_exit = True
        thread.join(START_SECONDS)
        farm.close()

    return f"http://127.0.0.1:{listener.getsockname()[1]}", close
