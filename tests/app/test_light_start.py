"""Quick commands stay quick because they import little: torch and prefect are for who renders."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import Installation

PROBE = """
import sys
from typer.testing import CliRunner
from app.cli.main import cli
result = CliRunner().invoke(cli, {arguments!r})
assert result.exit_code == 0, result.output
print(sorted({{name.partition(".")[0] for name in sys.modules}} & {{
    "torch", "diffusers", "transformers", "prefect", "boto3", "alembic", "sqlalchemy", "av",
    "httpx", "fastapi", "uvicorn"}}))
"""


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], []),
        (["ls"], ["sqlalchemy"]),
        (["models"], ["sqlalchemy"]),
        (["plan", "A red ball.", "--json"], ["sqlalchemy"]),
        (["campaigns"], ["sqlalchemy"]),
    ],
)
def test_nothing_heavy_is_imported(
    installation: Installation, arguments: list[str], heavy: list[str]
) -> None:
    installation.run("ls")  # makes the database, so that migrations are not in the way
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(arguments=arguments)],
        env=installation.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == str(heavy)
