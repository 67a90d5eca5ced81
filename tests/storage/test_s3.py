"""The store in S3: what only a network and a server can do to it."""

from __future__ import annotations

import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from film.errors import StoreError, StoreUnreachableError
from storage import open_store
from storage.s3 import S3Store
from tests.services.process import free_port
from tests.services.proxy import proxied
from tests.services.s3 import S3Server
from tests.services.web import Quiet, serving
from tests.storage.conftest import PART_BYTES

KEY = "takes/ab/abc/video.mp4"


@pytest.fixture
def server(moto_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    moto_server.use(monkeypatch)
    return moto_server


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(bytes(3 * PART_BYTES))
    return path


def through(port: int, bucket: str) -> S3Store:
    return S3Store(
        bucket, endpoint_url=f"http://127.0.0.1:{port}", part_bytes=PART_BYTES, attempts=2
    )


def test_a_broken_upload_leaves_nothing(server: S3Server, large: Path) -> None:
    bucket = server.create_bucket()
    with proxied(urlsplit(server.endpoint_url).port or 0) as network:
        network.cut_request = b"partNumber=3"
        with pytest.raises(StoreUnreachableError, match=f"s3://{bucket} at http://127"):
            through(network.port, bucket).put_file(KEY, large)
        assert network.cuts >= 2, "it was tried again"
    assert "Uploads" not in server.client().list_multipart_uploads(Bucket=bucket)
    assert "Contents" not in server.client().list_objects_v2(Bucket=bucket)


def test_a_broken_download_leaves_nothing(server: S3Server, large: Path, tmp_path: Path) -> None:
    bucket = server.create_bucket()
    open_store(f"s3://{bucket}", endpoint_url=server.endpoint_url).put_file(KEY, large)
    with proxied(urlsplit(server.endpoint_url).port or 0) as network:
        network.cut_answer_after = 1 << 20
        with pytest.raises(StoreUnreachableError, match="the network"):
            through(network.port, bucket).get_file(KEY, tmp_path / "copy")
        assert network.cuts >= 2, "it was tried again"
    assert {path.name for path in tmp_path.iterdir()} == {"large"}


def test_damage_is_found(server: S3Server, tmp_path: Path) -> None:
    bucket = server.create_bucket()
    server.client().put_object(
        Bucket=bucket, Key=KEY, Body=b"some_frames", Metadata={"sha256": "0" * 64}
    )
    store = open_store(f"s3://{bucket}", endpoint_url=server.endpoint_url)
    with pytest.raises(StoreError, match=rf"{KEY} .* is damaged"):
        store.get_file(KEY, tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def test_an_object_from_elsewhere_has_no_checksum(server: S3Server) -> None:
    bucket = server.create_bucket()
    server.client().put_object(Bucket=bucket, Key=KEY, Body=b"x", Metadata={"sha256": "what?"})
    info = open_store(f"s3://{bucket}", endpoint_url=server.endpoint_url).head(KEY)
    assert info is not None
    assert info.sha256 is None


@pytest.mark.parametrize(("given", "stored"), [(None, "video/mp4"), ("text/x-own", "text/x-own")])
def test_content_types(server: S3Server, large: Path, given: str | None, stored: str) -> None:
    bucket = server.create_bucket()
    store = open_store(f"s3://{bucket}/farm/", endpoint_url=server.endpoint_url)
    store.put_file(KEY, large, content_type=given)
    answer = server.client().head_object(Bucket=bucket, Key=f"farm/{KEY}")
    assert answer["ContentType"] == stored


def test_check_leaves_no_upload(server: S3Server) -> None:
    bucket = server.create_bucket()
    open_store(f"s3://{bucket}", endpoint_url=server.endpoint_url).check()
    assert "Uploads" not in server.client().list_multipart_uploads(Bucket=bucket)


def test_a_bucket_that_is_not_there(server: S3Server, large: Path) -> None:
    store = open_store("s3://nowhere/farm", endpoint_url=server.endpoint_url)
    with pytest.raises(StoreUnreachableError, match=r"no bucket nowhere.*LONGREEL_STORE_URL"):
        store.check()
    with pytest.raises(StoreUnreachableError, match="no bucket nowhere"):
        store.put_file(KEY, large)


def test_a_server_that_is_down(server: S3Server) -> None:
    store = open_store("s3://bucket", endpoint_url=f"http://127.0.0.1:{free_port()}")
    began = time.monotonic()
    with pytest.raises(StoreUnreachableError, match=r"nothing answers.*LONGREEL_S3_ENDPOINT_URL"):
        store.check()
    assert time.monotonic() - began < 5


def test_no_credentials(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    store = open_store("s3://bucket", endpoint_url=server.endpoint_url)
    for ask in (store.check, lambda: store.head(KEY), lambda: store.link(KEY, 60)):
        with pytest.raises(StoreUnreachableError, match=r"no credentials.*AWS_ACCESS_KEY_ID"):
            ask()


class Page(Quiet, BaseHTTPRequestHandler):
    """The sign-in page of a proxy, with status 200, for whatever is asked."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        """The page."""
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        page = b"<html>sign in</html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page)

    do_GET = do_PUT = do_HEAD = do_POST = answer  # noqa: N815  (their names are the library's)


def test_a_page_in_place_of_the_store_is_neither_an_object_nor_a_place_for_one(
    server: S3Server, tmp_path: Path
) -> None:
    file = tmp_path / "film.mp4"
    file.write_bytes(b"a film")
    with serving(Page) as port:
        store = through(port, "bucket")
        with pytest.raises(StoreUnreachableError, match="something else answers PutObject"):
            store.put_file(KEY, file)
        with pytest.raises(StoreUnreachableError, match="something else answers GetObject"):
            store.get_file(KEY, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_rot_that_the_servers_own_checksum_shows_is_damage(
    server: S3Server, tmp_path: Path
) -> None:
    """As bytes that change in the server: the answer has the checksum of what was put."""
    bucket = server.create_bucket()
    file = tmp_path / "film.mp4"
    file.write_bytes(b"a film that has some bytes")
    store = open_store(f"s3://{bucket}", endpoint_url=server.endpoint_url)
    store.put_file(KEY, file)
    with proxied(urlsplit(server.endpoint_url).port or 0) as network:
        network.replace_in_answers = (b"some bytes", b"other byte")
        with pytest.raises(StoreError, match=f"The object {KEY} in .* is damaged") as damaged:
            through(network.port, bucket).get_file(KEY, tmp_path / "copy")
    assert not isinstance(damaged.value, StoreUnreachableError)
    assert not (tmp_path / "copy").exists()


class NoStore(Quiet, BaseHTTPRequestHandler):
    """A web server that knows nothing of S3."""

    status = 404

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b"<html>hello</html>")


@pytest.mark.parametrize("status", [200, 400, 404, 503])
def test_a_server_that_is_something_else(server: S3Server, status: int) -> None:
    handler = type("Handler", (NoStore,), {"status": status})
    with serving(handler) as port:
        store = open_store("s3://bucket", endpoint_url=f"http://127.0.0.1:{port}")
        with pytest.raises(StoreUnreachableError, match="s3://bucket at http://127"):
            store.check()
