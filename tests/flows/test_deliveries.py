"""A delivered film in the store: whole, missing, damaged, or another one."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from film.errors import ObjectMissingError, StoreError, StoreUnreachableError
from film.types import Delivery
from flows.deliveries import fetch_film, is_whole
from flows.farm import Farm
from tests.fakes import FlakyStore

KEY = "films/" + "ab" * 32 + "/film.mp4"


@pytest.fixture
def delivery(small_farm: Farm, tmp_path: Path) -> Delivery:
    """A film that was delivered."""
    file = tmp_path / "made.mp4"
    file.write_bytes(b"a film")
    info = small_farm.store.put_file(KEY, file)
    return Delivery(
        key=KEY,
        num_frames=1,
        width=96,
        height=64,
        fps=Fraction(8),
        size_bytes=info.size_bytes,
        sha256=info.sha256 or "",
    )


def put_other(farm: Farm, folder: Path) -> None:
    """Another whole film under the key."""
    other = folder / "other.mp4"
    other.write_bytes(b"another film")
    farm.store.put_file(KEY, other)


def damage(farm: Farm, folder: Path) -> None:
    """A byte that flipped on the disk."""
    (farm.settings.home / "store" / KEY).write_bytes(b"a fiLm")


def test_a_film_that_is_whole_is_fetched(
    small_farm: Farm, delivery: Delivery, tmp_path: Path
) -> None:
    assert is_whole(small_farm.store, delivery, tmp_path)
    fetch_film(small_farm.store, delivery, tmp_path / "film.mp4")
    assert (tmp_path / "film.mp4").read_bytes() == b"a film"


@pytest.mark.parametrize("change", [put_other, damage])
def test_a_film_that_is_not_what_was_delivered_is_not_taken(
    small_farm: Farm, delivery: Delivery, tmp_path: Path, change: object
) -> None:
    assert callable(change)
    change(small_farm, tmp_path)
    assert not is_whole(small_farm.store, delivery, tmp_path)
    with pytest.raises(StoreError):
        fetch_film(small_farm.store, delivery, tmp_path / "film.mp4")
    assert not (tmp_path / "film.mp4").exists()


def test_a_film_that_is_gone_is_missing(
    small_farm: Farm, delivery: Delivery, tmp_path: Path
) -> None:
    small_farm.store.delete(KEY)
    assert not is_whole(small_farm.store, delivery, tmp_path)
    with pytest.raises(ObjectMissingError):
        fetch_film(small_farm.store, delivery, tmp_path / "film.mp4")


def test_a_store_that_is_away_says_nothing_about_its_films(
    small_farm: Farm, delivery: Delivery, tmp_path: Path
) -> None:
    store = FlakyStore(small_farm.store)
    store.error = StoreUnreachableError("Away.")
    with pytest.raises(StoreUnreachableError):
        is_whole(store, delivery, tmp_path)  # type: ignore[arg-type]


def test_the_file_that_was_there_stays_if_the_film_is_not_the_one(
    small_farm: Farm, delivery: Delivery, tmp_path: Path
) -> None:
    put_other(small_farm, tmp_path)
    (tmp_path / "big").mkdir()
    target, link = tmp_path / "big" / "film.mp4", tmp_path / "film.mp4"
    target.write_text("an earlier film")
    link.symlink_to("big/film.mp4")
    with pytest.raises(StoreError):
        fetch_film(small_farm.store, delivery, link)
    assert link.is_symlink()
    assert target.read_text() == "an earlier film"


def test_a_link_stays_and_what_it_names_is_written(
    small_farm: Farm, delivery: Delivery, tmp_path: Path
) -> None:
    (tmp_path / "big").mkdir()
    target, link = tmp_path / "big" / "film.mp4", tmp_path / "film.mp4"
    link.symlink_to("big/film.mp4")
    fetch_film(small_farm.store, delivery, link)
    assert link.is_symlink()
    assert target.read_bytes() == b"a film"
    small_farm.store.get_file(KEY, link)
    assert link.is_symlink()
