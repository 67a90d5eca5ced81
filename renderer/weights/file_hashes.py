"""SHA-256 of files that may be very large: computed once, and kept while they stay as they are."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from media.atomic_files import replacing

KEPT_FROM = 2**20
"""Bytes; smaller files are read again each time."""
BLOCK = 8 * 2**20
TOLD_AFTER = 2.0
"""Seconds of reading after which a note about it is printed."""


def of_files(paths: Sequence[Path], home: Path, *, reading: bool = True) -> list[str] | None:
    """The digest (64 hex digits) of each file; None if a large one would have to be read and
    `reading` is False.

    Digests of large files are kept in `home`, by path, size and time of change. Raises `OSError`.
    """
    reader = _Reader(sum(path.stat().st_size for path in paths))
    found = []
    for path in paths:
        known = _known(path, home)
        if known is None and not reading and path.stat().st_size >= KEPT_FROM:
            return None
        found.append(known or _read(path, home, reader))
    return found


class _Reader:
    """Reads files, and prints a note if that takes long."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._began = time.monotonic()
        self._told = not sys.stderr.isatty()

    def digest(self, path: Path) -> str:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
                self._tell(path)
        return digest.hexdigest()

    def _tell(self, path: Path) -> None:
        if self._told or time.monotonic() - self._began < TOLD_AFTER:
            return
        self._told = True
        sys.stderr.write(
            f"Reading {self._size / 1e9:.1f} GB around {path} to know which weights they are; "
            f"this is done once.\n"
        )


def _read(path: Path, home: Path, reader: _Reader) -> str:
    state = _state(path)
    digest = reader.digest(path)
    if path.stat().st_size >= KEPT_FROM and _state(path) == state:
        note = _note(path, home)
        note.parent.mkdir(parents=True, exist_ok=True)
        with replacing(note) as begun:
            begun.write_text(f"{state} {digest}\n{path}\n", errors="surrogateescape")
    return digest


def _known(path: Path, home: Path) -> str | None:
    try:
        state, _, digest = _note(path, home).read_text().split("\n")[0].rpartition(" ")
    except (OSError, ValueError):
        return None
    return digest if state == _state(path) and len(digest) == 64 else None


def _state(path: Path) -> str:
    found = path.stat()
    return f"{found.st_size} {found.st_mtime_ns}"


def _note(path: Path, home: Path) -> Path:
    name = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:32]
    return home / "digests" / name
