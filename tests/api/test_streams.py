"""Events as they happen: of a film, a campaign and the farm; resumed after a break."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.api import event_hub
from app.api.application import create_application
from app.api.event_hub import EventHub, Listener
from app.api.server import server_of
from db import events
from db.films import user_actions
from flows.farm import Farm
from tests.db.farm import Farm as Rows
from tests.db.farm import a_film


@pytest.fixture
def address(small_farm: Farm) -> Iterator[str]:
    """A service that runs in this process."""
    application = create_application(small_farm)
    server = server_of(application)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


class Reader:
    """Reads a stream in a thread until it has as many events as are wanted."""

    def __init__(self, url: str, count: int, last: int | None = None) -> None:
        self.events: list[dict[str, Any]] = []
        self.opened = threading.Event()
        self._url, self._count = url, count
        self._headers = {} if last is None else {"last-event-id": str(last)}
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with (
            httpx.Client(timeout=20, trust_env=False) as client,
            client.stream("GET", self._url, headers=self._headers) as answer,
        ):
            assert answer.headers["content-type"].startswith("text/event-stream")
            self.opened.set()
            found: dict[str, str] = {}
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if line:
                    found[name] = value
                    continue
                if "data" in found:
                    event = {**json.loads(found["data"]), "id": int(found["id"])}
                    assert event["kind"] == found["event"]
                    self.events.append(event)
                found = {}
                if len(self.events) >= self._count:
                    return

    def wait(self) -> list[dict[str, Any]]:
        """The events."""
        self._thread.join(20)
        assert not self._thread.is_alive(), self.events
        return self.events


def test_every_listener_is_told_what_it_asked_for(address: str, small_farm: Farm) -> None:
    rows = Rows(small_farm.database)
    first, second = rows.submit(a_film(tag="x"), a_film(tag="y"))
    (other,) = rows.submit(a_film(tag="z"))
    campaign = first.rpartition("-")[0]
    readers = [
        Reader(f"{address}/api/v1/films/{first}/stream", 1),
        Reader(f"{address}/api/v1/campaigns/{campaign}/stream", 2),
        Reader(f"{address}/api/v1/stream", 3),
    ]
    for reader in readers:
        assert reader.opened.wait(10)
    for film in (other, second, first):
        rows.write(user_actions.cancel, film)
    of_film, of_campaign, of_farm = (reader.wait() for reader in readers)
    assert [event["film_id"] for event in of_film] == [first]
    assert [event["film_id"] for event in of_campaign] == [second, first]
    assert [event["film_id"] for event in of_farm] == [other, second, first]
    assert of_film[0]["kind"] == "cancelled"
    assert of_film[0]["campaign"] == campaign


def test_a_broken_stream_continues_after_its_last_event(address: str, small_farm: Farm) -> None:
    rows = Rows(small_farm.database)
    (film,) = rows.submit(a_film())
    url = f"{address}/api/v1/films/{film}/stream"
    queued = Reader(url, 1, last=0).wait()
    assert queued[0]["kind"] == "queued"
    rows.write(user_actions.cancel, film)
    rows.write(user_actions.requeue, film)
    reader = Reader(url, 3, last=queued[0]["id"])
    assert reader.opened.wait(10)
    rows.write(user_actions.cancel, film)
    assert [event["kind"] for event in reader.wait()] == ["cancelled", "queued", "cancelled"]


def test_one_query_serves_all_listeners_and_none_is_made_without_them(
    small_farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_hub, "LOOK_SECONDS", 0.01)
    looks: list[int] = []
    real = events.after

    def counted(connection: Any, number: int) -> Any:
        looks.append(number)
        return real(connection, number)

    monkeypatch.setattr(events, "after", counted)
    rows = Rows(small_farm.database)
    (film,) = rows.submit(a_film())
    hub = EventHub(small_farm)

    async def listen() -> list[list[str]]:
        loop = asyncio.get_running_loop()
        listeners = [Listener(name, loop) for name in (film, None, "other") for _ in range(20)]
        managers = [hub.listening(listener) for listener in listeners]
        for manager in managers:
            manager.__enter__()
        rows.write(user_actions.cancel, film)
        heard = [await asyncio.wait_for(one.queue.get(), 10) for one in listeners[:40]]
        assert all(one.queue.empty() for one in listeners[40:])
        for manager in managers:
            manager.__exit__(None, None, None)
        return [[event.kind] for event in heard if event]

    assert asyncio.run(listen()) == [["cancelled"]] * 40
    for thread in threading.enumerate():
        if thread.name == "event-hub":
            thread.join(10)
    before = len(looks)
    rows.write(user_actions.requeue, film)
    assert len(looks) == before


def test_an_event_that_becomes_visible_late_is_told(small_farm: Farm) -> None:
    rows = Rows(small_farm.database)
    (film,) = rows.submit(a_film())
    seen = event_hub._Seen()
    hub = EventHub(small_farm)
    hub._new(seen)
    with small_farm.database.write() as connection:
        events.record(connection, film, "rendered", "early number, late commit")
        number = events.latest(connection)
        table = events.events
        connection.execute(table.delete().where(table.c.id == number))
        events.record(connection, film, "rendered", "later number")
        connection.execute(
            table.update().where(table.c.message == "later number").values(id=number + 1)
        )
    assert [event.message for event in hub._new(seen)] == ["later number"]
    with small_farm.database.write() as connection:
        connection.execute(
            events._RECORD.values(id=number),
            {
                "film_id": film,
                "kind": "rendered",
                "message": "early number",
                "segment": None,
                "detail": None,
            },
        )
    assert [event.message for event in hub._new(seen)] == ["early number"]
    assert hub._new(seen) == []


def test_streams_of_what_is_not_there_are_refused(address: str) -> None:
    for path in ("films/none-1/stream", "campaigns/none/stream"):
        with httpx.Client(trust_env=False) as client:
            assert client.get(f"{address}/api/v1/{path}").status_code == 404
            wrong = client.get(f"{address}/api/v1/stream", headers={"last-event-id": "x"})
            assert wrong.status_code == 422
