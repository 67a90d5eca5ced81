"""Prefect's server: the one that PREFECT_API_URL names, else one of our own in the background.

Our own is started once, in a process of its own that outlives the command, and found again by
the next one through a small file in LONGREEL_HOME.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

from film.errors import OrchestrationError
from film.settings import Settings

START_SECONDS = 120.0
"""Longest that a server may take to answer; a first start makes its tables."""

_started: list[subprocess.Popen[bytes]] = []
"""Servers this process started; they outlive it, so nothing waits for them."""

_ENVIRONMENT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # Without these a segment's task run costs twice the processor time.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}


def ensure(settings: Settings) -> str:
    """The API URL of a server that answers, started where need be.

    Raises `OrchestrationError` where it does not come up, or where the one that
    PREFECT_API_URL names does not answer.
    """
    if settings.prefect_api_url:
        if not answers(settings.prefect_api_url, patience=10.0):
            raise OrchestrationError(
                f"The Prefect server at {settings.prefect_api_url} does not answer; start it, or "
                f"unset PREFECT_API_URL to use the embedded one."
            )
        return settings.prefect_api_url
    folder = settings.home / "prefect"
    folder.mkdir(parents=True, exist_ok=True)
    # Of two commands at the same time one starts the server and the other finds it.
    with FileLock(folder / "server.lock", timeout=START_SECONDS + 30):
        return running(settings) or _start(settings, folder)


def use(url: str) -> None:
    """Makes `url` the server of this process; to be called before prefect is imported."""
    os.environ["PREFECT_API_URL"] = url
    # The terminal is for our own progress; the server gets every line all the same.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")


def running(settings: Settings) -> str | None:
    """The API URL of our own server, None where it does not answer."""
    state = _state(settings)
    if state is None or not _alive(state["pid"]):
        return None
    url: str = state["url"]
    return url if answers(url, patience=5.0) else None


def stop(settings: Settings) -> bool:
    """Stops our own server; False where none runs."""
    state = _state(settings)
    if state is None or not _alive(state["pid"]):
        return False
    process = psutil.Process(state["pid"])
    family = [process, *process.children(recursive=True)]
    process.send_signal(signal.SIGTERM)
    _, left = psutil.wait_procs(family, timeout=15)
    for one in left:
        one.kill()
    (settings.home / "prefect" / "server.json").unlink(missing_ok=True)
    return True


def answers(url: str, patience: float) -> bool:
    """Whether a Prefect API answers at `url` within `patience` seconds."""
    end = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.1)


def _state(settings: Settings) -> dict[str, Any] | None:
    try:
        return dict(json.loads((settings.home / "prefect" / "server.json").read_text()))
    except (OSError, ValueError):
        return None


def _alive(pid: int) -> bool:
    try:
        return "prefect" in " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


def _start(settings: Settings, folder: Path) -> str:
    port = _free_port(settings.prefect_port)
    url = f"http://127.0.0.1:{port}/api"
    log = folder / "server.log"
    environment = {"PREFECT_HOME": str(folder.absolute()), **os.environ, **_ENVIRONMENT}
    environment["PREFECT_API_URL"] = url
    environment["PREFECT_SERVER_API_HOST"] = "127.0.0.1"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )
    _started.append(process)
    state = {"pid": process.pid, "url": url}
    (folder / "server.json").write_text(json.dumps(state))
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        if answers(url, patience=0):
            return url
        time.sleep(0.1)
    raise OrchestrationError(
        f"Prefect's server did not come up on port {port}; what it said is in {log}."
    )


def _free_port(wanted: int) -> int:
    """`wanted` where nothing listens there, else any free port."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise OrchestrationError("No port is free for Prefect's server.")
