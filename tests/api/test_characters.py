"""`/v1/videos/characters`, and films that show one."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from db.films import films
from film.models import ModelSpec
from flows.farm import Farm
from media.encode import encode_segment
from storage import keys
from tests.api.test_videos import made, picture, refused
from tests.db.farm import Farm as Rows


def create(client: TestClient, content: bytes, field: str = "video", **form: str) -> Any:
    """The answer to a request for a character."""
    return client.post(
        "/v1/videos/characters",
        data={"name": "Ada", **form},
        files={field: ("a.mp4", content, "video/mp4")},
    )


@pytest.fixture
def ada(client: TestClient) -> str:
    """The id of a character."""
    answer = create(client, picture())
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]  # type: ignore[no-any-return]


def test_a_character_has_the_official_shape(client: TestClient, ada: str) -> None:
    found = client.get(f"/v1/videos/characters/{ada}").json()
    assert (found["id"], found["object"], found["name"]) == (ada, "character", "Ada")
    assert isinstance(found["created_at"], int)
    assert client.get("/v1/videos/characters/char_none").status_code == 404


def test_a_film_begins_with_the_picture_of_its_character(
    client: TestClient, rows: Rows, small_farm: Farm, ada: str
) -> None:
    form = {"prompt": "A ball.", "characters[][id]": ada}
    videos = [
        made(client, characters=[{"id": ada}]),
        made(client, characters=ada),
        client.post("/v1/videos", data=form).json(),
    ]
    images = {
        rows.read(films.get, video["id"].removeprefix("video_")).request.image for video in videos
    }
    (image,) = images
    assert small_farm.store.head(keys.image(image)) is not None


def test_the_picture_of_a_video_is_a_frame_of_it(
    client: TestClient, small_farm: Farm, tmp_path: Path
) -> None:
    stripes = np.zeros((8, 64, 96, 3), np.uint8)
    stripes[:, ::8] = 255
    encode_segment(stripes, tmp_path / "a.mp4", fps=Fraction(8))
    answer = create(client, (tmp_path / "a.mp4").read_bytes())
    assert answer.status_code == 200
    (info,) = small_farm.store.list(keys.IMAGES)
    assert info.size_bytes > 0


@pytest.mark.parametrize(
    ("characters", "says"),
    [
        ([{"id": "char_none"}], "There is no character 'char_none'"),
        ([{}], "give one"),
        (["a", "b"], "give one"),
        ([{"name": "Ada"}], "give one"),
        (7, "give one"),
    ],
)
def test_characters_that_cannot_be_shown_are_refused(
    client: TestClient, characters: Any, says: str
) -> None:
    error = refused(client, characters=characters)
    assert error["param"] == "characters"
    assert says in error["message"]


def test_a_film_has_one_first_picture_and_its_model_must_take_it(
    client: TestClient, ada: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = refused(client, characters=ada, input_reference="data:,")
    assert "begins with input_reference already" in twice["message"]
    monkeypatch.setattr(ModelSpec, "takes", lambda self, given, last: False)
    error = refused(client, characters=ada)
    assert "the model 'demo' takes no first picture" in error["message"]


@pytest.mark.parametrize(
    ("content", "form", "param", "says"),
    [
        (b"text", {}, "video", "the file cannot be read as a picture"),
        (b"\0\0\0\x18ftypisom", {}, "video", "the file cannot be decoded"),
        (b"", {}, "video", "the file cannot be read as a picture"),
        (b"#EXTM3U\n/etc/passwd\n", {}, "video", "the file cannot be read as a picture"),
        (picture(), {"name": " \n"}, "name", "expected a text of 1 to 80 characters"),
        (picture(), {"name": "x" * 81}, "name", "expected a text of 1 to 80 characters"),
        (picture(), {"colour": "red"}, "colour", "is not known here"),
    ],
)
def test_what_is_no_character_is_refused(
    client: TestClient,
    small_farm: Farm,
    content: bytes,
    form: dict[str, str],
    param: str,
    says: str,
) -> None:
    answer = create(client, content, **form)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == param
    assert says in error["message"]
    assert "/tmp" not in error["message"]
    assert list(small_farm.store.list()) == []


def test_a_character_needs_one_file(client: TestClient) -> None:
    answer = client.post("/v1/videos/characters", data={"name": "Ada"})
    assert answer.json()["error"]["param"] == "video"
    both = {"video": ("a.png", picture()), "image": ("b.png", picture())}
    answer = client.post("/v1/videos/characters", data={"name": "Ada"}, files=both)
    assert answer.json()["error"]["param"] == "video"
