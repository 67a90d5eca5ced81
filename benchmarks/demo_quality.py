"""How well the demo model follows prompts: ``python -m benchmarks.demo_quality --samples 64``.

The detector is first judged on ground truth; then it judges what the stock pipeline renders for
combinations the model never saw, and how well a segment goes on from the tail of the one before.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from renderer.demo import captions, recipe, world
from renderer.demo.detector import Reading, detect
from renderer.demo.world import Clip, Combination

ATTRIBUTES = ("sky", "floor", "colour", "shape", "motion", "all")
OVERLAP = recipe.OVERLAP_FRAMES


@dataclass(frozen=True, kw_only=True)
class Score:
    """Share of clips on which each attribute was right."""

    right: dict[str, float]
    confusions: Counter[str]


def score(pairs: list[tuple[Combination, Reading]]) -> Score:
    """Compare what was asked for with what was seen."""
    right: dict[str, float] = dict.fromkeys(ATTRIBUTES, 0.0)
    confusions = Counter[str]()
    for combination, reading in pairs:
        agreed = reading.agrees(combination)
        agreed["all"] = all(agreed.values())
        for name in ATTRIBUTES:
            right[name] += agreed[name] / len(pairs)
            if name != "all" and not agreed[name]:
                confusions[f"{getattr(combination, name)} > {getattr(reading, name)}"] += 1
    return Score(right=right, confusions=confusions)


class Model:
    """The stock pipeline with the recipe's call values."""

    def __init__(self, directory: Path, steps: int, guidance: float) -> None:
        """Load the pipeline on the CPU."""
        from diffusers import DiffusionPipeline
        from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition

        self.pipeline = DiffusionPipeline.from_pretrained(directory)
        self.pipeline.set_progress_bar_config(disable=True)
        self.condition = LTXVideoCondition
        self.call: dict[str, Any] = recipe.CALL | {
            "num_inference_steps": steps,
            "guidance_scale": guidance,
            "output_type": "np",
        }

    def render(self, prompts: list[str], seeds: list[int], prefix: Clip | None = None) -> Clip:
        """Render one clip per prompt: (clips, frames, height, width, 3) uint8."""
        extra = {}
        if prefix is not None:
            frames = [Image.fromarray(frame) for frame in prefix]
            extra["conditions"] = [self.condition(video=frames, frame_index=0)]
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        generator = generators if prefix is None else generators[0]
        video = self.pipeline(prompt=prompts, generator=generator, **extra, **self.call).frames
        return np.asarray(np.rint(video * 255), dtype=np.uint8)


def choose(count: int, seed: int) -> list[Combination]:
    """Held-out combinations in a fixed random order."""
    pool = world.held_out_combinations()
    order = np.random.default_rng(seed).permutation(len(pool))
    return [pool[order[i % len(pool)]] for i in range(count)]


def prompt_for(combination: Combination, seed: int) -> str:
    """A caption in one of the many wordings."""
    return captions.caption(combination, np.random.default_rng(seed))


def psnr(a: Clip, b: Clip) -> float:
    """Peak signal-to-noise ratio in dB of two uint8 arrays."""
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def follow(model: Model, chosen: list[Combination], batch: int) -> list[Clip]:
    """Render every combination from text alone."""
    clips: list[Clip] = []
    for start in range(0, len(chosen), batch):
        part = chosen[start : start + batch]
        seeds = list(range(start, start + len(part)))
        prompts = [prompt_for(c, s) for c, s in zip(part, seeds, strict=True)]
        clips.extend(model.render(prompts, seeds))
    return clips


def seam_after(tail: Clip, clip: Clip) -> float:
    """Jump in pixels at the first new frame: where the object is against where it was going."""
    before = detect(tail).track[:, :2]
    after = detect(clip).track[OVERLAP, :2]
    slope = (before[-1] - before[0]) / (len(before) - 1)
    return float(np.linalg.norm(after - (before[-1] + slope)))


def continue_real(model: Model, chosen: list[Combination]) -> dict[str, float]:
    """Go on from five real frames; the real clip says what should follow."""
    echo, jump, end, same = [], [], [], []
    for seed, combination in enumerate(chosen):
        real = world.sample_clip(combination, seed, first_frame=12)
        clip = model.render([prompt_for(combination, seed)], [seed], real[:OVERLAP])[0]
        expected, seen = detect(real).track, detect(clip).track
        echo.append(psnr(clip[:OVERLAP], real[:OVERLAP]))
        jump.append(float(np.linalg.norm(seen[OVERLAP, :2] - expected[OVERLAP, :2])))
        end.append(float(np.linalg.norm(seen[-1, :2] - expected[-1, :2])))
        same.append(all(detect(clip).agrees(combination).values()))
    return {
        "prefix PSNR, dB": float(np.mean(echo)),
        "jump at the seam, px (median)": float(np.nanmedian(jump)),
        "jump at the seam, px (90 %)": float(np.nanpercentile(jump, 90)),
        "error at the last frame, px (median)": float(np.nanmedian(end)),
        "all five right": float(np.mean(same)),
    }


def continue_own(model: Model, chosen: list[Combination], segments: int) -> dict[str, float]:
    """Films of several segments, each going on from the tail of the one before."""
    jumps, kept = [], []
    for seed, combination in enumerate(chosen):
        prompt = prompt_for(combination, seed)
        clip = model.render([prompt], [seed])[0]
        for hop in range(1, segments):
            tail = clip[-OVERLAP:]
            clip = model.render([prompt], [seed + 1000 * hop], tail)[0]
            jumps.append(seam_after(tail, clip))
        agreed = detect(clip).agrees(combination)
        kept.append(agreed["colour"] and agreed["sky"] and agreed["floor"])
    return {
        "jump at the seam, px (median)": float(np.nanmedian(jumps)),
        "jump at the seam, px (90 %)": float(np.nanpercentile(jumps, 90)),
        "no object at the seam": float(np.mean(np.isnan(jumps))),
        "colours right in the last segment": float(np.mean(kept)),
    }


def contact_sheet(clips: list[Clip], path: Path, frames: tuple[int, ...] = (0, 5, 10, 16)) -> None:
    """Write a PNG: one clip per cell of three columns, a few frames side by side, doubled."""
    strips = [np.concatenate([clip[i] for i in frames], axis=1) for clip in clips]
    strips += [np.zeros_like(strips[0])] * (-len(strips) % 3)
    rows = [np.concatenate(strips[i : i + 3], axis=1) for i in range(0, len(strips), 3)]
    Image.fromarray(np.concatenate(rows, axis=0)).save(path)


def print_table(title: str, values: dict[str, float]) -> None:
    """Print one Markdown table."""
    print(f"\n{title}\n\n| | |\n|---|---|")
    for name, value in values.items():
        print(f"| {name} | {value:.2f} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=recipe.MODEL_DIR)
    parser.add_argument("--samples", type=int, default=64, help="held-out prompts")
    parser.add_argument("--seams", type=int, default=12, help="continued clips and films")
    parser.add_argument("--segments", type=int, default=3, help="segments of a film")
    parser.add_argument("--steps", type=int, default=recipe.NUM_INFERENCE_STEPS)
    parser.add_argument("--guidance", type=float, default=recipe.GUIDANCE_SCALE)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--sheet", type=Path, help="contact sheet to write (PNG)")
    args = parser.parse_args()

    chosen = choose(args.samples, seed=1)
    truth = [(c, detect(world.sample_clip(c, i))) for i, c in enumerate(chosen)]
    print_table(f"Detector on ground truth, {len(chosen)} clips", score(truth).right)
    model = Model(args.model, args.steps, args.guidance)
    began = time.monotonic()
    clips = follow(model, chosen, args.batch)
    seconds = (time.monotonic() - began) / len(chosen)
    result = score([(c, detect(clip)) for c, clip in zip(chosen, clips, strict=True)])
    print_table(f"Held-out prompts, {len(chosen)} clips, {seconds:.2f} s each", result.right)
    print("\nMost frequent confusions:", result.confusions.most_common(12))
    if args.sheet:
        contact_sheet(clips[:36], args.sheet)
    if args.seams:
        some = chosen[: args.seams]
        print_table("Going on from real frames", continue_real(model, some))
        print_table("Going on from its own frames", continue_own(model, some, args.segments))


if __name__ == "__main__":
    main()
