"""Files of the service in S3: sent by links to the store, removed with what they belong to."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

from db.films import film_lease
from flows.cleaning import clean
from flows.farm import Farm
from media.encode import encode_segment
from storage import keys
from storage.s3 import S3Store
from tests.api.test_batches import line, started
from tests.api.test_files import LINE, upload
from tests.api.test_videos import made
from tests.db.farm import DELIVERY
from tests.db.farm import Farm as Rows
from tests.services.s3 import S3Server
from tests.storage.conftest import s3_store

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def store(small_farm: Farm, moto_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    """The farm's store, in a bucket of its own."""
    found = s3_store(moto_server, monkeypatch)
    small_farm.__dict__["store"] = found
    return found


def follow(client: TestClient, path: str) -> httpx.Response:
    """The answer of the store to the link that the service gives."""
    answer = client.get(path, follow_redirects=False)
    assert answer.status_code == 302, answer.text
    with httpx.Client(trust_env=False) as outside:
        return outside.get(answer.headers["location"])


def test_uploaded_files_are_sent_by_links(client: TestClient, store: S3Store) -> None:
    file = upload(client).json()["id"]
    found = follow(client, f"/v1/files/{file}/content")
    assert found.content == LINE
    assert "a.jsonl" in found.headers["content-disposition"]
    assert client.delete(f"/v1/files/{file}").json()["deleted"]
    assert store.head(keys.uploaded_file(file)) is None


def test_a_batch_is_read_from_the_store(client: TestClient) -> None:
    assert started(client, line("a"), line("b"))["status"] == "in_progress"
    assert started(client, "{")["status"] == "failed"


def test_a_thumbnail_is_made_once_and_removed_with_its_film(
    client: TestClient, rows: Rows, small_farm: Farm, store: S3Store, tmp_path: Path
) -> None:
    video = made(client)["id"]
    rows.render_all()
    film = tmp_path / "film.mp4"
    encode_segment(np.full((16, 64, 96, 3), 90, np.uint8), film, fps=Fraction(8))
    info = store.put_file(keys.film_video("ab" * 32), film)
    delivery = DELIVERY.replace(key=info.key, sha256=info.sha256 or "", size_bytes=info.size_bytes)
    assert rows.write(film_lease.finish, rows.claim_film(), delivery)
    path = f"/v1/videos/{video}/content?variant=thumbnail"
    first = client.get(path, follow_redirects=False)
    assert first.status_code == 200
    kept = follow(client, path)
    assert kept.content == first.content
    assert kept.headers["content-type"] == "image/webp"
    assert follow(client, f"/v1/videos/{video}/content").content == film.read_bytes()
    assert clean(small_farm, grace_seconds=-60.0).films == 0
    client.delete(f"/v1/videos/{video}")
    assert list(store.list(keys.FILMS)) == []
