"""Files that appear whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from film.errors import MediaError
from media.atomic_files import replacing


def test_a_link_stays_and_what_it_names_is_written(tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    target, link = tmp_path / "big" / "film.mp4", tmp_path / "film.mp4"
    target.write_text("old")
    link.symlink_to("big/film.mp4")
    with replacing(link) as partial:
        assert partial.parent == target.parent, "one file system, so that one step replaces it"
        partial.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["film.mp4"]


def test_a_link_to_nothing_makes_the_file(tmp_path: Path) -> None:
    link = tmp_path / "film.mp4"
    link.symlink_to("new.mp4")
    with replacing(link) as partial:
        partial.write_text("new")
    assert link.is_symlink()
    assert (tmp_path / "new.mp4").read_text() == "new"


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_text("old")

    def interrupted() -> None:
        with replacing(path) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [one.read_text() for one in tmp_path.iterdir()] == ["old"]


def test_what_cannot_be_a_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing" / "film.mp4"):
        with pytest.raises(MediaError, match="cannot be written"), replacing(path):
            pass
