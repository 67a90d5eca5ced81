"""`/v1/files`: uploaded, listed, downloaded, removed."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from db.films import films
from flows.farm import Farm
from storage import keys
from tests.db.farm import Farm as Rows

LINE = b'{"custom_id": "a"}\n'


def upload(
    client: TestClient, content: bytes = LINE, name: str = "a.jsonl", purpose: str = "batch"
) -> Any:
    """The answer to an upload."""
    return client.post("/v1/files", data={"purpose": purpose}, files={"file": (name, content)})


def test_a_file_comes_back_as_it_was(client: TestClient, small_farm: Farm) -> None:
    made = upload(client).json()
    assert made["id"].startswith("file-")
    assert {name: made[name] for name in ("object", "bytes", "filename", "purpose", "status")} == {
        **{"object": "file", "bytes": len(LINE), "filename": "a.jsonl"},
        **{"purpose": "batch", "status": "processed"},
    }
    assert client.get(f"/v1/files/{made['id']}").json() == made
    found = client.get(f"/v1/files/{made['id']}/content")
    assert found.content == LINE
    assert found.headers["content-disposition"].startswith('attachment; filename="a.jsonl"')
    deleted = client.delete(f"/v1/files/{made['id']}").json()
    assert deleted == {"id": made["id"], "object": "file", "deleted": True}
    assert small_farm.store.head(keys.uploaded_file(made["id"])) is None
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        assert client.request(method, f"/v1/files/{made['id']}{path}").status_code == 404


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\films\\a.jsonl", "a.jsonl"),
        ("a\x1b[2J.jsonl", "a?[2J.jsonl"),
        ("..", "file"),
        ("x" * 999, "x" * 200),
    ],
)
def test_a_name_is_no_path_and_can_be_printed(client: TestClient, name: str, shown: str) -> None:
    made = upload(client, name=name).json()
    assert made["filename"] == shown
    assert client.get(f"/v1/files/{made['id']}/content").content == LINE


@pytest.mark.parametrize(
    ("form", "file", "param"),
    [
        ({"purpose": "assistants"}, LINE, "purpose"),
        ({}, LINE, "purpose"),
        ({"purpose": "batch"}, None, "file"),
        ({"purpose": "batch", "file": "text"}, None, "file"),
        ({"purpose": "batch"}, b"", "file"),
        ({"purpose": "batch", "expires_after[anchor]": "created_at"}, LINE, "expires_after"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    client: TestClient, small_farm: Farm, form: dict[str, str], file: bytes | None, param: str
) -> None:
    files = None if file is None else {"file": ("a.jsonl", file)}
    answer = client.post("/v1/files", data=form, files=files)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert client.get("/v1/files").json()["data"] == []
    assert list(small_farm.store.list()) == []


def test_files_that_are_too_large_are_refused(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.openai.files.MOST_BATCH_BYTES", 10)
    assert "a.jsonl is larger than" in upload(client).json()["error"]["message"]
    monkeypatch.setattr("app.api.body_limits.MOST_FILE_BYTES", 10)
    monkeypatch.setattr("app.api.body_limits._FORM_BYTES", 10)
    assert upload(client).status_code == 413
    body = b"".join((b"--XX\r\n", b"x" * 1000))
    kind = {"content-type": "multipart/form-data; boundary=XX"}
    endless = client.post("/v1/files", content=iter([body] * 10), headers=kind)
    assert endless.status_code == 413


def test_no_route_reads_an_endless_body(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("MOST_BYTES", "MOST_JSON_BYTES"):
        monkeypatch.setattr(f"app.api.body_limits.{limit}", 1000)
    kinds = {
        "/v1/videos": ("multipart/form-data; boundary=XX", "application/json"),
        "/v1/webhook_endpoints": ("application/json",),
        "/v1/batches": ("application/json",),
        "/api/v1/campaigns": ("application/json",),
    }
    for path, types in kinds.items():
        for kind in types:
            pieces = iter([b'{"a": "'] + [b"x" * 100] * 20)
            answer = client.post(path, content=pieces, headers={"content-type": kind})
            assert answer.status_code == 413, (path, kind)


def test_pages_of_files_lead_through_all_of_them(client: TestClient) -> None:
    ids = [upload(client).json()["id"] for _ in range(3)]
    other = upload(client, purpose="vision").json()["id"]
    for order, expected in (("desc", [other, *ids[::-1]]), ("asc", [*ids, other])):
        found: list[str] = []
        after: dict[str, str] = {}
        while True:
            query = {"limit": 2, "order": order, **after}
            page = client.get("/v1/files", params=query).json()
            found += [file["id"] for file in page["data"]]
            if not page["has_more"]:
                break
            after = {"after": page["last_id"]}
        assert found == expected
    (only,) = client.get("/v1/files", params={"purpose": "vision"}).json()["data"]
    assert only["id"] == other
    assert client.get("/v1/files", params={"after": "file-none"}).status_code == 404


def test_an_uploaded_picture_is_the_first_of_a_film(client: TestClient, rows: Rows) -> None:
    png = io.BytesIO()
    Image.new("RGB", (96, 64), (200, 10, 10)).save(png, "PNG")
    file = upload(client, png.getvalue(), "a.png", "vision").json()["id"]
    url = f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"
    images = set()
    for reference in ({"file_id": file}, {"image_url": url}):
        body = {"prompt": "A ball.", "input_reference": reference}
        video = client.post("/v1/videos", json=body).json()
        images.add(rows.read(films.get, video["id"].removeprefix("video_")).request.image)
    assert len(images) == 1
    form = {"prompt": "A ball.", "input_reference[file_id]": file}
    assert client.post("/v1/videos", data=form).status_code == 200
    body = {"prompt": "A ball.", "input_reference": {"file_id": "file-none"}}
    error = client.post("/v1/videos", json=body).json()["error"]
    assert error["message"] == "input_reference: There is no file 'file-none'."
