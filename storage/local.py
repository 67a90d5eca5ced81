"""A store in a folder: plain files that can be played and copied, each written in one step.

Next to the objects is one folder of the store's own, `.store`:

::

    .store/incoming/   files being written; each is locked by its writer, so one left behind
                       by a writer that died is known by its lock being free
    .store/sha256/     for each object a file of the same name with its checksum
    .store/lock        held for the moment in which object and checksum change places
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from film.errors import ObjectMissingError, StoreError
from storage.base import ObjectInfo, check_expires, corrupt
from storage.files import copy, os_errors, replacing, sync_folder
from storage.keys import check_key, check_prefix

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
"""What file systems without locks answer."""
UNLOCKED_STALE_SECONDS = 24 * 3600.0
"""Without locks, only its age shows that a writer is dead."""
NOT_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class LocalStore:
    """An `ObjectStore` in the folder `root`, which is made when first written to.

    `stale_seconds` is how old an unlocked file of a dead writer must be before it is removed;
    it covers the instant between making such a file and locking it.
    """

    def __init__(self, root: Path, *, stale_seconds: float = 60.0) -> None:
        self.root = root.absolute()
        self._incoming_folder = self.root / ".store" / "incoming"
        self._sums = self.root / ".store" / "sha256"
        self._stale_seconds = stale_seconds
        self._prepared = False

    @property
    def url(self) -> str:
        """The folder as a `file://` URL."""
        return self.root.as_uri()

    def put_file(
        self, key: str, path: str | Path, *, content_type: str | None = None
    ) -> ObjectInfo:
        """See `ObjectStore`; files carry no content type, so `content_type` is not kept."""
        check_key(key)
        with Path(path).open("rb") as source, self._errors():
            self._prepare()
            with self._incoming() as data, self._incoming() as note:
                digest, size = copy(source, data)
                note.write(f"{digest}\n".encode())
                self._publish(key, data, note)
        return ObjectInfo(key=key, size_bytes=size, sha256=digest)

    def get_file(self, key: str, path: str | Path) -> ObjectInfo:
        """See `ObjectStore`."""
        check_key(key)
        source, recorded = self._open(key)
        target = Path(path)
        with (
            source,
            os_errors(f"the folder {target.parent}", "Check that it can be written to."),
            replacing(target) as copied,
        ):
            digest, size = copy(source, copied)
            if recorded.sha256 not in (None, digest):
                raise corrupt(self.url, recorded, digest)
        return ObjectInfo(key=key, size_bytes=size, sha256=digest)

    def head(self, key: str) -> ObjectInfo | None:
        """See `ObjectStore`."""
        try:
            source, info = self._open(check_key(key))
        except ObjectMissingError:
            return None
        source.close()
        return info

    def delete(self, key: str) -> None:
        """See `ObjectStore`; folders that this leaves empty go too."""
        target, note = self._paths(check_key(key))
        with self._errors(), self._lock(fcntl.LOCK_EX):
            if target.is_dir():
                return
            for path, top in ((target, self.root), (note, self._sums)):
                with suppress(*NOT_THERE):
                    path.unlink()
                _remove_empty(path.parent, top)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See `ObjectStore`."""
        folder, slash, _ = check_prefix(prefix).rpartition("/")
        with self._errors():
            yield from _walk(self.root / folder, folder + slash, prefix)

    def link(self, key: str, expires: float, filename: str | None = None) -> str:
        """See `ObjectStore`; the `file://` URL of the object, good on this machine only."""
        check_expires(expires)
        return self._paths(check_key(key))[0].as_uri()

    def check(self) -> None:
        """See `ObjectStore`; also removes what writers that died have left."""
        with self._errors():
            self._prepare(again=True)
            with self._incoming() as probe:
                probe.write(b"longreel")
                _sync(probe)
            next(_walk(self.root, "", ""), None)

    def _prepare(self, *, again: bool = False) -> None:
        """Make our folders and sweep them, once for each process."""
        # Users tidy: the folder may be gone under a process that made it.
        if not self._prepared or again or not self._incoming_folder.is_dir():
            self._incoming_folder.mkdir(parents=True, exist_ok=True)
            self._sums.mkdir(exist_ok=True)
            self._sweep()
            self._prepared = True

    def _publish(self, key: str, data: BinaryIO, note: BinaryIO) -> None:
        """Give the written files their names, both or (by a crash) the object alone."""
        target, sums = self._paths(key)
        _sync(data)
        _sync(note)
        with self._lock(fcntl.LOCK_EX):
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                sums.parent.mkdir(parents=True, exist_ok=True)
                # Without its checksum for an instant, never with that of another.
                sums.unlink(missing_ok=True)
                Path(data.name).replace(target)
                Path(note.name).replace(sums)
            except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
                raise StoreError(
                    f"Cannot store {key} in {self.url}: {_in_the_way(target, sums)} is in its way. "
                    "Move that file or folder elsewhere."
                ) from error
        sync_folder(target.parent)

    def _open(self, key: str) -> tuple[BinaryIO, ObjectInfo]:
        """An object to read, and what is recorded about these very bytes."""
        target, note = self._paths(key)
        with self._errors(), self._lock(fcntl.LOCK_SH):
            try:
                source = target.open("rb")
            except NOT_THERE:
                raise ObjectMissingError(
                    f"There is no object {key} in {self.url}; it was deleted or never stored."
                ) from None
            digest = note.read_text().strip() if note.is_file() else None
        size = os.fstat(source.fileno()).st_size
        return source, ObjectInfo(key=key, size_bytes=size, sha256=digest)

    def _paths(self, key: str) -> tuple[Path, Path]:
        return self.root / key, self._sums / key

    @contextmanager
    def _incoming(self) -> Iterator[BinaryIO]:
        """A new locked file; removed on leaving unless it was given another name."""
        path = self._incoming_folder / secrets.token_hex(16)
        with path.open("xb") as handle:
            _flock(handle.fileno(), fcntl.LOCK_EX)
            try:
                yield handle
            finally:
                path.unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what writers that died have left."""
        for path in self._incoming_folder.iterdir():
            with suppress(OSError), path.open("rb") as handle:
                age = time.time() - os.fstat(handle.fileno()).st_mtime
                if age >= self._stale_seconds:
                    locks = _flock(handle.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if locks or age >= UNLOCKED_STALE_SECONDS:
                        path.unlink(missing_ok=True)

    @contextmanager
    def _lock(self, how: int) -> Iterator[None]:
        """Hold the lock of the store; reading needs no right to write to the folder."""
        flags = os.O_RDONLY if how == fcntl.LOCK_SH else os.O_RDWR | os.O_CREAT
        try:
            handle = os.open(self.root / ".store" / "lock", flags, 0o666)
        except (FileNotFoundError, NotADirectoryError):
            yield  # nothing was ever written here
            return
        try:
            _flock(handle, how)
            yield
        finally:
            os.close(handle)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with os_errors(
            f"the store {self.url}",
            "Check that LONGREEL_STORE_URL names a folder that exists or can be made, "
            "and that this user may write to it.",
        ):
            yield


def _in_the_way(*targets: Path) -> Path:
    """The folder in the place of one of the files `targets`, or the file in that of one of their
    folders."""
    for target in targets:
        for folder in reversed(target.parents):
            if folder.exists() and not folder.is_dir():
                return folder
        if target.is_dir():
            return target
    return targets[0]


def _flock(handle: int, how: int) -> bool:
    """Lock an open file; False if its file system has no locks."""
    try:
        fcntl.flock(handle, how)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return False
    return True


def _sync(handle: BinaryIO) -> None:
    handle.flush()
    os.fsync(handle.fileno())


def _walk(folder: Path, above: str, prefix: str) -> Iterator[ObjectInfo]:
    """Objects under `folder`, whose keys begin with `above`, in the order of their keys."""
    try:
        with os.scandir(folder) as scan:
            # The slash belongs to the key, so it takes part in the order: a-b, a/b, a0.
            entries = sorted((e.name + "/" * e.is_dir(), e) for e in scan if e.name[0] != ".")
    except NOT_THERE:
        return
    for name, entry in entries:
        key = above + name
        if name.endswith("/") and (key.startswith(prefix) or prefix.startswith(key)):
            yield from _walk(Path(entry.path), key, prefix)
        elif key.startswith(prefix) and entry.is_file():
            with suppress(FileNotFoundError):
                found = entry.stat()
                yield ObjectInfo(
                    key=key, size_bytes=found.st_size, sha256=None, modified_at=found.st_mtime
                )


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove `folder` and those above it as long as they are empty; never `top`."""
    with suppress(OSError):
        while folder != top:
            folder.rmdir()
            folder = folder.parent
