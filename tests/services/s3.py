"""S3 servers: moto, which is quick and forgiving, and Ceph's radosgw, which checks signatures."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.services.process import (
    ATTEMPTS,
    ServerFailedError,
    answers,
    free_port,
    start,
    stop,
    temporary_folder,
    wait_until,
)
from tests.services.tls import make_certificate

CEPH_PROGRAMS = ("radosgw", "radosgw-admin", "ceph-mon", "ceph-osd", "ceph", "monmaptool")
"""Programs of the packages radosgw, ceph-mon, ceph-osd and ceph-common (scripts/test-services)."""


@dataclass(frozen=True)
class S3Server:
    """A running server, and an account that may do everything there."""

    endpoint_url: str
    access_key: str = "longreel"
    secret_key: str = "longreel-secret"
    authority: Path | None = None
    """Certificate of the authority that signed the server's own, if it uses TLS."""

    def environment(self) -> dict[str, str]:
        """Variables that make boto3 use this account, and nothing of this machine's own."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            **({"AWS_CA_BUNDLE": str(self.authority)} if self.authority else {}),
        }

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put `environment` into this process, and take away what would come before it."""
        named = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_CA_BUNDLE")
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", *named):
            monkeypatch.delenv(name, raising=False)
        for name, value in self.environment().items():
            monkeypatch.setenv(name, value)

    def client(self) -> Any:
        """A boto3 client of this account, for what stores do not offer."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            verify=str(self.authority) if self.authority else None,
        )

    def create_bucket(self) -> str:
        """Make an empty bucket; its name."""
        name = f"test-{secrets.token_hex(8)}"
        self.client().create_bucket(Bucket=name)
        return name

    def with_secret(self, secret_key: str) -> S3Server:
        """The same account with a secret key that is wrong."""
        return replace(self, secret_key=secret_key)


@pytest.fixture(scope="session")
def moto_server() -> Iterator[S3Server]:
    """A moto server of this test process. It accepts every signature."""
    yield from _served(start_moto, "moto")


@pytest.fixture(scope="session")
def moto_tls_server() -> Iterator[S3Server]:
    """The same over HTTPS, with a certificate of an authority of one's own."""
    yield from _served(start_moto_tls, "moto-tls")


@pytest.fixture(scope="session")
def radosgw_server() -> Iterator[S3Server]:
    """A Ceph of this test process that keeps its objects in memory; skips if not installed."""
    missing = [name for name in CEPH_PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed; scripts/test-services can do it")
    yield from _served(start_radosgw, "radosgw")


Processes = list["subprocess.Popen[bytes]"]


def _served(begin: Callable[[Path, Processes], S3Server], name: str) -> Iterator[S3Server]:
    """Start a server (again with other ports if need be), and end it after use."""
    for attempt in range(1, ATTEMPTS + 1):
        folder, processes = temporary_folder(name), Processes()
        try:
            try:
                server = begin(folder, processes)
            except ServerFailedError:
                if attempt == ATTEMPTS:
                    raise
                continue
            yield server
            return
        finally:
            for process in reversed(processes):
                stop(process)
            shutil.rmtree(folder, ignore_errors=True)


def start_moto(folder: Path, processes: Processes) -> S3Server:
    """A moto, which keeps its objects in its own memory."""
    return S3Server(f"http://127.0.0.1:{_moto(folder, processes)}")


def start_moto_tls(folder: Path, processes: Processes) -> S3Server:
    """A moto that speaks TLS."""
    made = make_certificate(folder)
    port = _moto(folder, processes, "-c", str(made.certificate), "-k", str(made.key))
    return S3Server(f"https://127.0.0.1:{port}", authority=made.authority)


def _moto(folder: Path, processes: Processes, *more: str) -> int:
    port, log = free_port(), folder / "log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port), *more]
    processes.append(start(command, log))
    wait_until(lambda: answers(port), processes, log)
    return port


CEPH_CONF = """\
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon_port}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
run dir = {folder}
admin socket = {folder}/$name.asok
pid file = {folder}/$name.pid
log file = {folder}/$name.log
mon cluster log file = {folder}/cluster.log
# No keys between the daemons; without them their messages must be of mode crc, or they hang.
auth cluster required = none
auth service required = none
auth client required = none
auth allow insecure global id reclaim = true
ms mon client mode = crc
ms mon service mode = crc
ms mon cluster mode = crc
# One copy of everything.
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 2000
# Do not wait for other monitors, and do not mind a disk that is nearly full.
paxos propose interval = 0.05
paxos min wait = 0.02
mon data avail crit = 1
mon data avail warn = 2
mon osd full ratio = .99
mon osd backfillfull ratio = .98
mon osd nearfull ratio = .97
[mon]
mon data = {folder}/mon
[osd]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 1G
osd memory target = 939524096
osd op num shards = 2
osd class load list = *
osd class default list = *
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw thread pool size = 32
"""


def start_radosgw(folder: Path, processes: Processes) -> S3Server:
    """One monitor, one storage daemon in memory, one gateway; the cluster has no manager.

    The gateway is the last of `processes`; the objects are with the storage daemon.
    """
    fsid, port, mon_port = str(uuid.uuid4()), free_port(), free_port()
    log, conf = folder / "log", folder / "ceph.conf"
    conf.write_text(CEPH_CONF.format(fsid=fsid, mon_port=mon_port, port=port, folder=folder))
    server = S3Server(f"http://127.0.0.1:{port}")

    def run(*command: str) -> str:
        return _run(command, conf)

    def daemon(*command: str) -> None:
        processes.append(start([*command, "-c", str(conf), "-f"], log))

    (folder / "mon").mkdir()
    (folder / "osd").mkdir()
    monmap = str(folder / "monmap")
    address = f"[v2:127.0.0.1:{mon_port}]"
    run("monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", "a", address, monmap)
    run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap)
    daemon("ceph-mon", "-i", "a")
    disk = str(uuid.uuid4())
    run("ceph", "osd", "new", disk)
    run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
    daemon("ceph-osd", "-i", "0")
    wait_until(lambda: "1 up" in run("ceph", "osd", "stat"), processes, log)
    keys = ("--access-key", server.access_key, "--secret-key", server.secret_key)
    run("radosgw-admin", "user", "create", "--uid=test", "--display-name=test", *keys)
    processes.append(start_gateway(folder))
    wait_until(lambda: answers(port), processes, log)
    return server


def start_gateway(folder: Path) -> subprocess.Popen[bytes]:
    """The gateway of the radosgw in `folder`, not yet answering; again after it was killed."""
    command = ["radosgw", "-n", "client.rgw", "-c", str(folder / "ceph.conf"), "-f"]
    return start(command, folder / "log")


def _run(command: tuple[str, ...], conf: Path) -> str:
    environment = {**os.environ, "CEPH_CONF": str(conf)}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
    except subprocess.TimeoutExpired:
        raise ServerFailedError(f"{' '.join(command)} did not end in 60 s") from None
    if done.returncode:
        raise ServerFailedError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    return done.stdout
