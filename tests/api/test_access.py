"""Who is let in: users behind a proxy, pages of other sites, too many requests, slow bodies."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient

from app.api import slow_clients
from app.api.application import create_application
from app.api.slow_clients import SlowClients
from db import api_keys
from db.api_keys import Scope
from db.quotas import Limits
from flows.farm import Farm
from tests.db.farm import Farm as Rows

FILMS = "/api/v1/films"
HERE = "http://127.0.0.1"
PROXY = "10.0.0.5"
CAMPAIGN = {"films": ["A red ball."]}


def serving(farm: Farm, peer: str = "127.0.0.1", url: str = HERE, **settings: Any) -> TestClient:
    """A client at the address `peer` of a service with other settings."""
    changed = Farm(farm.settings.model_copy(update=settings))
    return TestClient(create_application(changed), url, client=(peer, 5000))


@pytest.fixture
def behind(small_farm: Farm) -> TestClient:
    """The proxy, which signs users in."""
    return serving(
        small_farm,
        PROXY,
        "https://farm.example.org",
        trusted_proxies=f"{PROXY}/32",
        user_header="x-forwarded-user",
    )


def test_a_trusted_proxy_names_the_user(behind: TestClient, rows: Rows) -> None:
    ada = {"x-forwarded-user": "ada@example.org"}
    unknown = behind.get(FILMS, headers=ada)
    assert unknown.status_code == 403
    assert "--user USER" in unknown.json()["detail"]
    rows.write(api_keys.create, "Ada", [Scope.READ], user="ada@example.org")
    assert behind.get(FILMS, headers=ada).status_code == 200
    assert behind.post("/api/v1/campaigns", json=CAMPAIGN, headers=ada).status_code == 403
    assert behind.get(FILMS).status_code == 401, "nobody is signed in"
    twice = [("x-forwarded-user", "ada@example.org"), ("x-forwarded-user", "root")]
    assert behind.get(FILMS, headers=twice).status_code == 400  # type: ignore[arg-type]


def test_anyone_else_cannot_name_a_user(small_farm: Farm, rows: Rows) -> None:
    rows.write(api_keys.create, "Ada", [Scope.ADMIN], user="ada")
    for peer in ("10.0.0.6", "::1", "not an address"):
        client = serving(
            small_farm, peer, trusted_proxies=f"{PROXY}/32", user_header="x-forwarded-user"
        )
        assert client.get(FILMS, headers={"x-forwarded-user": "ada"}).status_code == 401
    only_tls = serving(small_farm, PROXY, trusted_proxies=f"{PROXY}/32")
    assert only_tls.get(FILMS, headers={"x-forwarded-user": "ada"}).status_code == 401
    without = serving(small_farm, PROXY)
    assert without.get(FILMS, headers={"x-forwarded-user": "ada"}).status_code == 401


def test_a_key_of_a_user_has_no_secret(small_farm: Farm, rows: Rows) -> None:
    key_id = rows.write(api_keys.create, "Ada", [Scope.ADMIN], user="ada")
    client = serving(small_farm)
    for text in (f"lr_{key_id}_", f"lr_{key_id}", key_id):
        assert client.get(FILMS, headers={"authorization": f"Bearer {text}"}).status_code == 401


def test_new_users_get_a_key_if_the_operator_says_so(small_farm: Farm, rows: Rows) -> None:
    client = serving(
        small_farm,
        PROXY,
        "https://farm.example.org",
        trusted_proxies=f"{PROXY}/32",
        user_header="x-email",
        user_scopes="read",
    )
    eve = {"x-email": "eve@example.org"}
    assert client.get(FILMS, headers=eve).status_code == 200
    (key,) = rows.read(api_keys.listing)
    assert (key.user, key.scopes) == ("eve@example.org", ("read",))
    assert client.get(FILMS, headers=eve).status_code == 200
    assert len(rows.read(api_keys.listing)) == 1
    rows.write(api_keys.revoke, key.id)
    assert client.get(FILMS, headers=eve).status_code == 403, "a revoked one is not made again"


def test_pages_of_other_sites_can_do_nothing_without_a_key(small_farm: Farm, rows: Rows) -> None:
    client = serving(small_farm)
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9"},
        {"sec-fetch-site": "cross-site"},
    ):
        answer = client.post("/api/v1/campaigns", json=CAMPAIGN, headers=headers)
        assert answer.status_code == 403, headers
        assert "another site" in answer.json()["detail"]
        with_nonsense = {**headers, "authorization": "Bearer x"}
        answer = client.post("/api/v1/campaigns", json=CAMPAIGN, headers=with_nonsense)
        assert answer.status_code == 403, "a header is not a key"
    own = {"origin": HERE, "sec-fetch-site": "same-origin"}
    assert client.post("/api/v1/campaigns", json=CAMPAIGN, headers=own).status_code == 201
    key = rows.write(api_keys.create, "k", [Scope.ADMIN])
    with_key = {"authorization": f"Bearer {key}", "origin": "https://my.pages"}
    assert client.post("/api/v1/campaigns", json=CAMPAIGN, headers=with_key).status_code == 201


def test_a_page_cannot_use_the_session_of_a_signed_in_user(behind: TestClient, rows: Rows) -> None:
    rows.write(api_keys.create, "Ada", [Scope.ADMIN], user="ada")
    ada = {"x-forwarded-user": "ada"}
    evil = {**ada, "origin": "https://evil.example"}
    assert behind.post("/api/v1/campaigns", json=CAMPAIGN, headers=evil).status_code == 403
    basic = {**evil, "authorization": "Basic eDp5"}
    assert behind.post("/api/v1/campaigns", json=CAMPAIGN, headers=basic).status_code == 403
    own = {**ada, "origin": "https://farm.example.org"}
    assert behind.post("/api/v1/campaigns", json=CAMPAIGN, headers=own).status_code == 201


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "[::2]", "", "[", "a b"]
)
def test_without_keys_only_local_names_are_answered(small_farm: Farm, host: str) -> None:
    client = serving(small_farm)
    assert client.get(FILMS, headers={"host": host}).status_code == 403


def test_a_page_that_is_reached_by_a_name_of_its_own_cannot_claim_another(
    small_farm: Farm,
) -> None:
    headers = {"host": "evil.example:8642", "x-forwarded-host": "localhost"}
    assert serving(small_farm).get(FILMS, headers=headers).status_code == 403
    headers["authorization"] = "Bearer x"
    assert serving(small_farm).get(FILMS, headers=headers).status_code == 403


@pytest.mark.parametrize("host", ["localhost:8642", "127.0.0.1", "[::1]:80", "LOCALHOST"])
def test_names_of_this_machine(small_farm: Farm, host: str) -> None:
    assert serving(small_farm).get(FILMS, headers={"host": host}).status_code == 200


def test_too_many_requests_are_refused_with_when_to_come_again(
    small_farm: Farm, rows: Rows
) -> None:
    client = serving(small_farm, requests_a_minute=3)
    assert [client.get(FILMS).status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = client.get(FILMS)
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert "3 requests in a minute" in refused.json()["detail"]
    assert client.get("/v1/videos").json()["error"]["code"] == "rate_limit_exceeded"
    assert client.get("/healthz").status_code == 200
    text = rows.write(api_keys.create, "k", [Scope.READ], limits=Limits(requests_a_minute=5))
    header = {"authorization": f"Bearer {text}"}
    limited = serving(small_farm, requests_a_minute=3)
    assert [limited.get(FILMS, headers=header).status_code for _ in range(6)] == [200] * 5 + [429]


def test_guessing_keys_is_slowed_down_by_address(small_farm: Farm, rows: Rows) -> None:
    text = rows.write(api_keys.create, "k", [Scope.READ])
    client = serving(small_farm)
    wrong = {"authorization": "Bearer lr_aaaaaaaa_x"}
    answers = [client.get(FILMS, headers=wrong).status_code for _ in range(61)]
    assert answers == [401] * 60 + [429]
    good = {"authorization": f"Bearer {text}"}
    assert client.get(FILMS, headers=good).status_code == 429, "not even a good guess is told"


def test_a_key_that_was_good_is_not_held_up_by_the_guesses_of_others(
    small_farm: Farm, rows: Rows
) -> None:
    text = rows.write(api_keys.create, "k", [Scope.READ])
    good = {"authorization": f"Bearer {text}"}
    client = serving(small_farm)
    assert client.get(FILMS, headers=good).status_code == 200
    for _ in range(61):
        client.get(FILMS, headers={"authorization": "Bearer lr_aaaaaaaa_x"})
    assert client.get(FILMS, headers=good).status_code == 200


def test_addresses_behind_a_proxy_are_counted_one_by_one(small_farm: Farm, rows: Rows) -> None:
    rows.write(api_keys.create, "k", [Scope.READ])
    client = serving(small_farm, PROXY, trusted_proxies=f"{PROXY}/32")
    first = {"x-forwarded-for": "6.6.6.6, 1.2.3.4"}
    for _ in range(60):
        client.get(FILMS, headers=first)
    assert client.get(FILMS, headers=first).status_code == 429
    lines = [("x-forwarded-for", "9.9.9.9"), ("x-forwarded-for", "1.2.3.4")]
    assert client.get(FILMS, headers=lines).status_code == 429  # type: ignore[arg-type]
    other_claim = {"x-forwarded-for": "7.7.7.7, 1.2.3.4"}
    assert client.get(FILMS, headers=other_claim).status_code == 429, "the first one is a claim"
    assert client.get(FILMS, headers={"x-forwarded-for": "1.2.3.5"}).status_code == 401


def test_quotas_are_answered_with_429(client: TestClient, rows: Rows) -> None:
    scopes = [Scope.SUBMIT]
    text = rows.write(api_keys.create, "k", scopes, limits=Limits(films_at_once=1))
    header = {"authorization": f"Bearer {text}"}
    body = {"films": ["one", "two"]}
    refused = client.post("/api/v1/campaigns", json=body, headers=header)
    assert refused.status_code == 429
    assert "1 unfinished film at once" in refused.json()["detail"]
    video = {"prompt": "one"}
    assert client.post("/v1/videos", json=video, headers=header).status_code == 200
    second = client.post("/v1/videos", json=video, headers=header)
    assert second.status_code == 429
    assert second.json()["error"]["code"] == "insufficient_quota"
    assert second.headers["x-should-retry"] == "false"


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_clients, "PIECE_SECONDS", 0.05)

    async def receive() -> Any:
        await asyncio.sleep(10)

    async def read_body(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    async def send(message: Any) -> None:
        """Nothing is sent."""

    with pytest.raises(HTTPException) as caught:
        asyncio.run(SlowClients(read_body)({"type": "http"}, receive, send))
    assert caught.value.status_code == 408


def test_a_slow_drip_is_ended_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_clients, "BODY_SECONDS", 0.2)

    async def receive() -> Any:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def read_body(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass

    async def send(message: Any) -> None:
        """Nothing is sent."""

    with pytest.raises(HTTPException) as caught:
        asyncio.run(SlowClients(read_body)({"type": "http"}, receive, send))
    assert caught.value.status_code == 408
