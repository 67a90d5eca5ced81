"""Who holds a lease: a name for this process that tells others whether it still lives.

A lease runs out by itself; but where its owner was a process of this very machine that is gone,
nobody needs to wait for that.
"""

from __future__ import annotations

import os
import shutil
import socket
import uuid
from contextlib import suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from db import film_lease, placements, segments, workers
from db.engine import Database
from film.errors import SettingsError

_LOCK = "in-use"


def this_process() -> str:
    """`host/machine/pid/start`; the start time tells a reused process number apart."""
    pid = os.getpid()
    return f"{socket.gethostname()}/{_machine()}/{pid}/{started(pid)}"


def is_dead(owner: str) -> bool:
    """True where `owner` was a process of this machine that is gone; False where unknown."""
    try:
        _, machine, pid, since = owner.split("/")
    except ValueError:
        return False
    return machine == _machine() and started(int(pid)) != since


def release_dead(database: Database) -> list[str]:
    """Ends what dead processes of this machine held: leases, workers, placements.

    Returns the films' flow runs that they left.
    """
    with database.read() as connection:
        known = segments.owners(connection) | workers.owners(connection)
        known |= placements.owners(connection)
    dead = [name for name in known if is_dead(name)]
    left: list[str] = []
    for name in dead:
        with database.write() as connection:
            segments.release_owner(connection, name)
            workers.end_owner(connection, name)
            placements.end_owner(connection, name)
            left += film_lease.release_owner(connection, name)
    return left


def writable(folder: Path) -> Path:
    """`folder`, made where it is missing. Raises `SettingsError` where that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"The folder {folder} cannot be made ({error.strerror}); LONGREEL_HOME must be a "
            f"folder that you can write to."
        ) from None
    if not os.access(folder, os.W_OK):
        raise SettingsError(
            f"The folder {folder} cannot be written to; set LONGREEL_HOME to one that can."
        )
    return folder


def own_folder(parent: Path, owner: str) -> tuple[Path, FileLock]:
    """A new folder for `owner` in `parent`, and the lock that says that it is in use.

    Folders whose lock nobody holds were left by dead processes, and are removed.
    """
    writable(parent)
    # One at a time: a folder that was made but is not locked yet looks like one left behind.
    with FileLock(_lock_of(parent)):
        for folder in parent.iterdir():
            _remove_if_left(folder)
        mine = parent / owner.replace("/", ",")
        mine.mkdir(exist_ok=True)
        lock = FileLock(mine / _LOCK)
        lock.acquire()
    return mine, lock


def leave_folder(folder: Path, lock: FileLock) -> None:
    """Removes one's own folder, and lets go of its lock."""
    # Not while somebody looks for folders left behind, who would put a lock of his own into it.
    with suppress(OSError), FileLock(_lock_of(folder.parent)):
        shutil.rmtree(folder, ignore_errors=True)
    lock.release()


def _lock_of(parent: Path) -> Path:
    return parent.with_name(f"{parent.name}.lock")


def _remove_if_left(folder: Path) -> None:
    try:
        with FileLock(folder / _LOCK, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
    except (Timeout, OSError):
        return  # in use, or removed by somebody else in this moment


def started(pid: int) -> str:
    """When a process started, in clock ticks since the boot; empty where there is none.

    The time of day will not do: it changes when the clock is set.
    """
    try:
        # After the name, which may hold anything: the third field is its state, the 22nd this.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.0f}"
    except psutil.Error:
        return ""


def _machine() -> str:
    """What separates process numbers: the boot and, on Linux, the namespace of processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
        return f"{boot}-{Path('/proc/self/ns/pid').readlink().name.strip('pid:[]')}"
    except OSError:
        return f"{uuid.getnode():x}"
