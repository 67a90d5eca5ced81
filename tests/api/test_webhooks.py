"""Webhooks: signed, sent again after a failure, and never to where they may not go."""

from __future__ import annotations

import ipaddress
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpcore
import openai
import pytest
from standardwebhooks import Webhook
from starlette.testclient import TestClient

from app.api.application import create_application
from app.api.network_guard import AddressError, is_open, require_url
from app.api.webhooks.sender import Sender, guarded_post
from db import webhooks
from db.engine import Database
from db.films import film_lease, user_actions
from db.tables import webhook_outbox
from db.webhooks import PAUSES
from film.errors import InputError
from film.settings import Settings
from flows.farm import Farm
from tests.db.farm import Farm as Rows
from tests.db.farm import a_film

HERE = ipaddress.ip_network("127.0.0.0/8")
BOTH = ["video.completed", "video.failed"]


class Receiver:
    """An endpoint on this machine."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.received.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(receiver.status)
                self.send_header("location", "http://127.0.0.1:9/")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture
def open_farm_here(small_farm: Farm) -> Farm:
    """A farm that may send to this machine."""
    small_farm.settings = small_farm.settings.model_copy(update={"allowed_networks": "127.0.0.0/8"})
    return small_farm


@pytest.fixture
def client(open_farm_here: Farm) -> Iterator[TestClient]:
    with TestClient(create_application(open_farm_here), "http://127.0.0.1") as client:
        yield client


def sender_of(farm: Farm) -> Sender:
    return Sender(farm, guarded_post([HERE]))


def add(client: TestClient, url: str, **fields: Any) -> dict[str, Any]:
    """A new endpoint."""
    wanted = {"name": "mine", "url": url, "event_types": BOTH, **fields}
    answer = client.post("/v1/webhook_endpoints", json=wanted)
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def make_due(rows: Rows) -> None:
    """Time passes until everything that waits is due."""
    with rows.database.write() as connection:
        connection.execute(webhook_outbox.update().values(next_at=0))


def test_every_end_of_a_film_is_sent_and_verified(
    client: TestClient, open_farm_here: Farm, rows: Rows, receiver: Receiver
) -> None:
    endpoint = add(client, receiver.url)
    secret = endpoint["signing_secret"]
    delivered, failed, cancelled = rows.submit(*(a_film(tag=tag) for tag in "xyz"))
    rows.render_all()
    assert rows.deliver().id == delivered
    film = rows.claim_film()
    assert film.id == failed
    rows.write(film_lease.fail, film, "no")
    rows.write(user_actions.cancel, cancelled)
    sender = sender_of(open_farm_here)
    assert sender.turn()
    assert not sender.turn()
    found = []
    for headers, body in receiver.received:
        event = Webhook(secret).verify(body, headers)
        found.append((event["type"], event["data"]["id"]))
        assert (event["object"], event["id"]) == ("event", headers["webhook-id"])
        unwrapped: Any = openai.OpenAI(api_key="x").webhooks.unwrap(body, headers, secret=secret)
        assert (unwrapped.type, unwrapped.data.id) == found[-1]
    assert found == [
        ("video.completed", f"video_{delivered}"),
        ("video.failed", f"video_{failed}"),
        ("video.failed", f"video_{cancelled}"),
    ]


def test_a_note_is_written_in_the_transaction_that_ends_the_film(
    client: TestClient, rows: Rows, receiver: Receiver
) -> None:
    endpoint = add(client, receiver.url)["id"]
    (film,) = rows.submit(a_film())

    def cancel_and_break(connection: Any) -> None:
        user_actions.cancel(connection, film)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        rows.write(cancel_and_break)
    assert rows.read(webhooks.outbox, endpoint, 10) == []
    rows.write(user_actions.cancel, film)
    assert [note.state for note in rows.read(webhooks.outbox, endpoint, 10)] == ["waiting"]


def test_what_does_not_arrive_is_sent_again_for_a_day_and_then_shown(
    client: TestClient, open_farm_here: Farm, rows: Rows, receiver: Receiver
) -> None:
    endpoint = add(client, receiver.url)["id"]
    receiver.status = 503
    (film,) = rows.submit(a_film())
    rows.write(user_actions.cancel, film)
    sender = sender_of(open_farm_here)
    for _ in PAUSES:
        assert sender.turn()
        assert not sender.turn(), "it waits before it is sent again"
        make_due(rows)
    assert sender.turn()
    url = f"/v1/webhook_endpoints/{endpoint}"
    (note,) = client.get(f"{url}/notes").json()["data"]
    assert (note["state"], note["attempts"]) == ("dead", len(PAUSES) + 1)
    assert note["error"] == "The endpoint answered with 503."
    assert len({headers["webhook-id"] for headers, _ in receiver.received}) == 1
    assert len({body for _, body in receiver.received}) == 1
    receiver.status = 200
    assert client.post(f"{url}/replay").json() == {"replayed": 1}
    assert sender.turn()
    (note,) = client.get(f"{url}/notes").json()["data"]
    assert (note["state"], note["error"]) == ("sent", None)
    assert sum(PAUSES) == pytest.approx(24 * 3600, rel=0.05)


def test_a_redirect_is_not_followed_and_counts_as_a_failure(
    client: TestClient, open_farm_here: Farm, rows: Rows, receiver: Receiver
) -> None:
    endpoint = add(client, receiver.url)["id"]
    receiver.status = 302
    (film,) = rows.submit(a_film())
    rows.write(user_actions.cancel, film)
    sender_of(open_farm_here).turn()
    (note,) = client.get(f"/v1/webhook_endpoints/{endpoint}/notes").json()["data"]
    assert note["error"] == "The endpoint answered with 302."


def test_two_senders_send_a_note_once(database: Database) -> None:
    rows = Rows(database)
    endpoint = rows.write(webhooks.create, "a", "https://example.org/", BOTH)
    for film in rows.submit(*(a_film(tag=tag) for tag in "xyz")):
        rows.write(user_actions.cancel, film)
    first, second = rows.write(webhooks.claim), rows.write(webhooks.claim)
    assert (len(first), second) == (3, [])
    for note in first:
        rows.write(webhooks.note_sent, note)
    assert {note.state for note in rows.read(webhooks.outbox, endpoint.id, 9)} == {"sent"}
    rows.write(webhooks.forget_sent)
    assert len(rows.read(webhooks.outbox, endpoint.id, 9)) == 3, "kept for a week"


def test_endpoints_are_managed_by_the_official_shapes(
    client: TestClient, rows: Rows, receiver: Receiver
) -> None:
    made = add(client, receiver.url, event_types=["video.failed"])
    assert made["signing_secret"].startswith("whsec_")
    shown = {name: value for name, value in made.items() if name != "signing_secret"}
    url = f"/v1/webhook_endpoints/{made['id']}"
    assert client.get(url).json() == shown
    assert shown["signing_secret_hint"].endswith(made["signing_secret"][-4:])
    listed = client.get("/v1/webhook_endpoints").json()
    assert (listed["data"], listed["has_more"]) == ([shown], False)
    changed = client.post(url, json={"name": "other", "event_types": BOTH}).json()
    assert (changed["name"], changed["event_types"]) == ("other", BOTH)
    rotated = client.post(
        f"{url}/rotate_secret", json={"keep_old_secret_active_for_24_hours": True}
    ).json()
    assert rotated["signing_secret"] != made["signing_secret"]
    tried = client.post(f"{url}/test", json={"event_type": "video.completed"}).json()
    assert (tried["object"], tried["status_code"]) == ("webhook_endpoint.test", 200)
    headers, body = receiver.received[-1]
    for secret in (made["signing_secret"], rotated["signing_secret"]):
        Webhook(secret).verify(body, headers)
    assert client.get("/v1/webhook_event_types").json()["data"] == BOTH
    deleted = {"id": made["id"], "object": "webhook_endpoint.deleted", "deleted": True}
    assert client.delete(url).json() == deleted
    assert client.get(url).status_code == 404


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"url": "ftp://example.org"}, "expected https://HOST/PATH"),
        ({"url": "https://"}, "expected https://HOST/PATH"),
        ({"url": "https://example.org:99999/"}, "expected https://HOST/PATH"),
        ({"url": "http://example.org/"}, "expected https://, because the name is public"),
        ({"url": "https://me:secret@example.org/"}, "would be readable"),
        ({"url": "http://10.0.0.1/"}, "LONGREEL_ALLOWED_NETWORKS"),
        ({"url": "http://[::ffff:10.0.0.1]/"}, "LONGREEL_ALLOWED_NETWORKS"),
        ({"url": "http://169.254.169.254/latest"}, "LONGREEL_ALLOWED_NETWORKS"),
        ({"event_types": ["video.done"]}, "there is no 'video.done'"),
        ({"event_types": []}, "event_types"),
        ({"name": ""}, "name"),
        ({"colour": 1}, "colour"),
    ],
)
def test_endpoints_that_cannot_be_are_refused(
    client: TestClient, fields: dict[str, Any], says: str
) -> None:
    wanted = {"name": "a", "url": "https://example.org/", "event_types": BOTH, **fields}
    answer = client.post("/v1/webhook_endpoints", json=wanted)
    assert answer.status_code == 400, answer.text
    assert says in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("address", "open_to_us"),
    [
        *(("8.8.8.8", True), ("2606:4700::1111", True), ("::ffff:8.8.8.8", True)),
        *(("127.0.0.1", False), ("::1", False), ("10.1.2.3", False), ("192.168.0.1", False)),
        *(
            ("172.16.0.1", False),
            ("169.254.169.254", False),
            ("fe80::1", False),
            ("0.0.0.0", False),
        ),
        *(("fd00::1", False), ("::ffff:127.0.0.1", False), ("64:ff9b::7f00:1", False)),
        *(("2002:7f00:1::", False), ("100.64.0.1", False), ("224.0.0.1", False), ("::", False)),
    ],
)
def test_addresses_of_private_networks_are_closed(address: str, open_to_us: bool) -> None:
    assert is_open(ipaddress.ip_address(address), []) is open_to_us


def test_an_operator_opens_a_network() -> None:
    allowed = Settings(allowed_networks="10.0.0.0/8, fd00::/8").open_networks
    assert is_open(ipaddress.ip_address("10.1.2.3"), allowed)
    assert is_open(ipaddress.ip_address("fd00::1"), allowed)
    assert not is_open(ipaddress.ip_address("192.168.0.1"), allowed)
    require_url("http://10.1.2.3/hook", allowed)
    with pytest.raises(InputError):
        require_url("http://192.168.0.1/", allowed)
    with pytest.raises(ValueError, match="does not appear"):
        Settings(allowed_networks="office")


def test_a_name_that_leads_to_this_machine_when_it_is_used_is_not_asked(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(receiver.url.rpartition(":")[2].partition("/")[0])
    real = socket.getaddrinfo

    def changed(host: str, *arguments: Any, **named: Any) -> Any:
        return real("127.0.0.1" if host == "hooks.example.org" else host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", changed)
    with pytest.raises(AddressError, match="private network"):
        guarded_post([])(f"http://hooks.example.org:{port}/", {}, b"{}")
    assert receiver.received == []
    assert guarded_post([HERE])(f"http://hooks.example.org:{port}/", {}, b"{}") == 200


def test_an_endpoint_that_does_not_answer_is_said(client: TestClient, rows: Rows) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    endpoint = add(client, f"http://127.0.0.1:{port}/")
    tried = client.post(
        f"/v1/webhook_endpoints/{endpoint['id']}/test", json={"event_type": "video.failed"}
    )
    assert tried.status_code == 400
    assert tried.json()["error"]["code"] == "endpoint_unreachable"
    with pytest.raises(httpcore.ConnectError):
        guarded_post([HERE])("http://no-such-name.invalid/", {}, b"")


def test_the_service_sends_what_workers_bring_about(
    open_farm_here: Farm, receiver: Receiver
) -> None:
    from app.api.server import server_of

    rows = Rows(open_farm_here.database)
    rows.write(webhooks.create, "a", receiver.url, BOTH)
    application = create_application(open_farm_here)
    server = server_of(application)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        (film,) = rows.submit(a_film())
        rows.write(user_actions.cancel, film)
        for _ in range(100):
            if receiver.received:
                break
            threading.Event().wait(0.1)
        ((_, body),) = receiver.received
        assert json.loads(body)["data"]["id"] == f"video_{film}"
    finally:
        server.should_exit = True
        thread.join(30)
