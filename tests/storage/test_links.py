"""Links and credentials on a server that checks signatures."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path

import pytest

from film.errors import StoreUnreachableError
from storage.s3 import S3Store
from tests.services.s3 import S3Server
from tests.storage.conftest import s3_store

pytestmark = pytest.mark.slow

KEY = "films/abc/film.mp4"
FRAMES = b"some frames of a film"


@pytest.fixture
def store(radosgw_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> S3Store:
    """A store with one object in it."""
    made = s3_store(radosgw_server, monkeypatch)
    source = tmp_path / "source"
    source.write_bytes(FRAMES)
    made.put_file(KEY, source)
    return made


def read(url: str, **headers: str) -> tuple[int, Message, bytes]:
    """Status, headers and body of what a browser gets."""
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def test_a_good_link(store: S3Store) -> None:
    status, headers, body = read(store.link(KEY, 60))
    assert (status, body) == (200, FRAMES)
    assert headers["Content-Type"] == "video/mp4"
    assert headers["Content-Disposition"] is None


def test_a_player_can_seek(store: S3Store) -> None:
    status, headers, body = read(store.link(KEY, 60), Range="bytes=5-10")
    assert (status, body) == (206, FRAMES[5:11])
    assert headers["Content-Range"] == f"bytes 5-10/{len(FRAMES)}"


@pytest.mark.parametrize(
    ("filename", "plain", "encoded"),
    [
        ("film.mp4", "film.mp4", "film.mp4"),
        ("Der Käfer – 猫.mp4", "Der K_fer _ _.mp4", "Der%20K%C3%A4fer%20%E2%80%93%20%E7%8C%AB.mp4"),
        ('a"b%41\r\nX-Evil: 1/../c\\d', "a_b_41__X-Evil: 1_.._c_d", "a%22b%2541__X-Evil%3A%201_"),
        ("\ud800.mp4", "_.mp4", "_.mp4"),
    ],
)
def test_names_of_downloads(store: S3Store, filename: str, plain: str, encoded: str) -> None:
    status, headers, body = read(store.link(KEY, 60, filename=filename))
    assert (status, body) == (200, FRAMES)
    disposition = headers["Content-Disposition"]
    assert disposition.startswith(f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
    assert "X-Evil" not in headers


def test_an_expired_link(store: S3Store) -> None:
    url = store.link(KEY, 1)
    time.sleep(2.1)
    assert read(url)[0] == 403


def test_links_that_were_changed(store: S3Store) -> None:
    url = store.link(KEY, 60, filename="a.mp4")
    changes = {
        "the object": url.replace("/abc/", "/abd/"),
        "its life": url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000"),
        "the name": url.replace("a.mp4", "b.mp4"),
        "the signature": url[:-1] + ("0" if url[-1] != "0" else "1"),
        "no signature": url.partition("?")[0],
    }
    for what, changed in changes.items():
        assert changed != url, what
        assert read(changed)[0] == 403, what


def test_a_link_only_reads(store: S3Store) -> None:
    request = urllib.request.Request(store.link(KEY, 60), data=b"mine", method="PUT")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    with refused.value:
        assert refused.value.code == 403


def test_a_wrong_secret_key(
    store: S3Store, radosgw_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    radosgw_server.with_secret("wrong").use(monkeypatch)
    stranger = S3Store(store.bucket, endpoint_url=radosgw_server.endpoint_url)
    began = time.monotonic()
    with pytest.raises(StoreUnreachableError, match="secret key does not go with") as refused:
        stranger.check()
    assert time.monotonic() - began < 5
    assert store.bucket in str(refused.value)
    assert "AWS_SECRET_ACCESS_KEY" in str(refused.value)
    assert read(stranger.link(KEY, 60))[0] == 403


def test_an_unknown_access_key(
    store: S3Store, radosgw_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    stranger = S3Store(store.bucket, endpoint_url=radosgw_server.endpoint_url)
    with pytest.raises(StoreUnreachableError, match="access key is not known"):
        stranger.check()
