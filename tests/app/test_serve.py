"""`longreel serve` as a process: its address, its end, a port that is taken."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import urllib.request

import pytest

from tests.conftest import Installation


def address_of(process: subprocess.Popen[str]) -> str:
    """Where a service is that was just started."""
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"The service is at (http://\S+) ", line):
            return found[1]
    raise AssertionError("The service did not start.")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_answers_until_it_is_asked_to_end(
    installation: Installation, how: signal.Signals
) -> None:
    process = installation.start("serve", "--port", "0")
    address = address_of(process)
    with urllib.request.urlopen(f"{address}/readyz", timeout=20) as answer:
        assert answer.status == 200
    stream = urllib.request.urlopen(f"{address}/api/v1/stream", timeout=20)  # does not hold it up
    process.send_signal(how)
    assert process.wait(20) == 0
    stream.close()
    assert process.stderr is not None
    rest = process.stderr.read()
    assert "Traceback" not in rest
    assert rest.strip().endswith("Stopped.")


def test_a_port_that_is_taken_is_named(installation: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = installation.run("serve", "--port", str(port))
    assert done.returncode == 2
    assert f"Port {port} of 127.0.0.1 cannot be used" in done.stderr
    assert "Traceback" not in done.stderr
