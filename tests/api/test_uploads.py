"""Campaigns with the pictures and LoRAs that they name, in one form."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from app.api import body_limits
from app.api.own import uploads
from db import model_pins
from flows.farm import Farm
from storage import keys

URL = "/api/v1/campaigns"


def picture(colour: str = "red") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (96, 64), colour).save(data, "PNG")
    return data.getvalue()


def film(image: str) -> str:
    """A campaign of one film that begins with a picture."""
    return json.dumps({"films": [{"prompt": "A ball.", "seconds": 2, "image": image}]})


def send(client: TestClient, text: str, *files: tuple[str, bytes], **fields: str) -> Any:
    """The answer to a campaign with files, as curl sends them."""
    parts = [("campaign", ("my campaign.json", text, "application/json"))]
    parts += [("files", (name, data, "image/png")) for name, data in files]  # type: ignore[misc]
    return client.post(URL, files=parts, data=fields)


def stored(farm: Farm) -> int:
    return len(list(farm.store.list(keys.IMAGES)))


@pytest.fixture(autouse=True)
def nothing_is_left(
    small_farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Temporary files of every request are removed."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert list(folder.iterdir()) == []
    assert [path.name for path in small_farm.scratch.open().iterdir()] == ["in-use"]


@pytest.mark.parametrize("name", ["ball.png", "pictures/ball.png", "a b.png", "ü.png"])
def test_a_picture_comes_with_its_campaign(client: TestClient, small_farm: Farm, name: str) -> None:
    answer = send(client, film(name), (name, picture()))
    assert answer.status_code == 201, answer.text
    assert stored(small_farm) == 1


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "a\0b.png",
        "..",
        "",
        "C:\\a.png",
        'a"b\r\nc.png',
        "x" * 300,
    ],
)
def test_a_name_cannot_leave_its_place(client: TestClient, small_farm: Farm, name: str) -> None:
    """The name is one that the campaign gives, never a path of the server."""
    answer = send(client, film(name), ("f", picture()), names=json.dumps([name]))
    # NUL and nothing are not names of pictures in a campaign.
    assert answer.status_code == (422 if name == "a\0b.png" else 201), answer.text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(name=st.text(max_size=40))
def test_no_name_is_a_fault(client: TestClient, name: str) -> None:
    answer = send(client, film("ball.png"), ("f", picture()), names=json.dumps([name]))
    assert answer.status_code in (201, 422)


def test_a_picture_that_does_not_come_is_refused(client: TestClient, small_farm: Farm) -> None:
    answer = send(client, film("/etc/passwd"), ("other.png", picture()))
    assert answer.status_code == 422
    assert "film 1 names a picture by a path" in answer.json()["detail"]
    assert stored(small_farm) == 0


def test_a_picture_that_is_none_is_called_as_the_client_calls_it(client: TestClient) -> None:
    text = json.dumps(
        {
            "films": [
                {"prompt": "A.", "seconds": 2},
                {"prompt": "B.", "seconds": 2, "image": "pictures/b.png"},
                {"prompt": "C.", "seconds": 99999},
            ]
        }
    )
    answer = send(client, text, ("pictures/b.png", b"no picture"))
    found = answer.json()
    assert [each["item"] for each in found["errors"]] == [2, 3]
    assert "pictures/b.png" in found["errors"][0]["detail"]
    assert "upload-" not in answer.text
    assert client.get(URL).json()["items"] == []


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"names": "x"}, "names: expected a JSON list"),
        ({"names": "[1]"}, "names: expected a JSON list"),
        ({"names": '["a", "b"]'}, "names: expected a JSON list"),
        ({"colour": "red"}, "colour: the form has campaign, files and names only"),
    ],
)
def test_a_form_that_is_wrong_is_refused(
    client: TestClient, fields: dict[str, str], says: str
) -> None:
    answer = send(client, film("a.png"), ("a.png", picture()), **fields)
    assert (answer.status_code, says in answer.json()["detail"]) == (422, True), answer.text


def test_forms_without_their_parts_are_refused(client: TestClient) -> None:
    says = "campaign: the form needs one campaign file"
    assert says in client.post(URL, files={"files": ("a", b"x")}).json()["detail"]
    twice = [("campaign", ("a.json", film("a"))), ("campaign", ("a.json", film("a")))]
    assert says in client.post(URL, files=twice).json()["detail"]
    text = client.post(URL, files={"campaign": ("a.yaml", "films: [A ball.]")}, data={"files": "x"})
    assert "files: expected files, got text" in text.json()["detail"]
    same = send(client, film("a.png"), ("a.png", picture()), ("a.png", picture("blue")))
    assert "two files have the same name" in same.json()["detail"]
    unknown = client.post(URL, files={"campaign": ("a.docx", "x", "application/msword")})
    assert "content-type: expected one of" in unknown.json()["detail"]
    broken = client.post(URL, content=b"x", headers={"content-type": "multipart/form-data"})
    assert broken.status_code == 400


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.yaml", "films: [{prompt: A ball., seconds: 2, image: a.png}]"),
        ("c.YML", "films: [{prompt: A ball., seconds: 2, image: a.png}]"),
        ("c.csv", "prompt,seconds,image\nA ball.,2,a.png\n"),
        ("c.jsonl", '{"prompt": "A ball.", "seconds": 2, "image": "a.png"}\n'),
    ],
)
def test_the_form_of_the_campaign_follows_from_its_name(
    client: TestClient, small_farm: Farm, name: str, text: str
) -> None:
    files = [("campaign", (name, text)), ("files", ("a.png", picture()))]
    answer = client.post(URL, files=files)
    assert answer.status_code == 201, answer.text
    assert stored(small_farm) == 1


def test_what_is_too_large_is_refused_before_and_while_it_is_read(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_limits, "MOST_CAMPAIGN_BYTES", 2000)
    answer = send(client, film("a.png"), ("a.png", b"x" * 3000))
    assert answer.status_code == 413

    def pieces() -> Iterator[bytes]:
        yield b'--b\r\ncontent-disposition: form-data; name="files"; filename="a"\r\n\r\n'
        for _ in range(100):
            yield b"x" * 100

    headers = {"content-type": "multipart/form-data; boundary=b"}
    assert client.post(URL, content=pieces(), headers=headers).status_code == 413


def test_a_disk_that_is_full_is_503(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(uploads, "_write", full)
    answer = send(client, film("a.png"), ("a.png", picture()))
    assert (answer.status_code, "No space was left" in answer.json()["detail"]) == (503, True)


def test_more_files_than_a_form_may_have_are_refused(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST_FILES", 2)
    files = [(f"{n}.png", picture()) for n in range(4)]
    answer = send(client, film("0.png"), *files)
    assert answer.status_code == 400
    assert "Too many files" in answer.json()["detail"]


def test_weights_by_a_path_are_refused_unless_the_farm_renders_with_them(
    client: TestClient, small_farm: Farm
) -> None:
    text = json.dumps({"films": [{"prompt": "A.", "model": "wan2.2-5b=/etc"}]})
    headers = {"content-type": "application/json"}
    answer = client.post(URL, content=text, headers=headers)
    assert "model: film 1 names weights by a path" in answer.json()["detail"]
    with small_farm.database.write() as connection:
        model_pins.pin(connection, "wan2.2-5b=/etc", "0" * 40)
    answer = client.post(URL, content=text, headers=headers)
    assert "names weights by a path" not in answer.json()["detail"]
