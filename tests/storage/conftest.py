"""The stores under test: a folder, and a bucket of each S3 server that is there."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from storage import ObjectStore
from storage.local import LocalStore
from storage.s3 import S3Store
from tests.services.s3 import S3Server

PART_BYTES = 5 << 20
"""The smallest part that S3 accepts, so that few megabytes are an upload in parts."""


SERVERS = ("moto", "moto_tls", "radosgw")


@pytest.fixture(
    params=["local", *(pytest.param(name, marks=pytest.mark.slow) for name in SERVERS)],
)
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ObjectStore:
    """An empty store of each kind."""
    if request.param == "local":
        return LocalStore(tmp_path / "the store")
    server: S3Server = request.getfixturevalue(f"{request.param}_server")
    return s3_store(server, monkeypatch)


def s3_store(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    """An empty store in a new bucket of `server`."""
    server.use(monkeypatch)
    return S3Store(
        server.create_bucket(),
        f"farm/{secrets.token_hex(4)}",
        endpoint_url=server.endpoint_url,
        part_bytes=PART_BYTES,
    )
