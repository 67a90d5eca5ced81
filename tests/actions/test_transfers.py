"""Files over HTTP: continued after a break, compared with their digests, two at the same time."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from app.actions.server import Server
from app.actions.transfers import TRIES, Wanted, fetch_file
from film.errors import NotFoundError, ServerAwayError, StoreError

FILM = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(FILM).hexdigest()
WANTED = Wanted("/film", DIGEST, len(FILM))


class Service(BaseHTTPRequestHandler):
    """Sends a film, with ranges; breaks off after some bytes as often as asked for."""

    protocol_version = "HTTP/1.1"
    film = FILM
    breaks: list[int]
    """Bytes after which the next answers break off."""
    asked: list[dict[str, str]]
    status = 200
    ranges = True
    redirect = ""

    def do_GET(self) -> None:
        """Sends the file."""
        self.asked.append({name.lower(): value for name, value in self.headers.items()})
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("location", self.redirect)
            self.send_header("content-length", "0")
            self.end_headers()
            return
        if self.status != 200:
            self.send_response(self.status)
            self.send_header("content-type", "application/problem+json")
            self.send_header("content-length", "22")
            self.end_headers()
            self.wfile.write(b'{"detail": "Is away."}')
            return
        asked = self.headers.get("range", "")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges else 0
        body = self.film[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("content-range", f"bytes {start}-{len(FILM) - 1}/{len(FILM)}")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.breaks:
            self.wfile.write(body[: self.breaks.pop(0)])
            self.close_connection = True
        else:
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> type[Service]:
    monkeypatch.setattr(Service, "breaks", [], raising=False)
    monkeypatch.setattr(Service, "asked", [], raising=False)
    return Service


@pytest.fixture
def server(service: type[Service]) -> Iterator[Server]:
    http = ThreadingHTTPServer(("127.0.0.1", 0), service)
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    found = Server(f"http://127.0.0.1:{http.server_port}", "lr_secret")
    yield found
    found.close()
    http.shutdown()
    http.server_close()


def fetch(server: Server, target: Path, path: str = "/film") -> list[float]:
    """Fetches the film; the pauses that were made."""
    pauses: list[float] = []
    fetch_file(server, Wanted(path, DIGEST, len(FILM)), target, sleep=pauses.append)
    return pauses


def test_a_file_is_continued_as_often_as_the_connection_breaks(
    server: Server, service: type[Service], tmp_path: Path
) -> None:
    service.breaks += [300_000, 1, 200_000]
    target = tmp_path / "film.mp4"
    assert len(fetch(server, target)) == 3
    assert target.read_bytes() == FILM
    assert list(tmp_path.iterdir()) == [target]
    starts = [asked.get("range") for asked in service.asked]
    assert starts == [None, "bytes=300000-", "bytes=300001-", "bytes=500001-"]
    assert service.asked[1]["if-range"] == f'"{DIGEST}"'


def test_half_a_file_of_a_process_that_ended_is_continued(
    server: Server, service: type[Service], tmp_path: Path
) -> None:
    target = tmp_path / "film.mp4"
    (tmp_path / f".{DIGEST[:24]}.part").write_bytes(FILM[:1000])
    fetch(server, target)
    assert target.read_bytes() == FILM
    assert service.asked[0]["range"] == "bytes=1000-"


@pytest.mark.parametrize("part", [b"x" * 1000, FILM + b"more", b"x" * len(FILM)])
def test_a_part_that_is_damaged_is_fetched_anew(
    server: Server, part: bytes, tmp_path: Path
) -> None:
    target = tmp_path / "film.mp4"
    (tmp_path / f".{DIGEST[:24]}.part").write_bytes(part)
    fetch(server, target)
    assert target.read_bytes() == FILM
    assert list(tmp_path.iterdir()) == [target]


def test_a_server_without_ranges_sends_all_of_it(
    server: Server, service: type[Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "ranges", False)
    service.breaks += [300_000]
    fetch(server, tmp_path / "film.mp4")
    assert (tmp_path / "film.mp4").read_bytes() == FILM


@pytest.mark.parametrize("film", [b"x" * len(FILM), FILM + b"more"])
def test_another_file_is_refused_and_the_old_one_stays(
    server: Server,
    service: type[Service],
    film: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "film", film)
    target = tmp_path / "film.mp4"
    target.write_bytes(b"mine")
    with pytest.raises(StoreError, match=r"damaged|longer"):
        fetch(server, target)
    assert target.read_bytes() == b"mine"


def test_an_outage_is_waited_for_a_while_and_what_arrived_stays(
    server: Server, service: type[Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.breaks += [1000]
    monkeypatch.setattr(service, "status", 503)
    pauses: list[float] = []
    with pytest.raises(ServerAwayError, match="refuses that for now"):
        fetch_file(server, WANTED, tmp_path / "f.mp4", sleep=pauses.append)
    assert len(pauses) == TRIES - 1
    assert pauses == sorted(pauses)


@pytest.mark.parametrize(("status", "error"), [(404, NotFoundError), (500, StoreError)])
def test_what_the_service_says_is_passed_on(
    server: Server,
    service: type[Service],
    status: int,
    error: type[Exception],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "status", status)
    with pytest.raises(error, match="Is away"):
        fetch(server, tmp_path / "film.mp4")


def test_a_link_of_the_store_is_followed_without_the_key(
    server: Server, service: type[Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = server.url.replace("127.0.0.1", "localhost")
    monkeypatch.setattr(service, "redirect", f"{other}/elsewhere")
    service.breaks += [1000]
    fetch(server, tmp_path / "film.mp4", "/moved")
    assert (tmp_path / "film.mp4").read_bytes() == FILM
    keys = [asked.get("authorization") for asked in service.asked]
    assert keys == ["Bearer lr_secret", None, "Bearer lr_secret", None]
    assert service.asked[-1]["range"] == "bytes=1000-"
    assert "if-range" not in service.asked[-1]


def test_two_at_the_same_time_take_turns(
    server: Server, service: type[Service], tmp_path: Path
) -> None:
    service.breaks += [100_000, 50_000]
    target = tmp_path / "film.mp4"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: fetch(server, target), range(4)))
    assert target.read_bytes() == FILM
    assert list(tmp_path.iterdir()) == [target]
    assert sum("range" not in asked for asked in service.asked) == 1


def test_a_folder_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        fetch(server, tmp_path / "file" / "film.mp4")
