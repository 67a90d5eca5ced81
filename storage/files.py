"""Files on this machine: copying with a checksum, replacing in one step, what went wrong."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from film.errors import StoreFullError, StoreUnreachableError

PIECE_BYTES = 1 << 20
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Readable(Protocol):
    """What bytes come out of: a file, or the body of an answer."""

    def read(self, amount: int, /) -> bytes:
        """Up to `amount` bytes; none after the last one."""


def copy(source: Readable, target: BinaryIO | None = None) -> tuple[str, int]:
    """Read all of `source`, into `target` if given: its SHA-256 (hex) and bytes."""
    digest, size = hashlib.sha256(), 0
    while piece := source.read(PIECE_BYTES):
        digest.update(piece)
        size += len(piece)
        if target is not None:
            target.write(piece)
    return digest.hexdigest(), size


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` on leaving without an error.

    Otherwise it is removed, and `path` is as it was. Folders above `path` are made. A symbolic link
    stays, and what it names is written.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as handle:
            yield handle
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def os_errors(place: str, remedy: str) -> Iterator[None]:
    """Failures of the operating system at `place` as store errors."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in FULL:
            raise StoreFullError(f"No space is left in {place} ({reason}). Free some.") from error
        raise StoreUnreachableError(f"Cannot use {place}: {reason}. {remedy}") from error


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable, if the file system supports it."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass  # some network file systems refuse it; the bytes themselves are synced
    finally:
        os.close(handle)
