"""Names of processes that hold leases, from which other processes see if they still run.

A lease runs out by itself. But if its owner was a process of this machine that is gone, no process
needs to wait for that.
"""

from __future__ import annotations

import os
import socket
import uuid
from pathlib import Path

import psutil


def this_process() -> str:
    """`host/machine/pid/start`; the start time distinguishes processes that get the same id."""
    pid = os.getpid()
    return f"{socket.gethostname()}/{_machine()}/{pid}/{start_time(pid)}"


def is_dead(owner: str) -> bool:
    """True if `owner` was a process of this machine that is gone; False if that is not known."""
    try:
        _, machine, pid, since = owner.split("/")
    except ValueError:
        return False
    return machine == _machine() and start_time(int(pid)) != since


def start_time(pid: int) -> str:
    """When a process started, in clock ticks since the boot; empty if there is none.

    Not the time of day, which changes when the clock is set.
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
    """What process ids are unique in: the boot and, on Linux, the namespace of processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
        return f"{boot}-{Path('/proc/self/ns/pid').readlink().name.strip('pid:[]')}"
    except OSError:
        return f"{uuid.getnode():x}"
