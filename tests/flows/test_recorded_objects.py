"""An object is compared with what was recorded of it, by the whole digest or by its beginning."""

from __future__ import annotations

from pathlib import Path

import pytest

from film.errors import StoreError
from flows.farm import Farm
from flows.recorded_objects import fetch_recorded

KEY = "films/x/film.mp4"


@pytest.fixture
def digest(small_farm: Farm, tmp_path: Path) -> str:
    """The SHA-256 of an object in the store."""
    file = tmp_path / "made"
    file.write_bytes(b"an object")
    return small_farm.store.put_file(KEY, file).sha256 or ""


@pytest.mark.parametrize("digits", [64, 32, 0])
def test_an_object_that_was_recorded_is_fetched(
    small_farm: Farm, digest: str, tmp_path: Path, digits: int
) -> None:
    fetch_recorded(small_farm.store, KEY, tmp_path / "copy", digest[:digits])
    assert (tmp_path / "copy").read_bytes() == b"an object"


@pytest.mark.parametrize("digits", [64, 32])
def test_another_object_leaves_the_file_as_it_was(
    small_farm: Farm, digest: str, tmp_path: Path, digits: int
) -> None:
    (tmp_path / "copy").write_text("before")
    with pytest.raises(StoreError, match="is not the one that was recorded"):
        fetch_recorded(small_farm.store, KEY, tmp_path / "copy", digest[::-1][:digits])
    assert (tmp_path / "copy").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "home", "made"]
