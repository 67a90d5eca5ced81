"""Keys that see and steer only what was submitted with them."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from db import api_keys
from db.api_keys import Scope
from tests.api.test_batches import check
from tests.db.farm import Farm as Rows

CAMPAIGN = {"films": ["A red ball."]}


def header(rows: Rows, *, own: bool = True) -> dict[str, str]:
    """The header with a new key that may do everything with its films."""
    text = rows.write(api_keys.create, "k", [Scope.ADMIN], own_only=own)
    return {"authorization": f"Bearer {text}"}


@pytest.fixture
def mine(rows: Rows) -> dict[str, str]:
    return header(rows)


@pytest.fixture
def yours(rows: Rows) -> dict[str, str]:
    return header(rows)


def submit(client: TestClient, key: dict[str, str]) -> str:
    answer = client.post("/api/v1/campaigns", json=CAMPAIGN, headers=key)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def test_what_others_submitted_is_not_there(
    client: TestClient, mine: dict[str, str], yours: dict[str, str]
) -> None:
    campaign = submit(client, yours)
    film = f"{campaign}-1"
    for method, path in (
        ("GET", f"/api/v1/campaigns/{campaign}"),
        ("GET", f"/api/v1/campaigns/{campaign}/details"),
        ("GET", f"/api/v1/campaigns/{campaign}/events"),
        ("GET", f"/api/v1/campaigns/{campaign}/stream"),
        ("GET", f"/api/v1/campaigns/{campaign}/content"),
        ("PATCH", f"/api/v1/campaigns/{campaign}"),
        ("POST", f"/api/v1/campaigns/{campaign}/cancel"),
        ("DELETE", f"/api/v1/campaigns/{campaign}"),
        ("GET", f"/api/v1/films/{film}"),
        ("GET", f"/api/v1/films/{film}/content"),
        ("GET", f"/api/v1/films/{film}/stream"),
        ("POST", f"/api/v1/films/{film}/retake"),
        ("GET", f"/v1/videos/video_{film}"),
        ("GET", f"/v1/videos/{film}"),
        ("DELETE", f"/v1/videos/video_{film}"),
        ("POST", f"/v1/videos/video_{film}/remix"),
    ):
        answer = client.request(method, path, headers=mine)
        assert answer.status_code == 404, (method, path, answer.text)
    for path in ("edits", "extensions"):
        body = {"prompt": "A blue square.", "video": {"id": f"video_{film}"}}
        answer = client.post(f"/v1/videos/{path}", json=body, headers=mine)
        assert answer.status_code == 404, answer.text
    assert client.get(f"/api/v1/films/{film}", headers=yours).status_code == 200


def test_lists_show_ones_own(
    client: TestClient, rows: Rows, mine: dict[str, str], yours: dict[str, str]
) -> None:
    campaign = submit(client, mine)
    submit(client, yours)

    def listed(path: str, key: dict[str, str]) -> list[Any]:
        found = client.get(path, headers=key).json()
        return [item["id"] for item in found.get("items", found.get("data"))]

    assert listed("/api/v1/campaigns", mine) == [campaign]
    assert listed("/api/v1/films", mine) == [f"{campaign}-1"]
    assert listed("/api/v1/films?text=ball&limit=1", mine) == [f"{campaign}-1"]
    assert listed("/v1/videos", mine) == [f"video_{campaign}-1"]
    everything = header(rows, own=False)
    assert len(listed("/api/v1/campaigns", everything)) == 2
    assert len(listed("/v1/videos", everything)) == 2


def test_what_is_of_the_whole_farm_is_refused(client: TestClient, mine: dict[str, str]) -> None:
    for method, path in (
        ("GET", "/api/v1/stream"),
        ("GET", "/api/v1/usage"),
        ("POST", "/api/v1/clean"),
        ("GET", "/v1/webhook_endpoints"),
        ("POST", "/api/v1/workers/w/stop"),
    ):
        answer = client.request(method, path, headers=mine)
        assert answer.status_code == 403, (method, path)
        assert "its own films only" in answer.text
    for path in ("/api/v1/workers", "/api/v1/models", "/v1/models", "/api/v1/presets"):
        assert client.get(path, headers=mine).status_code == 200


def test_files_and_batches_are_of_their_key(
    client: TestClient, mine: dict[str, str], yours: dict[str, str]
) -> None:
    line = b'{"custom_id": "1", "method": "POST", "url": "/v1/videos", "body": {"prompt": "x"}}\n'
    upload = {"file": ("a.jsonl", line), "purpose": (None, "batch")}
    file = client.post("/v1/files", files=upload, headers=yours).json()["id"]
    wanted = {
        "input_file_id": file,
        "endpoint": "/v1/videos",
        "completion_window": "24h",
    }
    batch = client.post("/v1/batches", json=wanted, headers=yours).json()["id"]
    for method, path in (
        ("GET", f"/v1/files/{file}"),
        ("GET", f"/v1/files/{file}/content"),
        ("DELETE", f"/v1/files/{file}"),
        ("GET", f"/v1/files/file-{batch}-output"),
        ("GET", f"/v1/batches/{batch}"),
        ("POST", f"/v1/batches/{batch}/cancel"),
    ):
        assert client.request(method, path, headers=mine).status_code == 404, path
    assert client.get("/v1/files", headers=mine).json()["data"] == []
    assert client.get("/v1/batches", headers=mine).json()["data"] == []
    assert len(client.get("/v1/batches", headers=yours).json()["data"]) == 1
    assert client.post("/v1/batches", json=wanted, headers=mine).status_code == 404
    check(client)
    found = client.get(f"/v1/batches/{batch}", headers=yours).json()
    campaign = found["campaign"]
    assert campaign, found
    assert client.get(f"/api/v1/campaigns/{campaign}", headers=yours).status_code == 200


def test_the_same_idempotency_key_of_two_users_is_two_videos(
    client: TestClient, mine: dict[str, str], yours: dict[str, str]
) -> None:
    body = {"prompt": "A red ball."}
    same = {"idempotency-key": "1"}
    first = client.post("/v1/videos", json=body, headers={**mine, **same}).json()["id"]
    assert client.post("/v1/videos", json=body, headers={**mine, **same}).json()["id"] == first
    second = client.post("/v1/videos", json=body, headers={**yours, **same})
    assert second.status_code == 200
    assert second.json()["id"] != first


def test_presets_are_changed_by_admins_only(client: TestClient, rows: Rows) -> None:
    text = rows.write(api_keys.create, "k", [Scope.READ, Scope.SUBMIT, Scope.STEER])
    key = {"authorization": f"Bearer {text}"}
    body = {"options": {"size": "48x32"}}
    assert client.put("/api/v1/presets/x", json=body, headers=key).status_code == 403
    assert client.get("/api/v1/presets", headers=key).json() == {"items": []}
    assert client.put("/api/v1/presets/x", json=body, headers=header(rows)).status_code == 200
