"""Keys of the service: what they open, and what was done with them."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from app.api.access import scope_of
from db import api_keys
from db.api_keys import Scope
from db.engine import Database
from db.tables import api_keys as table
from film.errors import NotFoundError
from flows.farm import Farm
from tests.conftest import Installation
from tests.db.farm import Farm as Rows

VIDEO = {"prompt": "A red ball.", "model": "demo"}


def key_with(rows: Rows, *scopes: Scope) -> dict[str, str]:
    """The header with a new key."""
    return {"authorization": f"Bearer {rows.write(api_keys.create, 'mine', scopes)}"}


def test_without_keys_none_is_needed(client: TestClient) -> None:
    assert client.get("/api/v1/films").status_code == 200


def test_with_keys_every_request_needs_one_in_its_own_shape(client: TestClient, rows: Rows) -> None:
    key = key_with(rows, Scope.READ)
    for path in ("/api/v1/films", "/v1/videos", "/docs", "/openapi.json"):
        for header in ({}, {"authorization": "Bearer lr_no_key"}, {"authorization": "Basic eA=="}):
            answer = client.get(path, headers=header)
            assert answer.status_code == 401
            assert answer.headers["x-request-id"]
        assert client.get(path, headers=key).status_code == 200
    own = client.get("/api/v1/films")
    assert own.headers["content-type"] == "application/problem+json"
    assert own.headers["www-authenticate"] == "Bearer"
    assert "longreel keys create" in own.json()["detail"]
    assert client.get("/v1/videos").json()["error"]["code"] == "invalid_api_key"
    for path in ("/healthz", "/readyz"):
        assert client.get(path).status_code == 200


def test_a_key_may_do_what_its_scopes_say(client: TestClient, rows: Rows) -> None:
    read, submit = key_with(rows, Scope.READ), key_with(rows, Scope.SUBMIT)
    steer, admin = key_with(rows, Scope.STEER), key_with(rows, Scope.ADMIN)
    refused = client.post("/v1/videos", json=VIDEO, headers=read)
    assert refused.status_code == 403
    assert refused.json()["error"]["message"] == "The key 'mine' lacks the scope `submit`."
    assert refused.headers["x-should-retry"] == "false"
    video = client.post("/v1/videos", json=VIDEO, headers=submit).json()["id"]
    assert client.get(f"/v1/videos/{video}", headers=submit).status_code == 403
    assert client.get(f"/v1/videos/{video}", headers=read).status_code == 200
    assert client.delete(f"/v1/videos/{video}", headers=submit).status_code == 403
    assert client.delete(f"/v1/videos/{video}", headers=steer).status_code == 200
    for method, path in (("GET", "/v1/videos"), ("POST", "/v1/videos")):
        assert client.request(method, path, json=VIDEO, headers=admin).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/api/v1/films/x/content", Scope.READ),
        ("POST", "/api/v1/campaigns", Scope.SUBMIT),
        ("POST", "/v1/videos/x/remix", Scope.SUBMIT),
        ("POST", "/api/v1/films/x/retake", Scope.SUBMIT),
        ("POST", "/api/v1/films/x/cancel", Scope.STEER),
        ("PATCH", "/api/v1/campaigns/x", Scope.STEER),
        ("DELETE", "/v1/videos/x", Scope.STEER),
        ("POST", "/api/v1/workers/x/stop", Scope.STEER),
    ],
)
def test_what_requests_need(method: str, path: str, scope: Scope) -> None:
    assert scope_of(method, path) is scope


def test_a_key_ends_when_it_is_revoked_rotated_or_old(client: TestClient, rows: Rows) -> None:
    text = rows.write(api_keys.create, "a", [Scope.READ])
    key_id = text.split("_")[1]
    header = {"authorization": f"Bearer {text}"}
    assert client.get("/api/v1/films", headers=header).status_code == 200
    rotated = rows.write(api_keys.rotate, key_id)
    assert client.get("/api/v1/films", headers=header).status_code == 401
    header = {"authorization": f"Bearer {rotated}"}
    assert client.get("/api/v1/films", headers=header).status_code == 200
    assert rows.write(api_keys.revoke, key_id).revoked_at is not None
    assert client.get("/api/v1/films", headers=header).status_code == 401
    assert client.get("/api/v1/films").status_code == 401, "it was needed once, and stays needed"
    with pytest.raises(NotFoundError):
        rows.write(api_keys.rotate, key_id)
    old = rows.write(api_keys.create, "b", [Scope.READ], -1.0)
    header = {"authorization": f"Bearer {old}"}
    assert client.get("/api/v1/films", headers=header).status_code == 401


def test_the_secret_of_a_key_is_not_stored(rows: Rows, small_farm: Farm) -> None:
    text = rows.write(api_keys.create, "a", [Scope.READ])
    secret = text.split("_", 2)[2]
    with small_farm.database.read() as connection:
        stored = str(connection.execute(sa.select(table)).all())
    assert secret not in stored
    assert rows.read(api_keys.check, text) is not None
    for wrong in (text[:-1], text + "x", text.replace("lr_", "xx_"), "", "lr_", "lr__"):
        assert rows.read(api_keys.check, wrong) is None


def test_what_changes_something_is_noted_with_the_key(client: TestClient, rows: Rows) -> None:
    client.post("/v1/videos", json=VIDEO)
    key = key_with(rows, Scope.SUBMIT, Scope.READ)
    client.post("/v1/videos", json={**VIDEO, "size": "x"}, headers={**key, "x-request-id": "r-1"})
    client.post("/v1/videos", json=VIDEO)
    client.get("/v1/videos", headers=key)
    noted = rows.read(api_keys.history, 10)
    key_id = key["authorization"].split("_")[1]
    assert [(row.key_id, row.status) for row in noted] == [(None, 401), (key_id, 400), (None, 200)]
    assert (noted[1].request_id, noted[1].method, noted[1].path) == ("r-1", "POST", "/v1/videos")
    (listed,) = rows.read(api_keys.listing)
    assert listed.used_at is not None


def test_a_key_is_good_on_each_kind_of_database(database: Database) -> None:
    rows = Rows(database)
    text = rows.write(api_keys.create, "a", [Scope.READ], 60.0)
    found = rows.read(api_keys.check, text)
    assert (found.name, found.scopes) == ("a", ("read",))


def test_keys_from_the_command_line(installation: Installation) -> None:
    assert "No keys" in installation.run("keys").stdout
    beyond = installation.run("serve", "--host", "0.0.0.0")
    assert beyond.returncode == 2
    assert "there is no key yet; `longreel keys create NAME` makes one" in beyond.stderr
    made = installation.run(
        "keys", "create", "studio", "--scopes", "read,steer", "--expires", "30d"
    )
    assert made.stdout.startswith("lr_")
    (row,) = installation.json("keys")
    assert (row["name"], row["scopes"], row["revoked_at"]) == ("studio", ["read", "steer"], None)
    again = installation.json("keys", "rotate", row["id"])["key"]
    assert again.split("_")[1] == row["id"]
    assert again != made.stdout.strip()
    assert installation.run("keys", "revoke", row["id"]).returncode == 0
    assert "studio" in installation.run("keys").stdout
    assert "no key 'none'" in installation.run("keys", "revoke", "none").stderr
    assert "no scope 'all'" in installation.run("keys", "create", "x", "--scopes", "all").stderr
