"""`POST /v1/videos/sync`: answered with the film."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from app.api.openai import sync
from db.films import film_lease, user_actions
from flows.farm import Farm
from storage import keys
from tests.api.test_streams import address
from tests.db.farm import DELIVERY
from tests.db.farm import Farm as Rows

__all__ = ["address"]

BODY = {"prompt": "A red ball rolls.", "seconds": "2"}
FILM = b"0123456789"


class Client:
    """Requests to the service, each in a thread."""

    def __init__(self, address: str) -> None:
        self._url = f"{address}/v1/videos/sync"
        self._pool = ThreadPoolExecutor(8)

    def post(self, seconds: float = 20.0, **fields: Any) -> Future[httpx.Response]:
        """The answer, once it is there; the client leaves after `seconds`."""
        return self._pool.submit(self._post, seconds, fields)

    def _post(self, seconds: float, fields: dict[str, Any]) -> httpx.Response:
        with httpx.Client(timeout=seconds, trust_env=False) as client:
            return client.post(self._url, json={**BODY, **fields})

    def close(self) -> None:
        self._pool.shutdown()


@pytest.fixture
def requests(address: str) -> Iterator[Client]:
    client = Client(address)
    yield client
    client.close()


def wait_for_film(rows: Rows) -> str:
    """The id of the film that was asked for."""
    from db.films import listing

    until = time.monotonic() + 10
    while time.monotonic() < until:
        found = rows.read(listing.find_films, limit=1)
        if found:
            return found[0].id  # type: ignore[no-any-return]
        time.sleep(0.01)
    raise AssertionError("No film was asked for.")


def deliver(farm: Farm, rows: Rows) -> None:
    """Delivers the film that was asked for."""
    rows.render_all()
    path = farm.scratch.open() / "film.mp4"
    path.write_bytes(FILM)
    info = farm.store.put_file(keys.film_video("ab" * 32), path)
    delivery = DELIVERY.replace(key=info.key, sha256=info.sha256 or "", size_bytes=info.size_bytes)
    assert rows.write(film_lease.finish, rows.claim_film(), delivery)


@pytest.fixture
def rows(small_farm: Farm) -> Rows:
    return Rows(small_farm.database)


def test_the_answer_is_the_film(requests: Client, rows: Rows, small_farm: Farm) -> None:
    asked = requests.post()
    film = wait_for_film(rows)
    threads = threading.active_count()
    assert not asked.done()
    deliver(small_farm, rows)
    answer = asked.result()
    assert (answer.status_code, answer.content) == (200, FILM)
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["x-video-id"] == f"video_{film}"
    assert threading.active_count() <= threads + 2


def test_a_film_that_fails_is_an_error(requests: Client, rows: Rows) -> None:
    asked = requests.post()
    wait_for_film(rows)
    rows.render_all()
    rows.write(film_lease.fail, rows.claim_film(), "Segment 1 failed: no")
    answer = asked.result()
    assert answer.status_code == 500
    error = answer.json()["error"]
    assert (error["code"], error["message"]) == ("render_failed", "Segment 1 failed: no")
    assert answer.headers["x-should-retry"] == "false"


def test_a_film_that_is_cancelled_is_another(requests: Client, rows: Rows) -> None:
    asked = requests.post()
    rows.write(user_actions.cancel, wait_for_film(rows))
    answer = asked.result()
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "cancelled")


def test_the_wait_has_an_end_and_the_film_goes_on(requests: Client, rows: Rows) -> None:
    answer = requests.post(timeout=0.2).result()
    film = wait_for_film(rows)
    assert answer.status_code == 504
    error = answer.json()["error"]
    assert error["code"] == "timeout"
    assert f"GET /v1/videos/video_{film}" in error["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert not rows.status(film).final


@pytest.mark.parametrize("value", ["0", "-1", "long", "601", [], True, "nan"])
def test_a_wait_that_cannot_be_is_refused(requests: Client, rows: Rows, value: Any) -> None:
    answer = requests.post(timeout=value).result()
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "timeout")


def test_a_client_that_leaves_keeps_its_film_and_frees_its_place(
    requests: Client, rows: Rows, monkeypatch: pytest.MonkeyPatch, small_farm: Farm
) -> None:
    monkeypatch.setattr(sync, "MOST_WAITING", 1)
    monkeypatch.setattr(sync, "GONE_SECONDS", 0.05)
    leaving = requests.post(seconds=1.0)
    film = wait_for_film(rows)
    full = requests.post().result()
    assert full.status_code == 429
    assert full.json()["error"]["code"] == "rate_limit_exceeded"
    assert full.headers["retry-after"] == "10"
    with pytest.raises(httpx.ReadTimeout):
        leaving.result()
    assert not rows.status(film).final
    until = time.monotonic() + 10
    while (answer := requests.post(timeout=0.1).result()).status_code == 429:
        assert time.monotonic() < until
    assert answer.status_code == 504


def test_a_service_that_stops_says_so(
    small_farm: Farm, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    from app.api.application import create_application
    from app.api.server import server_of

    server = server_of(create_application(small_farm))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    requests = Client(f"http://127.0.0.1:{listener.getsockname()[1]}")
    try:
        asked = requests.post()
        film = wait_for_film(rows)
        time.sleep(0.3)
    finally:
        server.should_exit = True
        thread.join(20)
        requests.close()
    answer = asked.result()
    assert not thread.is_alive()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "stopped")
    assert not rows.status(film).final
