"""From a setting to a store, and the keys we use."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from film.errors import InputError, SettingsError
from storage import keys, open_store
from storage.keys import TakeFile
from storage.local import LocalStore

DIGEST = "ab" * 32


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/srv/store",
        "store",
        "http://bucket/x",
        "file:store",
        "file://store",
        "file://server/store",
        "file:///store?x",
        "file:///store#x",
        "file:///a%00b",
        "s3:bucket",
        "s3://",
        "s3:///prefix",
        "s3://key:secret@bucket/prefix",
        "s3://bucket:9000/prefix",
        "s3://bucket/../x",
        "s3://bucket/a//b",
        "s3://bucket/ä",
        "s3://bucket/x?versionId=1",
        "s3://[bucket/x",
    ],
)
def test_a_url_that_cannot_work(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        open_store(url)
    message = str(refused.value)
    assert message.startswith("LONGREEL_STORE_URL")
    assert "file:///folder" in message
    assert "s3://bucket/prefix" in message
    assert "secret" not in message


def test_folders(tmp_path: Path) -> None:
    folder = tmp_path / "Ünser Store #1?"
    for url in (folder.as_uri(), folder.as_uri().replace("file://", "file://localhost")):
        store = open_store(url)
        assert isinstance(store, LocalStore)
        assert store.root == folder
    assert not folder.exists(), "opening makes nothing"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://bucket/a/b=1/", "s3://bucket/a/b=1"),
    ],
)
def test_buckets(url: str, shown: str) -> None:
    assert open_store(url).url == shown
    assert open_store(url, endpoint_url="", checksums="when_required").url == shown


@pytest.mark.parametrize(
    "endpoint",
    ["localhost:9000", "ftp://x", "http://", "http://k:secret@x", "http://x:99999", "http://[x"],
)
def test_an_endpoint_that_cannot_work(endpoint: str) -> None:
    with pytest.raises(SettingsError, match="LONGREEL_S3_ENDPOINT_URL") as refused:
        open_store("s3://bucket", endpoint_url=endpoint)
    assert "secret" not in str(refused.value)


def test_checksums_that_do_not_exist() -> None:
    with pytest.raises(SettingsError, match="LONGREEL_S3_CHECKSUMS is 'never'"):
        open_store("s3://bucket", checksums="never")


def test_a_folder_needs_no_boto3(tmp_path: Path) -> None:
    program = (
        "import sys, storage; storage.open_store(sys.argv[1]).check();"
        "sys.exit('boto3' in sys.modules or 'botocore' in sys.modules)"
    )
    command = [sys.executable, "-c", program, tmp_path.as_uri()]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])


def test_keys() -> None:
    file = "c" * 64
    folder = f"takes/ab/{DIGEST}"
    video, tail, sound = (keys.take_file(DIGEST, kind, file) for kind in TakeFile)
    assert video == f"{folder}/video-{file[:32]}.mp4"
    assert tail == f"{folder}/tail-{file[:32]}.mkv"
    assert sound == f"{folder}/sound-{file[:32]}.flac"
    for key in (video, tail, sound):
        assert keys.digest_in(key) == file[:32]
    assert keys.digest_in(f"{folder}/video.mp4") == "", "a take of an older version"
    assert keys.film_video(DIGEST) == f"films/{DIGEST}/film.mp4"
    for key in (video, sound, keys.film_video(DIGEST)):
        assert keys.check_key(key) == key


@pytest.mark.parametrize("digest", ["", "ab", DIGEST.upper(), f"{DIGEST}\n", "../" * 21 + "x"])
def test_what_is_no_address(digest: str) -> None:
    for key in (
        partial(keys.take_file, kind=TakeFile.VIDEO, digest=DIGEST),
        partial(keys.take_file, DIGEST, TakeFile.TAIL),
        keys.film_video,
    ):
        with pytest.raises(InputError, match="64 hex digits"):
            key(digest)
