"""Prefect's own commands and workers, and what its server reports of a work pool's runs."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.conftest import Installation
from tests.services import process

PATIENCE_SECONDS = 20.0
DEPLOY = Path(__file__).parents[2] / "deploy"


@dataclass
class Prefect:
    """Prefect as an operator of an installation has it."""

    place_of: Installation
    name: str = field(default_factory=lambda: f"process-{uuid4().hex[:8]}")
    """Name of the pool and of the deployment: other tests have theirs on the same server."""
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, *arguments: str) -> str:
        """Runs a command of Prefect's; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            env=self.place_of.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=self.place_of.home,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def make_pool(self) -> None:
        """A process pool, and the deployment for it, as in deploy/ but for their names."""
        self.run("work-pool", "create", self.name, "--type", "process", "--overwrite")
        text = (DEPLOY / "prefect.yaml").read_text()
        ours = self.place_of.home / "prefect.yaml"
        ours.write_text(
            text.replace("name: gpu-process\n", f"name: {self.name}\n").replace(
                "- name: process\n", f"- name: {self.name}\n"
            )
        )
        self.run("deploy", "--prefect-file", str(ours), "--name", self.name)

    def start_worker(self) -> subprocess.Popen[bytes]:
        """A worker of Prefect's on this machine, for the pool; it ends with the test."""
        log = self.place_of.home / f"prefect-worker-{len(self.workers)}.log"
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", self.name]
        environment = self.place_of.environment
        self.workers.append(
            process.start(command, log, cwd=self.place_of.home, environment=environment)
        )
        return self.workers[-1]

    def stop_worker(self) -> None:
        """Stops the first worker as a supervisor does, which asks again: now and then Prefect's
        command misses the first signal."""
        worker = self.workers[0]
        worker.send_signal(signal.SIGTERM)
        try:
            worker.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            worker.send_signal(signal.SIGTERM)
            worker.wait(PATIENCE_SECONDS)

    def place(self, *parameters: str) -> str:
        """A run of the deployment with these parameters; its id."""
        more = [word for one in parameters for word in ("-p", one)]
        said = self.run("deployment", "run", f"longreel worker/{self.name}", *more)
        (run_id,) = re.findall(r"UUID: ([0-9a-f-]{36})", said)
        return run_id

    def end(self) -> None:
        """Ends the workers, and prints their output."""
        for worker in self.workers:
            process.stop(worker, seconds=PATIENCE_SECONDS)
        for log in sorted(self.place_of.home.glob("prefect-worker-*.log")):
            print(log.read_text())


def flow_run(run_id: str) -> Any:
    from prefect import get_client

    with get_client(sync_client=True) as client:
        return client.read_flow_run(run_id)


def logs(run_id: str) -> str:
    """The log of a flow run on its server."""
    from prefect import get_client
    from prefect.client.schemas import filters

    one = filters.LogFilter(flow_run_id=filters.LogFilterFlowRunId(any_=[run_id]))
    with get_client(sync_client=True) as client:
        return "\n".join(log.message for log in client.read_logs(one))


def ended(run_id: str) -> bool:
    """True if a flow run is finished, in Prefect's view."""
    return bool(flow_run(run_id).state.is_final())
