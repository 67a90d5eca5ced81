"""Folders for temporary files: each process has its own, and abandoned ones are removed."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from film.errors import SettingsError
from flows.machine.scratch import Scratch, ensure_writable


def test_abandoned_folders_are_removed_and_those_in_use_are_not(tmp_path: Path) -> None:
    parent = tmp_path / "scratch"
    killed, used = Scratch(parent, "host/machine/1/1"), Scratch(parent, "host/machine/2/2")
    left = killed.open()
    assert used.open().is_dir()
    assert left.is_dir(), "it is in use"
    assert killed._lock
    killed._lock.release()  # as the end of its process does
    mine = Scratch(parent, "host/machine/3/3")
    mine.open()
    assert sorted(path.name for path in parent.iterdir()) == sorted(
        [used.open().name, mine.open().name]
    )
    used.close()
    mine.close()
    assert list(parent.iterdir()) == []


def test_many_processes_that_start_at_once_leave_each_other_alone(tmp_path: Path) -> None:
    parent = tmp_path / "scratch"

    def start_and_end(number: int) -> bool:
        scratch = Scratch(parent, f"host/machine/{number}/1")
        file = scratch.open() / "file"
        file.write_text("mine")
        whole = file.exists()
        scratch.close()
        return whole

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(start_and_end, range(200)))
    assert not list(parent.iterdir())


def test_a_folder_that_the_user_removed_is_created_again_by_many_threads(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "scratch", "host/machine/1/1")
    for _ in range(20):
        shutil.rmtree(scratch.open())
        with ThreadPoolExecutor(4) as pool:
            folders = {pool.submit(scratch.open).result() for _ in range(8)}
        assert folders == {scratch.open()}
        assert scratch.open().is_dir()
    scratch.close()


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"file/scratch cannot be"):
        Scratch(tmp_path / "file" / "scratch", "me").open()


def test_nothing_is_created_before_it_is_needed(tmp_path: Path) -> None:
    Scratch(tmp_path / "scratch", "me").close()
    assert list(tmp_path.iterdir()) == []


def test_a_new_folder_is_for_its_user_alone(tmp_path: Path) -> None:
    home = ensure_writable(tmp_path / "above" / "home")
    assert home.stat().st_mode & 0o777 == 0o700
    existing = tmp_path / "shared"
    existing.mkdir(mode=0o755)
    existing.chmod(0o755)
    ensure_writable(existing)
    assert existing.stat().st_mode & 0o777 == 0o755, "what a user has chosen stays"
