"""The HTTP service of a farm in a thread of this process, on a real socket."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from app.api.application import create_application
from app.api.server import server_of
from flows.farm import Farm


@contextmanager
def serving(farm: Farm, port: int = 0) -> Iterator[str]:
    """Answers while in the block; its address."""
    server = server_of(create_application(farm))
    listener = _listener(port)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


def _listener(port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    made.listen(128)
    return made
