"""Files that are either whole or not there."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from film.errors import MediaError, StoreFullError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name next to `path` to write to; it becomes `path` when the block ends without an error.

    A symbolic link stays, and what it names is written. On any exception, `KeyboardInterrupt`
    included, the written file is removed and `path` is as before. Raises `MediaError` if `path`
    cannot be a file, `StoreFullError` if the disk is full.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise MediaError(f"{path} cannot be written: something that is not a file is there.")
    if not path.parent.is_dir():
        raise MediaError(f"{path} cannot be written: its folder does not exist.")
    partial = _partial_name(path)
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise_if_full(error, path)
        raise
    finally:
        partial.unlink(missing_ok=True)


def raise_if_full(error: OSError, path: Path) -> None:
    """Raises `StoreFullError` if `error` means that the disk or the quota is used up."""
    if error.errno in NO_SPACE:
        raise full(f"writing {path}") from error


def full(doing: str) -> StoreFullError:
    """The error for a disk that filled up while `doing`."""
    return StoreFullError(
        f"No space was left on the disk while {doing}. Free some, then try again."
    )


def ffmpeg_name(path: Path) -> str:
    """`path` so that ffmpeg takes it as a file, whatever characters are in it.

    Without the prefix `a:b.mp4` would be a protocol and `-a.mp4` an option.
    """
    return f"file:{path.absolute()}"


def _partial_name(path: Path) -> Path:
    # Short and hidden: a long name of the film must not become one that is too long.
    return path.parent / f".{uuid.uuid4().hex[:12]}.part"
