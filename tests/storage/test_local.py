"""The store in a folder: what only files can suffer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from film.errors import StoreError, StoreFullError, StoreUnreachableError
from storage.local import LocalStore

KEY = "takes/ab/abc/video.mp4"
ROOT = Path(__file__).parents[2]

ENDLESS_WRITER = """
import sys
from storage.local import LocalStore
LocalStore(__import__("pathlib").Path(sys.argv[1])).put_file("films/x", "/dev/zero")
"""


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store", stale_seconds=0)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"some frames")
    return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def incoming(store: LocalStore) -> list[Path]:
    return list((store.root / ".store" / "incoming").iterdir())


def test_objects_are_plain_files(store: LocalStore, source: Path) -> None:
    store.put_file(KEY, source)
    assert (store.root / KEY).read_bytes() == b"some frames"
    assert store.link(KEY, 60) == (store.root / KEY).as_uri()


def test_damage_is_found(store: LocalStore, source: Path, tmp_path: Path) -> None:
    store.put_file(KEY, source)
    (store.root / KEY).write_bytes(b"some_frames")
    with pytest.raises(StoreError, match=rf"{KEY} .* is damaged"):
        store.get_file(KEY, tmp_path / "copy")
    assert {path.name for path in tmp_path.iterdir()} == {"source", "store"}
    store.put_file(KEY, source)
    store.get_file(KEY, tmp_path / "copy")


def test_an_object_from_elsewhere_has_no_checksum(store: LocalStore, tmp_path: Path) -> None:
    store.check()
    (store.root / "films").mkdir()
    (store.root / "films" / "old.mp4").write_bytes(b"copied in")
    info = store.head("films/old.mp4")
    assert info is not None
    assert info.sha256 is None
    assert store.get_file("films/old.mp4", tmp_path / "copy").sha256 is not None


def test_delete_leaves_no_empty_folders(store: LocalStore, source: Path) -> None:
    store.put_file(KEY, source)
    store.put_file("takes/ab/other", source)
    store.delete(KEY)
    assert {path.name for path in (store.root / "takes" / "ab").iterdir()} == {"other"}
    store.delete("takes/ab/other")
    assert {path.name for path in store.root.iterdir()} == {".store"}


def test_an_object_cannot_be_a_folder_too(store: LocalStore, source: Path) -> None:
    store.put_file("films/a", source)
    for key in ("films/a/b", "films"):
        with pytest.raises(StoreError, match="in its way"):
            store.put_file(key, source)
    assert [info.key for info in store.list()] == ["films/a"]
    assert incoming(store) == []


def test_what_is_in_the_way_of_an_object_is_named(store: LocalStore, source: Path) -> None:
    (store.root / "films").mkdir(parents=True)
    (store.root / "films" / "a").write_text("a file of the user's")
    (store.root / "films" / "b" / "film.mp4").mkdir(parents=True)
    for key, culprit in (("films/a/film.mp4", "films/a"), ("films/b/film.mp4", "films/b/film.mp4")):
        with pytest.raises(StoreError, match=f": {store.root / culprit} is in its way"):
            store.put_file(key, source)
    assert not list((store.root / ".store" / "incoming").iterdir())


def test_a_store_that_was_tidied_under_a_running_process_works(
    store: LocalStore, source: Path, tmp_path: Path
) -> None:
    store.put_file("films/x", source)
    shutil.rmtree(store.root / ".store")
    store.put_file("films/y", source)
    assert store.get_file("films/x", tmp_path / "x").sha256
    assert store.get_file("films/y", tmp_path / "y").sha256


def test_what_a_killed_writer_left_is_swept(store: LocalStore) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS_WRITER, str(store.root)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as writer:
        deadline = time.monotonic() + 30
        while not any(path.stat().st_size for path in store.root.glob(".store/incoming/*")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        store.check()
        assert incoming(store) != [], "a living writer's file is left alone"
        writer.kill()
    assert store.head("films/x") is None
    store.check()
    assert incoming(store) == []


def test_a_file_not_yet_locked_is_left_alone(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.check()
    young = tmp_path / ".store" / "incoming" / "young"
    young.touch()
    store.check()
    assert incoming(store) == [young]


def test_full_disk(small_disk: Path, source: Path) -> None:
    store = LocalStore(small_disk / "store")
    store.put_file("films/small", source)
    source.write_bytes(bytes(2 << 20))
    with pytest.raises(StoreFullError, match=r"No space is left in the store file:///.*Free some"):
        store.put_file("films/large", source)
    assert [info.key for info in store.list()] == ["films/small"]
    assert incoming(store) == []


def test_full_disk_of_the_copy(small_disk: Path, store: LocalStore, source: Path) -> None:
    source.write_bytes(bytes(2 << 20))
    store.put_file("films/large", source)
    with pytest.raises(StoreFullError, match="No space is left in the folder"):
        store.get_file("films/large", small_disk / "copy")
    assert list(small_disk.iterdir()) == []


def test_a_folder_that_cannot_be_made(source: Path) -> None:
    store = LocalStore(source / "store")
    with pytest.raises(StoreUnreachableError, match=r"Cannot use .*LONGREEL_STORE_URL"):
        store.check()
    with pytest.raises(StoreUnreachableError, match="file://"):
        store.put_file(KEY, source)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_one_may_only_read(store: LocalStore, source: Path, tmp_path: Path) -> None:
    store.put_file(KEY, source)
    incoming_folder = store.root / ".store" / "incoming"
    incoming_folder.chmod(0o500)
    try:
        with pytest.raises(StoreUnreachableError, match="Permission denied"):
            store.check()
        store.get_file(KEY, tmp_path / "copy")
    finally:
        incoming_folder.chmod(0o700)
