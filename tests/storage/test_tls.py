"""S3 over HTTPS: which certificates it trusts, and the message otherwise."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from ssl import create_default_context

import pytest

from film.errors import StoreUnreachableError
from storage import open_store
from storage.s3 import S3Store
from tests.services.s3 import S3Server
from tests.services.tls import make_certificate

pytestmark = pytest.mark.slow

KEY = "takes/ab/abc/video.mp4"


@pytest.fixture
def server(moto_tls_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    moto_tls_server.use(monkeypatch)
    return moto_tls_server


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    path = tmp_path / "frames"
    path.write_bytes(b"frames")
    return path


def store_of(server: S3Server, endpoint_url: str | None = None) -> S3Store:
    opened = open_store(
        f"s3://{server.create_bucket()}", endpoint_url=endpoint_url or server.endpoint_url
    )
    assert isinstance(opened, S3Store)
    return opened


def refusal(store: S3Store) -> str:
    """The message of `check`: one sentence on what is wrong and one on what to do."""
    with pytest.raises(StoreUnreachableError) as refused:
        store.check()
    said = str(refused.value)
    assert said.startswith(f"Cannot use the store {store.url} at http")
    assert "\n" not in said
    assert "_ssl.c" not in said
    return said


def test_a_link_is_opened_by_who_trusts_the_authority(server: S3Server, frames: Path) -> None:
    store = store_of(server)
    store.check()
    store.put_file(KEY, frames)
    link = store.link(KEY, 60)
    assert link.startswith("https://127.0.0.1:")
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=create_default_context(cafile=server.authority)),
    )
    with opener.open(link) as answer:
        assert answer.read() == b"frames"


def test_a_certificate_that_nobody_here_signed(
    server: S3Server, frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(server)
    another = make_certificate(tmp_path).authority
    for bundle in (None, str(another)):
        if bundle:
            monkeypatch.setenv("AWS_CA_BUNDLE", bundle)
        else:
            monkeypatch.delenv("AWS_CA_BUNDLE")
        said = refusal(store)
        assert "its certificate is not trusted here (" in said
        assert said.endswith(
            "Set AWS_CA_BUNDLE to a file with the certificate of the authority that signed it."
        )
    with pytest.raises(StoreUnreachableError, match="AWS_CA_BUNDLE"):
        store.put_file(KEY, frames)


def test_a_bundle_that_is_none(
    server: S3Server, frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(server)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "nowhere"))
    assert refusal(store).endswith(
        "the file of AWS_CA_BUNDLE cannot be read (No such file or directory). "
        "Correct AWS_CA_BUNDLE."
    )
    monkeypatch.setenv("AWS_CA_BUNDLE", str(frames))
    assert "the file of AWS_CA_BUNDLE holds no certificate." in refusal(store)


def test_a_certificate_for_another_name(server: S3Server) -> None:
    store = store_of(server, server.endpoint_url.replace("127.0.0.1", "localhost"))
    said = refusal(store)
    assert "its certificate is for another name (" in said
    assert said.endswith("Correct LONGREEL_S3_ENDPOINT_URL.")


def test_a_server_without_tls(server: S3Server, moto_server: S3Server) -> None:
    store = store_of(server, moto_server.endpoint_url.replace("http:", "https:"))
    assert "no TLS connection is possible (" in refusal(store)
    assert "begins with http:// where the server has no TLS." in refusal(store)
