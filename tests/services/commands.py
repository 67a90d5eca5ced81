"""Commands of `longreel`, run by a process that has imported them already.

Starting Python and importing takes more of the processor than what most commands do, and tests that
wait for something ask again and again. Each command is a process of its own all the same, forked
from one that does nothing else.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

STARTED_ANEW = ("render", "worker", "up", "dashboard")
"""Commands that run for long or start processes: they are run as a user runs them."""


def can_be_forked(arguments: Sequence[str], more: Mapping[str, str]) -> bool:
    """True if a command with these words, and `more` variables, may be forked.

    What Python or a library reads when it starts would come too late.
    """
    ours = all(name.startswith("LONGREEL_") for name in more)
    return ours and bool(arguments) and arguments[0] not in STARTED_ANEW


class Commands:
    """Runs such commands one after another."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> subprocess.CompletedProcess[str]:
        """As `subprocess.run` of `longreel` with `arguments` in `folder`."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.services.commands"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[2],
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.TemporaryDirectory() as said:
            order = {
                "arguments": arguments,
                "environment": dict(environment),
                "folder": str(folder),
                "said": said,
            }
            print(json.dumps(order), file=self._process.stdin, flush=True)
            code = int(self._process.stdout.readline())
            out, err = (Path(said, name).read_text() for name in ("out", "err"))
        return subprocess.CompletedProcess(list(arguments), code, out, err)

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.communicate()
            self._process = None


def main() -> None:
    """Runs what is ordered on standard input; answers with the exit code."""
    for module in (
        "app.cli.main",
        "app.cli.submit",
        "db.films.campaigns",
        "db.films.films",
        "db.workers.registry",
        "flows.farm",
        "flows.submission.submit",
    ):
        importlib.import_module(module)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _become(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(order: dict[str, Any]) -> NoReturn:
    from app.cli.main import run

    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(Path(order["said"], name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
    sys.argv = ["longreel", *order["arguments"]]
    code = 1
    try:
        run()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
