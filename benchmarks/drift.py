"""How the colours of a long scene drift, for each way in which its segments follow one another.

Renders 20 segments of one picture with the demo model through the product (submit, worker,
download) for each strategy that it has, and prints the mean colour of every segment against the
first one's. Fails if segments that continue one another drift by 2 levels of 255 each or more.

    python benchmarks/drift.py [--segments 20] [--limit 2]
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.frames import read_frames
from benchmarks.product import longreel
from film.families import DEMO
from film.keyframes import keyframe_spans
from film.timeline import Span, following, share_frames, split_scene
from film.types import Continuity

PROMPT = "A red ball stands still on green grass under a blue sky."


def scenes(segments: int, way: Continuity) -> list[list[Span]]:
    """The segments of a film of that length: in one scene, for which an anchor may be too short;
    then in two, the second of which continues the first."""
    if way is not Continuity.KEYFRAMES:
        return [filled(segments, lambda n: split_scene(n, following(DEMO, way)))]
    spec = following(DEMO, way)
    halves = share_frames(segments, 2 if segments >= DEMO.max_frames else 1)
    return [
        filled(count, lambda n, after=after: keyframe_spans(n, spec, continued=after))
        for after, count in zip((False, True), halves, strict=False)
    ]


def filled(segments: int, split: Callable[[int], list[Span]]) -> list[Span]:
    """The shortest scene that has that number of segments."""
    for frames in itertools.count(segments):
        spans = [span for span in split(frames) if not span.keyframes]
        if len(spans) == segments:
            return spans
    raise AssertionError


def film_of(way: Continuity, parts: list[list[Span]]) -> dict[str, Any]:
    """The film as a campaign asks for it."""
    frames = [sum(span.keep_frames for span in part) for part in parts]
    seams = ["cut", *["continue"] * (len(parts) - 1)]
    written = [
        {"prompt": PROMPT, "seconds": str(Fraction(number, 8)), "seam": seam}
        for number, seam in zip(frames, seams, strict=True)
    ]
    return {"title": way.value, "continuity": way.value, "scenes": written}


def colours(frames: NDArray[np.uint8], parts: list[list[Span]]) -> NDArray[np.float64]:
    """Mean colour of each segment: `(segments, 3)` levels of 255."""
    ends = np.cumsum([span.keep_frames for part in parts for span in part])
    return np.stack([part.mean(axis=(0, 1, 2)) for part in np.split(frames, ends[:-1])])


def missed(way: Continuity, means: NDArray[np.float64], limit: float) -> bool:
    """Prints the curve of a film; whether it is steeper than the limit."""
    away = np.abs(means - means[0]).max(axis=1)
    # The way between the ends, and the steepest between any two: a curve may come back.
    slope = max(abs(away[-1]) / (len(away) - 1), np.abs(np.diff(means, axis=0)).mean())
    # Without a seam there is nothing that drifts: each segment begins anew.
    over = slope >= limit and way is not Continuity.CUT
    judged = "no seam" if way is Continuity.CUT else f"limit {limit:g}"
    print(f"{way}: {len(means)} segments, {slope:.2f} of 255 a segment ({judged})", end="")
    print("  MISSED" if over else "")
    print("   " + " ".join(f"{value:4.1f}" for value in away))
    return bool(over)


def main() -> int:
    """Prints the curves; returns 1 if one is steeper than the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--segments", type=int, default=20)
    parser.add_argument("--limit", type=float, default=2.0, help="levels of 255 a segment")
    options = parser.parse_args()
    ways = {way: scenes(options.segments, way) for way in DEMO.continuity}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        films = [film_of(way, parts) for way, parts in ways.items()]
        (home / "drift.jsonl").write_text("".join(json.dumps(film) + "\n" for film in films))
        try:
            longreel(home, "submit", str(home / "drift.jsonl"))
            longreel(home, "worker", "--until-idle")
            campaign = json.loads(longreel(home, "ls", "--json"))[0]["campaign"]
            written = json.loads(longreel(home, "download", campaign, "-o", folder, "--json"))
        finally:
            longreel(home, "dashboard", "--stop")
        written.sort(key=lambda film: int(film["id"].rpartition("-")[2]))
        steep = [
            missed(way, colours(read_frames(Path(film["path"])), parts), options.limit)
            for (way, parts), film in zip(ways.items(), written, strict=True)
        ]
    return 1 if any(steep) else 0


if __name__ == "__main__":
    raise SystemExit(main())
