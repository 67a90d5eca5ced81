"""Prefect's server: the one that PREFECT_API_URL names, else an embedded one in the background.

The embedded server is started once, in a process that outlives the command, and the next command
finds it through a small file in LONGREEL_HOME. It belongs to Longreel alone: it runs in a folder of
its own with an environment of its own, so that no Prefect setting that the user has for other work
(variable, profile, `.env`, `prefect.toml`, `pyproject.toml`) can give it another database, which it
would migrate and empty.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import psutil
from filelock import FileLock, Timeout

from film.errors import OrchestrationError
from film.settings import Settings
from flows.machine import process_identity
from flows.machine.scratch import ensure_writable

logger = logging.getLogger(__name__)

START_SECONDS = 120.0
"""Longest that a server may take to answer; a first start makes its tables."""

FLOW_RUNS_DAYS = 14
"""Days for which the embedded server keeps flow runs, with their task runs, after they end."""
EVENTS_DAYS = 1
"""Days for which it keeps Prefect's own events."""

_used: str | None = None

_started: list[int] = []
"""Servers this process started, by the numbers of their processes; they outlive it."""

ANSWER_SECONDS = 5.0
"""How long a server of the user's own may take to answer before a command fails."""

SERVER_SETTINGS = {
    "PREFECT_SERVER_API_HOST": "127.0.0.1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # Without these a segment's task run costs twice the processor time.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    # 17 KB a segment would grow for ever; a film's history is in Longreel's own database.
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(FLOW_RUNS_DAYS * 24 * 3600),
    "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"P{EVENTS_DAYS}D",
}
"""Environment of the embedded server, in addition to its folder and address."""

_RUN_PREFECT = (
    "import os, runpy, sys; os.chdir(sys.argv.pop(1)); "
    "runpy.run_module('prefect', run_name='__main__', alter_sys=True)"
)
"""Runs `prefect` in the folder that the first argument names. Prefect reads settings from the
working folder, and `posix_spawn` cannot set one."""


def ensure(settings: Settings, stopping: Callable[[], bool] = lambda: False) -> str:
    """The API URL of a server that answers, started if necessary.

    Raises `OrchestrationError` if it does not start, if the one that PREFECT_API_URL names does not
    answer, or if `stopping` becomes true meanwhile.
    """
    if settings.prefect_api_url:
        require(settings)
        return settings.prefect_api_url.rstrip("/")
    folder = ensure_writable(settings.home / "prefect")
    # If two commands run at the same time, one starts the server and the other finds it.
    with _alone(folder, stopping):
        return _found(settings, stopping) or _start(settings, folder, stopping)


def require(settings: Settings) -> None:
    """Raises `OrchestrationError` if the server that PREFECT_API_URL names does not answer.

    Does nothing if the embedded server is used, because that one can be started.
    """
    if settings.prefect_api_url:
        url = settings.prefect_api_url.rstrip("/")
        shown = _without_password(url)
        if not answers(url, patience=ANSWER_SECONDS):
            if answers(f"{url}/api", patience=0.0):
                raise OrchestrationError(
                    f"Prefect answers at {shown}, but its API is at {shown}/api: set "
                    f"PREFECT_API_URL to that."
                )
            raise OrchestrationError(
                f"The Prefect server at {shown} does not answer; start it, or unset "
                f"PREFECT_API_URL to use the embedded one."
            )
        if _refuses_password(url):
            raise OrchestrationError(
                f"The Prefect server at {shown} refuses the password: set PREFECT_API_AUTH_STRING "
                f"to what PREFECT_SERVER_API_AUTH_STRING is there (or PREFECT_API_KEY)."
            )


@contextmanager
def _alone(folder: Path, stopping: Callable[[], bool]) -> Iterator[None]:
    lock = FileLock(folder / "server.lock")
    end = time.monotonic() + 2 * START_SECONDS
    while True:
        try:
            lock.acquire(timeout=0.2)
            break
        except Timeout:
            if stopping() or time.monotonic() > end:
                raise OrchestrationError(
                    "Another command is starting the Prefect server and does not succeed; "
                    "wait for it, or stop it."
                ) from None
    try:
        yield
    finally:
        lock.release()


def _found(settings: Settings, stopping: Callable[[], bool]) -> str | None:
    """The API URL of the embedded server if its process lives; one that is silent is stopped."""
    state = _state(settings)
    if state is None or not _alive(state):
        return None
    url: str = state["url"]
    # It may be starting, or the machine may be busy: a second server would be worse.
    if answers(url, patience=START_SECONDS, stopping=stopping):
        return url
    if stopping():
        raise OrchestrationError("Stopped while waiting for the Prefect server.")
    stop(settings)
    return None


def use(url: str, settings: Settings) -> None:
    """Makes `url` the Prefect server of this process; to be called before prefect is imported.

    With the embedded server, the process gets the embedded server's client settings instead of the
    user's.
    """
    global _used
    if not settings.prefect_api_url:
        for name in _prefect_variables():
            del os.environ[name]
        os.environ.update(_own_settings((settings.home / "prefect").absolute()))
    _used = os.environ["PREFECT_API_URL"] = url
    # The terminal is for our own progress; the server gets every line all the same.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "CRITICAL")
    # Usage statistics stay off.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    # A server that is gone holds up the end of a flow by each of these, twice as long each time.
    os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "3")


def started_here() -> str | None:
    """The address of the dashboard whose server this process started, and leaves running."""
    return (_used or "").removesuffix("/api") if _started else None


def started() -> bool:
    """True if this process started a server."""
    return bool(_started)


def is_away() -> bool:
    """True if the server that this process used does not answer any more."""
    return _used is not None and not answers(_used, patience=0.0)


def stop(settings: Settings) -> bool:
    """Stops the embedded server; False if none runs."""
    state = _state(settings)
    if state is None or not _alive(state):
        return False
    try:
        process = psutil.Process(state["pid"])
        family = [process, *process.children(recursive=True)]
        process.send_signal(signal.SIGTERM)
        _, left = psutil.wait_procs(family, timeout=15)
        for one in left:
            one.kill()
    except psutil.NoSuchProcess:
        logger.debug("The Prefect server had ended already")
    (settings.home / "prefect" / "server.json").unlink(missing_ok=True)
    return True


def answers(url: str, patience: float, stopping: Callable[[], bool] = lambda: False) -> bool:
    """True if a Prefect API answers at `url` within `patience` seconds."""
    end = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as response:
                return bool(response.status == 200)
        except (OSError, ValueError, HTTPException) as error:
            logger.debug("No answer from %s: %s", url, error)
            if time.monotonic() >= end or stopping():
                return False
            time.sleep(0.1)


def _refuses_password(url: str) -> bool:
    """True if the API asks for a password, and refuses the one that this process has.

    /health needs no password.
    """
    request = urllib.request.Request(f"{url}/admin/version")
    if password := os.environ.get("PREFECT_API_AUTH_STRING"):
        encoded = base64.b64encode(password.encode()).decode()
        request.add_header("Authorization", f"Basic {encoded}")
    elif key := os.environ.get("PREFECT_API_KEY"):
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=5):
            return False
    except HTTPError as error:
        return error.code in (401, 403)
    except (OSError, ValueError, HTTPException) as error:
        logger.debug("No answer from %s: %s", url, error)
        return False


def _without_password(url: str) -> str:
    """`url` as it may be shown."""
    return re.sub(r"//[^/@]*@", "//", url)


def _state(settings: Settings) -> dict[str, Any] | None:
    try:
        return dict(json.loads((settings.home / "prefect" / "server.json").read_text()))
    except (OSError, ValueError):
        return None


def _alive(state: dict[str, Any]) -> bool:
    """True if the process of the note is still that server, and not another one with its id."""
    return (
        bool(state.get("started")) and process_identity.start_time(state["pid"]) == state["started"]
    )


def _start(settings: Settings, folder: Path, stopping: Callable[[], bool]) -> str:
    port = _free_port(settings.prefect_port)
    url = f"http://127.0.0.1:{port}/api"
    folder = folder.absolute()
    log = folder / "server.log"
    _rotate(log)
    environment = {**_foreign_settings_removed(), **_own_settings(folder), **SERVER_SETTINGS}
    environment["PREFECT_API_URL"] = url
    # No page of another server that is open in a browser on this machine may use the API.
    environment["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] = url.removesuffix("/api")
    # -P: no file of the user's working folder is imported.
    prefect = ["-P", "-c", _RUN_PREFECT, str(folder)]
    pid = _spawned([*prefect, "server", "start", "--port", str(port)], environment, log)
    _started.append(pid)
    state = {"pid": pid, "started": process_identity.start_time(pid), "url": url}
    _note(folder, state)
    end = time.monotonic() + START_SECONDS
    while _alive(state) and time.monotonic() < end:
        if answers(url, patience=0):
            return url
        if stopping():
            raise OrchestrationError("Stopped while the Prefect server was starting.")
        time.sleep(0.1)
    raise OrchestrationError(
        f"Prefect's server did not start on port {port}; its output is in {log}."
    )


LOG_BYTES = 10_000_000
"""A larger log is put aside when the server is started."""


def _rotate(log: Path) -> None:
    """Keeps one log of before, so that they do not grow for ever."""
    with suppress(OSError):
        if log.stat().st_size > LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))


def _prefect_variables() -> list[str]:
    """Names of the environment variables that Prefect reads; it ignores their case."""
    return [name for name in os.environ if name.upper().startswith("PREFECT_")]


def _foreign_settings_removed() -> dict[str, str]:
    """This process's environment without any Prefect setting."""
    foreign = set(_prefect_variables())
    return {name: value for name, value in os.environ.items() if name not in foreign}


def _own_settings(folder: Path) -> dict[str, str]:
    """Prefect settings of the embedded server and of its clients.

    Variables take precedence over files, so these also outweigh a `.env` or `prefect.toml` in the
    working folder of a client.
    """
    return {
        "PREFECT_HOME": str(folder),
        "PREFECT_PROFILES_PATH": str(folder / "profiles.toml"),
        "PREFECT_API_KEY": "",
        "PREFECT_API_AUTH_STRING": "",
        "PREFECT_CLIENT_CUSTOM_HEADERS": "{}",
    }


def _spawned(arguments: list[str], environment: Mapping[str, str], log: Path) -> int:
    """The process id of a Python process in a session of its own, which writes its output to `log`.

    Not by `Popen`, which is for children that are waited for, and warns about others.
    """
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, *arguments],
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    threading.Thread(target=_reap, args=(pid,), name="prefect server", daemon=True).start()
    return pid


def _reap(pid: int) -> None:
    """Reaps it if it ends before this process does."""
    with suppress(ChildProcessError):  # the process that stopped it was first
        os.waitpid(pid, 0)


def _note(folder: Path, state: dict[str, Any]) -> None:
    """Writes the note whole or not at all, so that no server is ever lost sight of."""
    partial = folder / "server.json.part"
    partial.write_text(json.dumps(state))
    partial.replace(folder / "server.json")


def _free_port(wanted: int) -> int:
    """`wanted` if nothing listens there, else any free port."""
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
