"""A network that fails on request, between a client and a server on this machine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Proxy:
    """Passes bytes to `port`, until `cut_request` or `cut_answer_after` cuts them."""

    cut_request = b"\0never"
    """A connection breaks when a request holds these bytes."""
    cut_answer_after = 1 << 60
    """Connections break once an answer is longer than this many bytes."""
    lose_answer_to = b"\0never"
    """The next request that holds these bytes arrives, and its answer does not."""
    replace_in_answers = (b"\0never", b"")
    """Bytes in answers, and others of the same length that arrive in their place."""
    cuts = 0
    passes: threading.Event
    """While it is not set, connections stay open and nothing passes."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.passes = threading.Event()
        self.passes.set()
        self._lost: set[tuple[socket.socket, ...]] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """Stop listening, and wait until the connections have ended."""
        self.passes.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:  # the server is down
                client.close()
                continue
            ends = (client, server)
            up = threading.Thread(target=self._pass, args=(client, server, ends), daemon=True)
            down = threading.Thread(target=self._pass, args=(server, client, ends), daemon=True)
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            self._threads += [up, down]
            up.start()
            down.start()

    def _pass(
        self, source: socket.socket, target: socket.socket, ends: tuple[socket.socket, ...]
    ) -> None:
        passed, is_answer = 0, source is ends[1]
        try:
            while piece := source.recv(65536):
                self.passes.wait()
                passed += len(piece)
                if not is_answer and self.lose_answer_to in piece:
                    self.lose_answer_to = Proxy.lose_answer_to
                    self._lost.add(ends)
                if (is_answer and (passed > self.cut_answer_after or ends in self._lost)) or (
                    not is_answer and self.cut_request in piece
                ):
                    self.cuts += 1
                    break
                target.sendall(piece.replace(*self.replace_in_answers) if is_answer else piece)
        except OSError:
            pass
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        if is_answer:
            for end in ends:
                end.close()


@contextmanager
def proxied(port: int) -> Iterator[Proxy]:
    """A `Proxy` in front of `port` of this machine."""
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
