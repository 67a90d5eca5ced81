from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from film.settings import Settings


@pytest.fixture
def use_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a shell script in ffmpeg's place."""

    def use(script: str) -> None:
        path = tmp_path / "fake-ffmpeg"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr("media.ffmpeg.executable.settings", lambda: Settings(ffmpeg=str(path)))

    return use


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file that is being written goes to a device that is always full."""

    def link(path: Path) -> Path:
        partial = path.parent / ".full.part"
        partial.unlink(missing_ok=True)
        partial.symlink_to("/dev/full")
        return partial

    monkeypatch.setattr("media.atomic_files._partial_name", link)
