"""The running service answers as its OpenAPI document says, whatever it is asked."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.app.test_serve import address_of
from tests.conftest import Installation

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance"


@pytest.mark.slow
def test_nothing_that_is_asked_is_answered_in_another_way(installation: Installation) -> None:
    address = address_of(installation.start("serve", "--port", "0"))
    installation.json("submit", "A red ball.", "--seconds", "2")
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    assert program is not None
    done = subprocess.run(
        [
            *(program, "run", f"{address}/openapi.json"),
            *("--checks", f"{CHECKS},response_schema_conformance"),
            *("--phases", "fuzzing", "--max-examples", "6", "--seed", "1"),
            # A stream does not end, and nobody renders what /sync waits for.
            *("--exclude-path-regex", "stream|sync", "--no-color"),
        ],
        env={**installation.environment, "NO_COLOR": "1"},
        cwd=installation.home,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
