"""Who holds a lease: a name for this process that tells others whether it still lives.

A lease runs out by itself; but where its owner was a process of this very machine that is gone,
nobody needs to wait for that.
"""

from __future__ import annotations

import os
import shutil
import socket
import uuid
from pathlib import Path

import psutil

from db import films, segments
from db.engine import Database


def this_process() -> str:
    """`host/machine/pid/start`; the start time tells a reused process number apart."""
    pid = os.getpid()
    return f"{socket.gethostname()}/{_machine()}/{pid}/{_started(pid)}"


def is_dead(owner: str) -> bool:
    """True where `owner` was a process of this machine that is gone; False where unknown."""
    try:
        _, machine, pid, started = owner.split("/")
    except ValueError:
        return False
    return machine == _machine() and _started(int(pid)) != started


def release_dead(database: Database) -> list[str]:
    """Ends the leases that dead processes of this machine hold; returns the flow runs they left."""
    with database.read() as connection:
        dead = [name for name in segments.owners(connection) if is_dead(name)]
    left: list[str] = []
    for name in dead:
        with database.write() as connection:
            segments.release_owner(connection, name)
            left += films.release_owner(connection, name)
    return left


def own_folder(parent: Path, owner: str) -> Path:
    """A new folder for `owner` in `parent`; folders of dead owners of this machine are removed."""
    parent.mkdir(parents=True, exist_ok=True)
    for folder in parent.iterdir():
        if is_dead(folder.name.replace(",", "/")):
            shutil.rmtree(folder, ignore_errors=True)
    mine = parent / owner.replace("/", ",")
    mine.mkdir(exist_ok=True)
    return mine


def _machine() -> str:
    """What separates process numbers: the boot and, on Linux, the namespace of processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
        return f"{boot}-{Path('/proc/self/ns/pid').readlink().name.strip('pid:[]')}"
    except OSError:
        return f"{uuid.getnode():x}-{int(psutil.boot_time())}"


def _started(pid: int) -> str:
    """When a process started, in hundredths of a second; empty where there is none."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        return str(round(process.create_time() * 100))
    except psutil.Error:
        return ""
