"""Folders for temporary files: each process has its own, and what the dead left is removed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flows import owner


def test_folders_of_the_dead_are_removed_and_those_in_use_are_not(tmp_path: Path) -> None:
    parent = tmp_path / "scratch"
    left, left_lock = owner.own_folder(parent, "host/machine/1/1")
    used, lock = owner.own_folder(parent, "host/machine/2/2")
    assert left.is_dir(), "it is in use"
    left_lock.release()  # as the end of its process does
    mine, mine_lock = owner.own_folder(parent, "host/machine/3/3")
    assert [path.name for path in sorted(parent.iterdir())] == [used.name, mine.name]
    lock.release()
    mine_lock.release()


def test_many_processes_that_begin_at_once_leave_each_other_alone(tmp_path: Path) -> None:
    parent = tmp_path / "scratch"

    def begin_and_end(number: int) -> bool:
        folder, lock = owner.own_folder(parent, f"host/machine/{number}/1")
        (folder / "file").write_text("mine")
        whole = (folder / "file").exists()
        owner.leave_folder(folder, lock)
        return whole

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(begin_and_end, range(200)))
    assert not list(parent.iterdir())
