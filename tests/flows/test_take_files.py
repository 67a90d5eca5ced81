"""Files of takes: an attempt never replaces the files of another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from film.errors import StoreError
from film.types import Take
from flows.farm import Farm
from flows.take_files import fetch_sound, fetch_tail, fetch_video, store_file
from storage.keys import TakeFile

ADDRESS = "ab" * 32


def stored(farm: Farm, folder: Path, text: str) -> Take:
    """The take of an attempt whose files hold `text`."""
    infos = {}
    for kind in TakeFile:
        file = folder / kind.value
        file.write_text(f"{text} {kind.value}")
        infos[kind] = store_file(farm.store, ADDRESS, kind, file)
    return Take(
        address=ADDRESS,
        video_key=infos[TakeFile.VIDEO].key,
        tail_key=infos[TakeFile.TAIL].key,
        sound_key=infos[TakeFile.SOUND].key,
        num_frames=17,
        size_bytes=infos[TakeFile.VIDEO].size_bytes,
        sha256=infos[TakeFile.VIDEO].sha256 or "",
        made_by={},
    )


def fetched(farm: Farm, take: Take, folder: Path) -> list[str]:
    """What the three files hold."""
    assert take.sound_key
    fetch_video(farm.store, take, folder / "1")
    fetch_tail(farm.store, take, folder / "2")
    fetch_sound(farm.store, take.sound_key, folder / "3")
    return [(folder / name).read_text() for name in "123"]


def test_a_worker_that_comes_back_overwrites_nothing(small_farm: Farm, tmp_path: Path) -> None:
    recorded = stored(small_farm, tmp_path, "recorded")
    late = stored(small_farm, tmp_path, "late")
    keys = {recorded.video_key, recorded.tail_key, recorded.sound_key}
    assert keys.isdisjoint({late.video_key, late.tail_key, late.sound_key})
    assert fetched(small_farm, recorded, tmp_path) == [
        f"recorded {kind.value}" for kind in TakeFile
    ]


def test_equal_files_have_equal_names(small_farm: Farm, tmp_path: Path) -> None:
    assert stored(small_farm, tmp_path, "same") == stored(small_farm, tmp_path, "same")


@pytest.mark.parametrize("kind", TakeFile)
def test_another_whole_object_under_a_key_is_not_taken(
    small_farm: Farm, tmp_path: Path, kind: TakeFile
) -> None:
    take = stored(small_farm, tmp_path, "recorded")
    keys = {
        TakeFile.VIDEO: take.video_key,
        TakeFile.TAIL: take.tail_key,
        TakeFile.SOUND: take.sound_key or "",
    }
    other = tmp_path / "other"
    other.write_text("another whole file")
    small_farm.store.put_file(keys[kind], other)
    with pytest.raises(StoreError, match="is not the one that was recorded"):
        fetched(small_farm, take, tmp_path)


def test_a_take_of_an_earlier_version_is_fetched(small_farm: Farm, tmp_path: Path) -> None:
    """Its names hold no digest, and its tail and sound cannot be compared."""
    take = stored(small_farm, tmp_path, "old").replace(
        tail_key=f"takes/ab/{ADDRESS}/tail.mkv", sound_key=f"takes/ab/{ADDRESS}/sound.flac"
    )
    for key in (take.tail_key, take.sound_key):
        assert key
        small_farm.store.put_file(key, tmp_path / "video.mp4")
    assert len(fetched(small_farm, take, tmp_path)) == 3
