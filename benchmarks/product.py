"""The product as the benchmarks call it: the command line, in a home of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def command(*arguments: str) -> list[str]:
    """The words that start a command."""
    return [sys.executable, "-m", "app.cli", *arguments]


def environment(home: Path) -> dict[str, str]:
    """The environment in which `home` is the installation."""
    return {**os.environ, "LONGREEL_HOME": str(home), "LONGREEL_PREFECT_PORT": "0"}


def longreel(home: Path, *arguments: str) -> str:
    """What a command prints."""
    done = subprocess.run(
        command(*arguments),
        env=environment(home),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout
