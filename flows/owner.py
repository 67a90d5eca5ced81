"""Who holds a lease: a name for this process that tells others whether it still lives.

A lease runs out by itself; but where its owner was a process of this very machine that is gone,
nobody needs to wait for that.
"""

from __future__ import annotations

import os
import socket
import uuid
from pathlib import Path

import psutil

from db import film_lease, placements, segments, workers
from db.engine import Database
from film.errors import SettingsError


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
