"""What every store must do, asked of each of them."""

from __future__ import annotations

import contextlib
import hashlib
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from film.errors import InputError, ObjectMissingError, StoreError
from storage import ObjectInfo, ObjectStore, open_store
from storage.keys import check_key

KEY = "takes/ab/abc/video.mp4"
# The store outlives the examples, each of which cleans up after itself.
examples = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.=-]{0,12}", fullmatch=True)
keys = st.lists(names, min_size=1, max_size=4).map("/".join)
hostile = st.one_of(
    st.text(),
    st.lists(st.sampled_from(["..", ".", "", "a", "\0", "/", "\\", "~", "é", "-"])).map("/".join),
    st.lists(names, min_size=1).map(lambda parts: "/".join([*parts, "..", "..", "x"])),
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return written(tmp_path / "source.mp4", b"some frames")


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def test_put_then_get(store: ObjectStore, source: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(b"some frames").hexdigest()
    expected = ObjectInfo(key=KEY, size_bytes=11, sha256=digest)
    assert store.put_file(KEY, source) == expected
    assert store.head(KEY) == expected
    assert store.get_file(KEY, tmp_path / "new folder" / "copy.mp4") == expected
    assert (tmp_path / "new folder" / "copy.mp4").read_bytes() == b"some frames"


@given(key=keys, data=st.binary(max_size=200))
@examples
def test_any_good_key_and_bytes_round_trip(
    store: ObjectStore, tmp_path: Path, key: str, data: bytes
) -> None:
    store.put_file(key, written(tmp_path / "in", data))
    assert [info.key for info in store.list(key)] == [key]
    store.get_file(key, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data
    store.delete(key)
    assert store.head(key) is None


@given(key=hostile)
@examples
def test_a_key_is_good_or_refused(store: ObjectStore, key: str) -> None:
    """Whatever is not refused stays below the store, and is one name in every store."""
    with contextlib.suppress(InputError):
        check_key(key)
        assert not key.startswith("/")
        assert not {"", ".", ".."} & set(key.split("/"))
        assert key.isascii()
        assert key.isprintable()
        return
    for ask in (store.head, store.delete, lambda key: store.link(key, 60)):
        with pytest.raises(InputError) as refused:
            ask(key)
        assert str(refused.value).isprintable()


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../x", "a/../../x", "a\0b", "a//b", "a/", "é"])
def test_bad_keys_touch_nothing(store: ObjectStore, source: Path, tmp_path: Path, key: str) -> None:
    before = everything(tmp_path)
    with pytest.raises(InputError):
        store.put_file(key, source)
    with pytest.raises(InputError):
        store.get_file(key, tmp_path / "copy")
    assert everything(tmp_path) == before
    assert list(store.list()) == []


def test_overwriting_is_normal(store: ObjectStore, source: Path, tmp_path: Path) -> None:
    store.put_file(KEY, source)
    store.put_file(KEY, source)
    other = store.put_file(KEY, written(tmp_path / "other", b"another take"))
    assert store.head(KEY) == other
    assert [info.size_bytes for info in store.list()] == [12]


def test_missing_objects(store: ObjectStore, tmp_path: Path) -> None:
    assert store.head(KEY) is None
    store.delete(KEY)
    with pytest.raises(ObjectMissingError, match=KEY):
        store.get_file(KEY, tmp_path / "copy")
    assert everything(tmp_path) == set()


def test_missing_source(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.put_file(KEY, tmp_path / "nowhere")
    assert store.head(KEY) is None


def test_a_key_below_an_object_is_another_key(store: ObjectStore, source: Path) -> None:
    store.put_file("films/a", source)
    assert store.head("films/a/film.mp4") is None
    assert store.head("films") is None
    store.delete("films")
    assert store.head("films/a") is not None


def test_list_by_prefix_in_order(store: ObjectStore, source: Path) -> None:
    expected = ["takes/a-b", "takes/a.b", "takes/a/b", "takes/a/c/d", "takes/a0", "takes/ab"]
    for key in [*reversed(expected), "films/x", "takesy"]:
        store.put_file(key, source)
    assert [info.key for info in store.list("takes/")] == expected
    assert [info.key for info in store.list("takes/a/")] == ["takes/a/b", "takes/a/c/d"]
    assert [info.key for info in store.list("takes/a/c")] == ["takes/a/c/d"]
    assert [info.key for info in store.list("takes")] == [*expected, "takesy"]
    assert [info.key for info in store.list()] == ["films/x", *expected, "takesy"]
    assert {info.sha256 for info in store.list()} == {None}
    for info in store.list():
        assert info.modified_at == pytest.approx(time.time(), abs=60)
    assert list(store.list("nothing/here")) == []
    with pytest.raises(InputError):
        list(store.list("../"))


def test_an_object_in_parts(store: ObjectStore, tmp_path: Path) -> None:
    data = random.Random(1).randbytes(12 << 20)
    info = store.put_file("films/large.mp4", written(tmp_path / "in", data))
    assert info == store.head("films/large.mp4")
    assert info.sha256 == hashlib.sha256(data).hexdigest()
    store.get_file("films/large.mp4", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data


def test_an_empty_object(store: ObjectStore, tmp_path: Path) -> None:
    assert store.put_file(KEY, written(tmp_path / "in", b"")).size_bytes == 0
    assert store.get_file(KEY, tmp_path / "out").size_bytes == 0
    assert (tmp_path / "out").read_bytes() == b""


def test_get_replaces_in_one_step(store: ObjectStore, source: Path, tmp_path: Path) -> None:
    target = written(tmp_path / "copy", b"an older copy")
    store.put_file(KEY, source)
    before = everything(tmp_path)
    with target.open("rb") as reader:
        store.get_file(KEY, target)
        assert reader.read() == b"an older copy"
    assert target.read_bytes() == b"some frames"
    assert everything(tmp_path) == before


def test_get_into_what_is_no_folder(store: ObjectStore, source: Path) -> None:
    store.put_file(KEY, source)
    with pytest.raises(StoreError, match="Check that it can be written to"):
        store.get_file(KEY, source / "copy")


def test_writers_and_readers_of_one_key(store: ObjectStore, tmp_path: Path) -> None:
    """Every reader gets a whole object, with the checksum that belongs to it."""
    takes = [bytes([letter]) * (200_000 + letter) for letter in range(8)]
    sources = [written(tmp_path / f"in{i}", take) for i, take in enumerate(takes)]
    store.put_file(KEY, sources[0])

    def work(number: int) -> bytes:
        store.put_file(KEY, sources[number % len(sources)])
        store.get_file(KEY, tmp_path / f"out{number}")
        return (tmp_path / f"out{number}").read_bytes()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(work, range(32))) <= set(takes)
    final = store.head(KEY)
    assert final is not None
    assert final.sha256 in {hashlib.sha256(take).hexdigest() for take in takes}


@pytest.mark.parametrize("expires", [0, -1, 0.5, 7 * 24 * 3600 + 1, float("nan"), float("inf")])
def test_how_long_a_link_may_last(store: ObjectStore, expires: float) -> None:
    with pytest.raises(InputError, match="7 days"):
        store.link(KEY, expires)


def test_check_leaves_nothing(store: ObjectStore, source: Path, tmp_path: Path) -> None:
    store.check()
    assert list(store.list()) == []
    store.put_file(KEY, source)
    before = everything(tmp_path)
    store.check()
    assert everything(tmp_path) == before
    assert [info.key for info in store.list()] == [KEY]


def test_url_opens_the_same_kind_of_store(store: ObjectStore) -> None:
    assert open_store(store.url).url == store.url
