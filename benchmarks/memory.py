"""Memory of a worker over 200 segments with the bundled model, one after another.

Has one `longreel worker` render them and looks at the resident memory of the worker and of its
rendering process all the while. Prints the curves, and exits with 1 if either holds more in its
last quarter than in its third one by over 5 % (what the first half adds is loading, and buffers
that fill; 5 % is what the rendering process goes up and down by).

    python -m benchmarks.memory [--segments 200] [--steps 2] [--limit 0.05]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.product import command, environment, longreel

LOOK_SECONDS = 0.5


def campaign(home: Path, segments: int, steps: int) -> Path:
    """Films of a segment each; prompts, sizes and flags change as they do in a farm."""
    prompts = ("A red ball rolls.", "A blue square grows.", "A green star stands still.")
    films = [
        {
            "prompt": prompts[number % 3],
            "seconds": "2" if number % 2 else "1.5",
            "steps": steps,
            "seed": number,
            "flags": {"cache": "taylorseer"} if number % 5 == 0 else {},
        }
        for number in range(segments)
    ]
    path = home / "memory.jsonl"
    path.write_text("".join(json.dumps(film) + "\n" for film in films))
    return path


def resident(process: psutil.Process) -> tuple[int, int]:
    """Bytes of the worker, and of its rendering process (0 if there is none)."""
    mine, its = 0, 0
    try:
        mine = process.memory_info().rss
        for child in process.children(recursive=True):
            if "spawn_main" in " ".join(child.cmdline()):
                its = child.memory_info().rss
    except psutil.Error:
        pass
    return mine, its


def watch(home: Path) -> list[tuple[int, int]]:
    """Runs a worker until nothing is left to do; what it and its process held, in order."""
    samples = []
    with subprocess.Popen(command("worker", "--until-idle"), env=environment(home)) as worker:
        looked_at = psutil.Process(worker.pid)
        while worker.poll() is None:
            samples.append(resident(looked_at))
            time.sleep(LOOK_SECONDS)
    return [sample for sample in samples if all(sample)]


def growth(samples: list[int]) -> float:
    """The median of the last quarter against that of the third one, less 1."""
    quarter = len(samples) // 4
    third, last = samples[-2 * quarter : -quarter], samples[-quarter:]
    return statistics.median(last) / statistics.median(third) - 1


def main() -> int:
    """Prints the curves; returns 1 if one grows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--segments", type=int, default=200)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--limit", type=float, default=0.05)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        try:
            longreel(home, "submit", str(campaign(home, options.segments, options.steps)))
            samples = watch(home)
        finally:
            longreel(home, "dashboard", "--stop")
    grown = False
    print(f"{options.segments} segments; MiB at ten moments from the first to the last:")
    for name, held in zip(("worker", "rendering process"), zip(*samples, strict=True), strict=True):
        moments = [held[round(part * (len(held) - 1) / 9)] for part in range(10)]
        more = growth(list(held))
        missed = more > options.limit
        grown = grown or missed
        print(f"{name:<18} " + " ".join(f"{value / 2**20:6.0f}" for value in moments), end="")
        print(f"   {more:+.1%} (limit {options.limit:.0%}){'  MISSED' if missed else ''}")
    return 1 if grown else 0


if __name__ == "__main__":
    raise SystemExit(main())
