"""What `longreel render` costs in addition to the rendering itself.

Renders a film of 8 segments with `longreel render`, and the same 8 segments with a plain loop as
one would write it in an afternoon: call the pipeline, encode the clip, concatenate the clips.
Both use the same pipeline, threads and frames, and both are timed from the moment the model is
loaded until the film's file is there; they take turns, and the ratio of the medians is printed
and must stay below the limit. Starting up is reported apart.

    python benchmarks/overhead.py [--runs 3] [--steps N] [--limit 1.15]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.product import longreel

SCENES = (
    "A red ball rolls to the right over green grass under a blue sky.",
    "A blue square grows on yellow sand under an orange sky.",
    "A yellow triangle moves up over snow under a night sky.",
    "A green ball stays on grey stone under a pink sky.",
)
SECONDS = 12
"""Four scenes of 24 frames: eight segments."""


def plain_loop(steps: int, seed: int) -> dict[str, float]:
    """The afternoon's script; prints nothing, returns its seconds."""
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # as the product's rendering process
    began = time.perf_counter()
    import numpy as np
    import torch
    from diffusers import DiffusionPipeline
    from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition
    from imageio_ffmpeg import get_ffmpeg_exe
    from PIL import Image

    from film.families import DEMO
    from renderer.weights.weight_store import folder_of

    folder_of_demo = folder_of(DEMO, "", Path())
    pipeline = DiffusionPipeline.from_pretrained(folder_of_demo, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    ready = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        clips: list[Path] = []
        for scene in SCENES:
            tail = None
            for part, keep in enumerate((15, 9)):
                more = {}
                if tail is not None:
                    more["conditions"] = [LTXVideoCondition(video=tail, frame_index=0)]
                video = pipeline(
                    prompt=scene,
                    negative_prompt="",
                    width=96,
                    height=64,
                    num_frames=17,
                    num_inference_steps=steps,
                    guidance_scale=DEMO.guidance_scale,
                    generator=torch.Generator("cpu").manual_seed(seed + part),
                    output_type="np",
                    frame_rate=8,
                    **DEMO.calling.arguments,
                    **more,
                ).frames[0]
                first = 0 if tail is None else DEMO.overlap_frames
                frames = (video[first : first + keep] * 255).round().astype(np.uint8)
                tail = [Image.fromarray(frame) for frame in frames[-DEMO.overlap_frames :]]
                clips.append(Path(folder) / f"{len(clips)}.mp4")
                subprocess.run(
                    f"{get_ffmpeg_exe()} -v error -f rawvideo -pix_fmt rgb24 -s 96x64 -r 8 -i - "
                    f"-c:v libx264 -preset veryfast -crf 18 -pix_fmt yuv420p {clips[-1]}".split(),
                    input=frames.tobytes(),
                    check=True,
                )
        listing = Path(folder) / "list.txt"
        listing.write_text("".join(f"file '{clip}'\n" for clip in clips))
        subprocess.run(
            f"{get_ffmpeg_exe()} -v error -f concat -safe 0 -i {listing} -c copy "
            f"{folder}/film.mp4".split(),
            check=True,
        )
    end = time.perf_counter()
    return {"startup_seconds": ready - began, "work_seconds": end - ready}


def render(home: Path, steps: int, seed: int) -> dict[str, float]:
    """`longreel render` of the same film; a new seed each time, so that nothing is reused."""
    words = ["render", " ".join(SCENES), "--json", "-o", str(home / "film.mp4")]
    words += ["--seconds", str(SECONDS), "--steps", str(steps), "--seed", str(seed)]
    began = time.perf_counter()
    printed = longreel(home, *words)
    took = time.perf_counter() - began
    result = json.loads(printed)
    assert (result["segments"], result["rendered"], result["frames"]) == (8, 8, 96), result
    work = result["timings"]["work_seconds"]
    return {"startup_seconds": took - work, "work_seconds": work}


def main() -> int:
    """Prints the comparison; returns 1 if the ratio is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=0, help="0: the model's own")
    parser.add_argument("--limit", type=float, default=1.15)
    parser.add_argument("--plain", type=int, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    from film.families import DEMO

    steps = options.steps or DEMO.num_inference_steps
    if options.plain is not None:
        print(json.dumps(plain_loop(steps, options.plain)))
        return 0
    ours, plain = [], []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        try:
            first = render(home, 1, 1)  # makes the database, starts the Prefect server
            for run in range(options.runs):
                ours.append(render(home, steps, 1000 * (run + 1)))
                plain.append(_plain(steps, 1000 * (run + 1)))
        finally:
            longreel(home, "dashboard", "--stop")
    ratio = _median(ours, "work_seconds") / _median(plain, "work_seconds")
    print(f"8 segments, 96 frames of 96x64, {steps} steps, median of {options.runs} runs in turns")
    for name, runs in (("longreel render", ours), ("plain loop", plain)):
        print(
            f"{name:>16}: {_median(runs, 'work_seconds'):6.2f} s once loaded, "
            f"{_median(runs, 'startup_seconds'):5.2f} s to start"
        )
    print(f"{'very first':>16}: {first['startup_seconds']:.2f} s to start (tables, Prefect server)")
    print(f"{'ratio':>16}: {ratio:6.3f} (limit {options.limit})")
    return 0 if ratio <= options.limit else 1


def _plain(steps: int, seed: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--plain", str(seed), "--steps", str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    timings: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return timings


def _median(runs: list[dict[str, float]], what: str) -> float:
    return statistics.median(run[what] for run in runs)


if __name__ == "__main__":
    raise SystemExit(main())
