"""Files from addresses that users give, fetched from a real server on this machine."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from app.api.fetch_file import fetch_file
from film.errors import InputError
from tests.services.tls import Certificate, make_certificate

HERE = [ipaddress.ip_network("127.0.0.0/8")]
FILE = b"the file"


class Handler(BaseHTTPRequestHandler):
    """Answers by the path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Each path is a way to answer."""
        try:
            getattr(self, f"send_{self.path.strip('/').partition('?')[0]}")()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_file(self) -> None:
        self._send(200, FILE)

    def send_missing(self) -> None:
        self._send(404)

    def send_near(self) -> None:
        self._send(302, location="/file")

    def send_private(self) -> None:
        self._send(302, location="http://169.254.169.254/latest/meta-data")

    def send_other(self) -> None:
        self._send(301, location="file:///etc/passwd")

    def send_loop(self) -> None:
        self._send(307, location="/loop")

    def send_name(self) -> None:
        self._send(302, location=f"https://inside.example.org:{self.server.server_port}/file")  # type: ignore[attr-defined]

    def send_endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(bytes(65536))

    def send_drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(b".")
            time.sleep(0.02)

    def send_headers(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nx-long: ")
        while True:
            self.wfile.write(b".")
            time.sleep(0.02)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Prints nothing."""


class Server(ThreadingHTTPServer):
    """Prints nothing of connections that break."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing."""


@contextmanager
def running(certificate: Certificate | None = None) -> Iterator[int]:
    """The port of a running server."""
    server = Server(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certificate, certificate.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a running server."""
    with running() as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def secure_server(tmp_path: Path) -> Iterator[tuple[str, Certificate]]:
    """The address of a server that speaks TLS, and its certificate."""
    certificate = make_certificate(tmp_path)
    with running(certificate) as port:
        yield f"https://127.0.0.1:{port}", certificate


def test_a_file_is_fetched_over_tls(
    secure_server: tuple[str, Certificate], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, certificate = secure_server
    with pytest.raises(InputError, match="CERTIFICATE_VERIFY_FAILED"):
        fetch_file(f"{url}/file", tmp_path / "a", HERE, field="image")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.authority))
    fetch_file(f"{url}/file", tmp_path / "a", HERE, field="image")
    assert (tmp_path / "a").read_bytes() == FILE
    with pytest.raises(InputError, match=r"whole file within 0\.5 s"):
        fetch_file(f"{url}/drip", tmp_path / "b", HERE, field="image", seconds=0.5)


@pytest.mark.parametrize("path", ["/file", "/near"])
def test_a_file_is_fetched_also_after_a_redirect(server: str, tmp_path: Path, path: str) -> None:
    fetch_file(server + path, tmp_path / "a", HERE, field="image")
    assert (tmp_path / "a").read_bytes() == FILE


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/missing?signature=secret", "/missing could not be fetched: it answered with the status"),
        ("/private", "169.254.169.254 is an address of a private network"),
        ("/other", "expected https://HOST/PATH, got 'file:///etc/passwd'"),
        ("/loop", "redirected more than 5 times"),
        ("/endless", "more than 1 MiB"),
        ("/drip", "whole file within 0.3 s"),
        ("/headers", "whole file within 0.3 s"),
    ],
)
def test_what_is_not_fetched_is_said(server: str, tmp_path: Path, path: str, says: str) -> None:
    began = time.monotonic()
    with pytest.raises(InputError, match=r"^image: ") as refused:
        fetch_file(
            server + path, tmp_path / "a", HERE, field="image", most_bytes=2**20, seconds=0.3
        )
    assert says in str(refused.value)
    assert "secret" not in str(refused.value)
    assert time.monotonic() - began < 5


def test_an_address_of_a_private_network_is_not_asked(server: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="private network"):
        fetch_file(f"{server}/file", tmp_path / "a", [], field="image")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("first", ["direct", "redirect"])
def test_a_public_name_with_a_private_address_is_not_asked(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    real = socket.getaddrinfo

    def changed(host: str, *arguments: Any, **named: Any) -> Any:
        return real("127.0.0.2" if host == "inside.example.org" else host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", changed)
    url = "https://inside.example.org/file" if first == "direct" else f"{server}/name"
    only_the_server = [ipaddress.ip_network("127.0.0.1/32")]
    with pytest.raises(InputError, match=r"^image: inside.example.org is in a private network"):
        fetch_file(url, tmp_path / "a", only_the_server, field="image")
