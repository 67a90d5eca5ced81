"""Server processes that cannot outlive the tests which started them."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

# Runs before the server, in its process: gives up root, and asks Linux for a signal at the
# death of the parent. (A preexec_fn would do the same, but warns when there are threads.)
_SHIM = """
import os, sys
signal, uid, gid, parent, *command = sys.argv[1:]
try:
    import ctypes
    prctl = ctypes.CDLL(None).prctl
except (ImportError, AttributeError, OSError):
    prctl = None
if uid != "-":
    os.setgroups([]); os.setgid(int(gid)); os.setuid(int(uid))
if prctl:
    prctl(1, int(signal))  # PR_SET_PDEATHSIG, which a change of user would undo
if os.getppid() != int(parent):
    sys.exit("the tests are gone")
os.execv(command[0], command)
"""

ATTEMPTS = 3
"""Starts of a server, because another process may take the port that was free."""


class ServerFailedError(RuntimeError):
    """A server did not start; the message holds the end of its log."""


@dataclass(frozen=True)
class User:
    """An account of the operating system to run a server as."""

    uid: int
    gid: int


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(
    command: Sequence[str],
    log: Path,
    *,
    user: User | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
    cwd: Path | None = None,
    environment: dict[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a server in the foreground, its output in `log`; in our own environment, or another.

    Linux sends it `death_signal` when the thread that called this ends, so call it from the
    main thread. Elsewhere only `atexit` ends it.
    """
    who = (str(user.uid), str(user.gid)) if user else ("-", "-")
    program = shutil.which(command[0]) or command[0]
    shim = [sys.executable, "-I", "-S", "-c", _SHIM, str(int(death_signal)), *who]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*shim, str(os.getpid()), program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=cwd,
            env=environment,
        )
    atexit.register(stop, process, signal.SIGKILL)
    return process


def stop(
    process: subprocess.Popen[bytes],
    how: signal.Signals = signal.SIGTERM,
    *,
    seconds: float = 10,
) -> None:
    """End a process with the signal `how`, and by force after `seconds`."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(
    ready: Callable[[], bool],
    processes: Sequence[subprocess.Popen[bytes]],
    log: Path,
    *,
    seconds: float = 30,
) -> None:
    """Wait for `ready`; raises `ServerFailedError` when a process ends or time runs out."""
    deadline = time.monotonic() + seconds
    while not ready():
        ended = [process for process in processes if process.poll() is not None]
        if ended or time.monotonic() > deadline:
            what = f"ended with {ended[0].returncode}" if ended else f"not up in {seconds} s"
            tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            raise ServerFailedError(f"The server {what}. The end of {log.name}:\n{tail}")
        time.sleep(0.03)


def answers(port: int) -> bool:
    """True if a port of 127.0.0.1 accepts connections."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def temporary_folder(name: str) -> Path:
    """A new folder with a short path that every user can reach, removed at our end."""
    places = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]
    place = next((place for place in places if _reachable(place)), places[0])
    folder = Path(tempfile.mkdtemp(prefix=f"longreel-{name}-", dir=place))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _reachable(folder: Path) -> bool:
    """True if any user may pass through `folder` and those above it."""
    whole = folder.resolve()
    return all(part.is_dir() and part.stat().st_mode & 0o001 for part in (whole, *whole.parents))
