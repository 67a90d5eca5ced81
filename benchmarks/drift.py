"""How the colours of a long scene drift, for each way in which its segments follow one another.

Renders one scene of 20 continued segments with the demo model through the product (submit, worker,
download) for each strategy, and prints the mean colour of every segment against the first one's.
Fails where a strategy drifts by 2 levels of 255 a segment or more.

    python benchmarks/drift.py [--segments 20] [--limit 2]
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.product import longreel
from film.families import DEMO
from film.timeline import following, split_scene
from film.types import Continuity
from media.stills import read_frames

PROMPT = "A red ball stands still on green grass under a blue sky."


def length(segments: int, continuity: Continuity) -> int:
    """Frames of a scene that has so many segments."""
    spec = following(DEMO, continuity)
    for frames in itertools.count(segments):
        if len(split_scene(frames, spec)) == segments:
            return frames
    raise AssertionError


def colours(frames: NDArray[np.uint8], continuity: Continuity) -> NDArray[np.float64]:
    """Mean colour of each segment: `(segments, 3)` levels of 255."""
    ends = np.cumsum([s.keep_frames for s in split_scene(len(frames), following(DEMO, continuity))])
    parts = np.split(frames, ends[:-1])
    return np.stack([part.mean(axis=(0, 1, 2)) for part in parts])


def main() -> int:
    """Prints the curves; 1 where one is steeper than the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--segments", type=int, default=20)
    parser.add_argument("--limit", type=float, default=2.0, help="levels of 255 a segment")
    options = parser.parse_args()
    strategies = [way for way in DEMO.continuity if way is not Continuity.CUT]
    missed = 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        films = [
            {
                "title": way.value,
                "continuity": way.value,
                "scenes": [
                    {
                        "prompt": PROMPT,
                        "seconds": str(Fraction(length(options.segments, way), 8)),
                    }
                ],
            }
            for way in strategies
        ]
        (home / "drift.jsonl").write_text("".join(json.dumps(film) + "\n" for film in films))
        try:
            longreel(home, "submit", str(home / "drift.jsonl"))
            longreel(home, "worker", "--until-idle")
            campaign = json.loads(longreel(home, "ls", "--json"))[0]["campaign"]
            written = json.loads(longreel(home, "download", campaign, "-o", folder, "--json"))
        finally:
            longreel(home, "dashboard", "--stop")
        for way, film in zip(strategies, sorted(written, key=lambda film: film["id"]), strict=True):
            means = colours(read_frames(Path(film["path"])), way)
            away = np.abs(means - means[0]).max(axis=1)
            # The way between the ends, and the steepest between any two: a curve may come back.
            slope = max(abs(away[-1]) / (len(away) - 1), np.abs(np.diff(means, axis=0)).mean())
            missed += bool(slope >= options.limit)
            print(f"{way}: {len(means)} segments, {slope:.2f} of 255 a segment", end="")
            print(f" (limit {options.limit:g})" + ("  MISSED" if slope >= options.limit else ""))
            print("   " + " ".join(f"{value:4.1f}" for value in away))
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
