"""The product as the benchmarks call it: the command line, in a home of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def longreel(home: Path, *arguments: str) -> str:
    """What a command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        env={**os.environ, "LONGREEL_HOME": str(home), "LONGREEL_PREFECT_PORT": "0"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout
