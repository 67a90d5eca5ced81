"""Pictures of finished films: made once, kept, and removed with the film."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from app.api import downloads
from db.films import film_lease
from film.errors import StoreFullError
from flows.farm import Farm
from media.encode import encode_segment
from storage import keys
from tests.api.test_videos import made
from tests.db.farm import DELIVERY
from tests.db.farm import Farm as Rows

DIGEST = "ab" * 32


@pytest.fixture
def video(client: TestClient, rows: Rows, small_farm: Farm, tmp_path: Path) -> str:
    """The id of a delivered film of 32 frames."""
    found: str = made(client)["id"]
    rows.render_all()
    path = tmp_path / "film.mp4"
    frames = np.full((32, 64, 96, 3), (200, 10, 10), np.uint8)
    encode_segment(frames, path, fps=Fraction(8))
    info = small_farm.store.put_file(keys.film_video(DIGEST), path)
    delivery = DELIVERY.replace(key=info.key, sha256=info.sha256 or "", size_bytes=info.size_bytes)
    assert rows.write(film_lease.finish, rows.claim_film(), delivery)
    return found


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the films that were fetched whole."""
    real, keys_fetched = downloads.fetch_film, list[str]()

    def fetch(store: Any, delivery: Any, path: Path) -> None:
        keys_fetched.append(delivery.key)
        real(store, delivery, path)

    monkeypatch.setattr(downloads, "fetch_film", fetch)
    return keys_fetched


@pytest.mark.parametrize(
    ("variant", "form", "size"),
    [("thumbnail", "WEBP", (96, 64)), ("spritesheet", "JPEG", (480, 256))],
)
def test_a_picture_is_made_once(
    client: TestClient,
    small_farm: Farm,
    video: str,
    fetched: list[str],
    variant: str,
    form: str,
    size: tuple[int, int],
) -> None:
    path = f"/v1/videos/{video}/content?variant={variant}"
    first, second = client.get(path), client.get(path)
    with Image.open(io.BytesIO(first.content)) as picture:
        assert (picture.format, picture.size) == (form, size)
    assert second.content == first.content
    assert (
        second.headers["content-type"] == first.headers["content-type"] == f"image/{form.lower()}"
    )
    assert second.headers["content-disposition"] == first.headers["content-disposition"]
    assert fetched == [keys.film_video(DIGEST)]
    key = keys.film_still(DIGEST, variant)
    assert small_farm.store.head(key) is not None
    assert client.delete(f"/v1/videos/{video}").status_code == 200
    assert list(small_farm.store.list(keys.FILMS)) == []


def test_a_full_store_costs_only_time(
    client: TestClient, video: str, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **named: Any) -> None:
        raise StoreFullError("No space is left.")

    store: Callable[..., Any] = type(client.app.state.farm.store)  # type: ignore[attr-defined]
    monkeypatch.setattr(store, "put_file", full)
    path = f"/v1/videos/{video}/content?variant=thumbnail"
    assert [client.get(path).status_code for _ in range(2)] == [200, 200]
    assert len(fetched) == 2
