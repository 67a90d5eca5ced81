"""How well the bundled model follows prompts and carries motion over seams, end to end.

Submits a campaign of prompts the model never saw in training, renders it with `longreel worker`,
downloads the films and judges their frames with a classical detector. The detector is first judged
itself, on ground truth. Prints every figure next to its goal and fails if one is missed.

    python -m benchmarks.demo_quality [--films 128] [--sheet sheet.png]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import product
from benchmarks.frames import read_frames
from film.demo_world import Floor, Motion, Sky
from film.families import DEMO
from training.demo import captions, world
from training.demo.detector import Reading, detect, read_motion
from training.demo.world import Clip, Combination, Floats

ATTRIBUTES = ("sky", "floor", "colour", "shape", "motion")
SEGMENT, OVERLAP = DEMO.max_frames, DEMO.overlap_frames
SEGMENTS = 3
NUM_FRAMES = SEGMENT + (SEGMENTS - 1) * (SEGMENT - OVERLAP)

Longreel = Callable[..., Any]  # takes the arguments of a command, returns its JSON


@dataclass(frozen=True, kw_only=True)
class Goal:
    """The goal of a figure; `most` if smaller is better."""

    name: str
    least: float = -np.inf
    most: float = np.inf

    def met(self, value: float) -> bool:
        """True if `value` reaches it; NaN does not."""
        return self.least <= value <= self.most


GOALS = (
    Goal(name="sky", least=0.97),
    Goal(name="floor", least=0.97),
    Goal(name="colour", least=0.95),
    Goal(name="shape", least=0.90),
    Goal(name="motion", least=0.80),
    Goal(name="all five", least=0.65),
    Goal(name="seam: jump beyond an ordinary step, px, median", most=1.5),
    Goal(name="seam: direction kept", least=0.85),
    Goal(name="seam: sky and floor still the same", least=0.97),
    Goal(name="seam: shift of sky or floor, levels of 255, median", most=4.0),
    Goal(name="seconds a segment, all included", most=1.5),
)


@dataclass(frozen=True, kw_only=True)
class SeamReading:
    """What is seen at one seam inside a scene."""

    excess: float
    """Pixels by which the object moves more over the seam than in an ordinary step."""
    kept: bool | None
    """True if it continues as before; `None` if it must turn back at the border."""
    same_background: bool
    """True if sky and floor are read as before."""
    shift: float
    """Largest change of sky or floor, in levels of 255."""


def choose(count: int, seed: int = 1) -> list[Combination]:
    """Combinations that were never trained on, in a fixed random order, each once if enough."""
    pool = world.held_out_combinations()
    order = np.random.default_rng(seed).permutation(len(pool))
    return [pool[order[i % len(pool)]] for i in range(count)]


def campaign(chosen: list[Combination]) -> str:
    """A campaign file (JSONL): one film of one scene for each, in one of many wordings."""
    seconds = str(Fraction(NUM_FRAMES) / DEMO.native_fps)
    lines = []
    for number, combination in enumerate(chosen):
        prompt = captions.caption(combination, np.random.default_rng(number))
        film = {"title": f"{number:04}", "seed": number, "scenes": [prompt], "seconds": seconds}
        lines.append(json.dumps(film))
    return "\n".join(lines) + "\n"


def render(longreel: Longreel, chosen: list[Combination], folder: Path) -> list[Clip]:
    """Renders the campaign with the product's commands; frames of every film, in order."""
    file = folder / "quality.jsonl"
    file.write_text(campaign(chosen))
    made = longreel("submit", str(file), "--json")
    longreel("worker", "--until-idle")
    written = longreel("download", made["campaign"], "-o", str(folder / "films"), "--json")
    paths = {film["id"]: Path(film["path"]) for film in written}
    clips = [read_frames(paths[film["id"]]) for film in made["films"]]
    assert all(len(clip) == NUM_FRAMES for clip in clips)
    return clips


def follow(chosen: list[Combination], clips: list[Clip]) -> tuple[dict[str, float], Counter[str]]:
    """How often the first segment of each film shows what was asked, and the mistakes."""
    pairs = [(c, detect(clip[:SEGMENT])) for c, clip in zip(chosen, clips, strict=True)]
    return score(pairs), mistakes(pairs)


def score(pairs: list[tuple[Combination, Reading]]) -> dict[str, float]:
    """Share of clips on which each attribute was right, and all of them."""
    agreed = [reading.agrees(combination) for combination, reading in pairs]
    right = {name: float(np.mean([a[name] for a in agreed])) for name in ATTRIBUTES}
    return right | {"all five": float(np.mean([all(a.values()) for a in agreed]))}


def mistakes(pairs: list[tuple[Combination, Reading]]) -> Counter[str]:
    """What was seen instead of what was asked."""
    return Counter(
        f"{getattr(asked, name)} seen as {getattr(seen, name)}"
        for asked, seen in pairs
        for name, right in seen.agrees(asked).items()
        if not right
    )


def seams(chosen: list[Combination], clips: list[Clip]) -> list[SeamReading]:
    """Every seam inside the scenes of all films."""
    starts = [SEGMENT + hop * (SEGMENT - OVERLAP) for hop in range(SEGMENTS - 1)]
    return [
        _seam(combination.motion, clip[start - OVERLAP : start + SEGMENT - OVERLAP])
        for combination, clip in zip(chosen, clips, strict=True)
        for start in starts
    ]


def _seam(motion: Motion, clip: Clip) -> SeamReading:
    """The seam between the first `OVERLAP` frames of `clip` and the rest."""
    track = detect(clip).track
    steps = np.linalg.norm(np.diff(track[:, :2], axis=0), axis=1)
    ordinary = float(np.nanmedian(np.delete(steps, OVERLAP - 1)))
    before, after = clip[:OVERLAP], clip[OVERLAP:]
    return SeamReading(
        excess=float(steps[OVERLAP - 1]) - ordinary,
        kept=None if _turns_back(motion, track) else read_motion(track[OVERLAP:]) == motion,
        same_background=_background(before) == _background(after),
        shift=_background_shift(before, after),
    )


def _turns_back(motion: Motion, track: Floats) -> bool:
    """True if the object, as it was before the seam, must turn back before the clip ends."""
    here = track[OVERLAP - 1]
    ahead = here + np.array(world.VELOCITY[motion]) * 1.15 * (len(track) - OVERLAP)
    edge = world.EXTENT * ahead[2] + world.MARGIN
    inside = edge <= ahead[0] <= world.WIDTH - edge and edge <= ahead[1] <= world.HEIGHT - edge
    low, high = world.RADIUS_RANGE
    return not (inside and low <= ahead[2] <= high)


def _background(clip: Clip) -> tuple[Sky, Floor]:
    seen = detect(clip)
    return seen.sky, seen.floor


def _background_shift(before: Clip, after: Clip) -> float:
    """Largest change of sky or floor over the seam: levels of 255, in any channel.

    Of the medians along the upper and the lower border, which the object never covers.
    """
    rows = (slice(0, 2), slice(-2, None))
    shifts = [
        np.median(before[:, row], axis=(0, 1, 2)) - np.median(after[:, row], axis=(0, 1, 2))
        for row in rows
    ]
    return float(np.abs(shifts).max())


def judge(chosen: list[Combination], clips: list[Clip]) -> tuple[dict[str, float], Counter[str]]:
    """All figures but the time, by the names of `GOALS`, and the mistakes."""
    right, wrong = follow(chosen, clips)
    found = seams(chosen, clips)
    kept = [seam.kept for seam in found if seam.kept is not None]
    return {
        **right,
        "seam: jump beyond an ordinary step, px, median": float(
            np.nanmedian([seam.excess for seam in found])
        ),
        "seam: direction kept": float(np.mean(kept)),
        "seam: sky and floor still the same": float(
            np.mean([seam.same_background for seam in found])
        ),
        "seam: shift of sky or floor, levels of 255, median": float(
            np.median([seam.shift for seam in found])
        ),
    }, wrong


def contact_sheet(clips: list[Clip], path: Path, columns: int = 3) -> None:
    """Writes a PNG: one film per cell, five frames side by side, the seams between them."""
    moments = np.linspace(0, NUM_FRAMES - 1, 5).astype(int)
    strips = [np.concatenate(clip[moments], axis=1) for clip in clips]
    strips = [np.pad(s, ((0, 4), (0, 4), (0, 0)), constant_values=255) for s in strips]
    strips += [np.full_like(strips[0], 255)] * (-len(strips) % columns)
    rows = [np.concatenate(strips[i : i + columns], axis=1) for i in range(0, len(strips), columns)]
    Image.fromarray(np.concatenate(rows, axis=0)).save(path)


def main() -> int:
    """Prints the figures; returns 1 if a goal is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--films", type=int, default=128)
    parser.add_argument("--sheet", type=Path, help="contact sheet of the first 36 films (PNG)")
    options = parser.parse_args()
    chosen = choose(options.films)
    truth = score([(c, detect(world.sample_clip(c, i))) for i, c in enumerate(chosen)])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:

        def longreel(*arguments: str) -> Any:
            printed = product.longreel(Path(home), *arguments)
            return json.loads(printed) if "--json" in arguments else None

        try:
            began = time.monotonic()
            clips = render(longreel, chosen, Path(home))
            seconds = time.monotonic() - began
        finally:
            longreel("dashboard", "--stop")
    figures, wrong = judge(chosen, clips)
    figures["seconds a segment, all included"] = seconds / (len(clips) * SEGMENTS)
    if options.sheet:
        contact_sheet(clips[:36], options.sheet)
    print(f"{len(clips)} held-out prompts, {SEGMENTS} segments each\n")
    print(f"{'':<48}  found    goal  ground truth")
    for goal in GOALS:
        value, bound = figures[goal.name], f"≥ {goal.least}" if goal.least > 0 else f"≤ {goal.most}"
        known = f"{truth[goal.name]:12.2f}" if goal.name in truth else ""
        mark = "" if goal.met(value) else "  MISSED"
        print(f"{goal.name:<48} {value:6.2f}  {bound:>6} {known}{mark}")
    print("\nMistakes:", ", ".join(f"{n} × {what}" for what, n in wrong.most_common(8)) or "none")
    read = min(truth.values())
    if read < 0.95:
        print(f"The detector itself is right on {read:.2f} of ground truth; 0.95 is needed.")
    return int(read < 0.95 or not all(goal.met(figures[goal.name]) for goal in GOALS))


if __name__ == "__main__":
    raise SystemExit(main())
