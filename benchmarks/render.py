"""The renderer against a plain diffusers loop, and what its switches give and cost.

Renders the same segments with a loop as the model cards show it (pipeline loaded once, called for
each) and with Longreel's renderer, in turns in one process, and prints the ratio of their times and
how far apart their pictures are. Without a GPU: the bundled model, and tiny pipelines in the shapes
of Wan and LTX; the renderer may take 1.03 of the loop's time. With one: those shapes in their full
size with random weights; the renderer must be 1.5 times as fast with the pictures within a
tolerance, and 2.5 times with a cache.

Then, with the bundled model, what each switch gives in time and costs in quality, judged by the
detector on prompts that the model never saw.

    python -m benchmarks.render [--segments 12] [--prompts 32] [--work FOLDER]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch

from benchmarks import shapes
from benchmarks.demo_quality import ATTRIBUTES, choose, score
from film.families import DEMO, MODELS
from film.flags import at_loading, read_flags
from film.models import ModelSpec
from film.types import RenderFlags, RenderJob, RenderSettings, Segment
from renderer.pipeline.diffusers_renderer import DiffusersRenderer
from renderer.protocol import Frames, Setup
from renderer.weights import weight_store
from training.demo import captions
from training.demo.detector import detect

SLOWEST_ON_CPU = 1.03
"""Share of the plain loop's time."""
FASTER, FASTER_CACHED = 1.5, 2.5
"""Than the plain loop, on a large GPU."""
TOLERANCE = 4.0
"""Levels of 255, on the average, between two pictures that count as equal: kernels of attention and
compiled blocks round otherwise. Random weights blow such differences up more than trained ones."""
FAST = "attention=_native_cudnn compile"
CACHED = f"{FAST} cache=first_block cache_threshold=0.1"
SWITCHES = (
    "cache=first_block cache_threshold=0.03",
    "cache=first_block",
    "cache=taylorseer cache_interval=2",
    "cache=taylorseer",
    "cache=pyramid",
    "quantisation=int8",
    "quantisation=float8",
    "casting",
    "compile",
)

Render = Callable[[RenderJob], Frames]


@dataclass(frozen=True)
class Subject:
    """A model that is measured."""

    name: str
    spec: ModelSpec
    folder: Path
    job: RenderJob


def job_of(spec: ModelSpec, width: int, height: int, frames: int, steps: int) -> RenderJob:
    """A segment from text."""
    return RenderJob(
        segment_id=0,
        attempt=1,
        segment=Segment(
            index=0,
            scene=0,
            prompt="",
            seed=0,
            num_frames=frames,
            overlap_frames=0,
            keep_frames=frames,
            continues=None,
            address="0" * 64,
        ),
        settings=RenderSettings(
            model=spec.name,
            seed=0,
            negative_prompt="",
            num_inference_steps=steps,
            guidance_scale=spec.guidance_scale,
        ),
        revision="r1",
        rendered_size=(width, height),
        film_size=(width, height),
        fps=spec.native_fps,
        tail_frames=spec.overlap_frames,
    )


def with_prompt(job: RenderJob, prompt: str, seed: int) -> RenderJob:
    """The job with another prompt and seed."""
    return job.replace(segment=job.segment.replace(prompt=prompt, seed=seed))


def subjects(work: Path, device: str) -> list[Subject]:
    """The bundled model, and both shapes: in full size if there is a GPU."""
    tiny = device == "cpu"
    demo = job_of(DEMO, *DEMO.sizes[0], DEMO.max_frames, DEMO.num_inference_steps)
    found = [Subject("demo", DEMO, weight_store.folder_of(DEMO, "", Path()), demo)]
    full = {"wan": ("wan2.1-t2v-1.3b", 832, 480, 81, 50), "ltx": ("ltx", 768, 512, 121, 40)}
    for shape in shapes.SHAPES:
        name, width, height, frames, steps = full[shape]
        if tiny:
            width, height, frames, steps = 128, 96, 17, 20
        spec = MODELS[name]
        folder = shapes.build(shape, work / f"{shape}-{device}", tiny=tiny, device=device)
        job = job_of(spec, width, height, frames, steps)
        found.append(Subject(f"{shape}{' (tiny)' if tiny else ''}", spec, folder, job))
    return found


def plain(subject: Subject, device: str) -> Render:
    """The loop of the model cards."""
    kind = getattr(diffusers, subject.spec.calling.pipelines["text"])
    usual = torch.float32 if device == "cpu" else torch.bfloat16
    vae = torch.float32 if subject.spec.calling.vae_dtype == "float32" else usual
    pipeline = kind.from_pretrained(subject.folder, dtype={"default": usual, "vae": vae})
    if subject.spec.calling.scheduler:
        pipeline.scheduler = type(pipeline.scheduler).from_config(
            pipeline.scheduler.config, **subject.spec.calling.scheduler
        )
    pipeline.to(device)
    pipeline.set_progress_bar_config(disable=True)
    more = dict(subject.spec.calling.arguments)
    if subject.spec.calling.fps:
        more[subject.spec.calling.fps] = int(subject.spec.native_fps)

    def render(job: RenderJob) -> Frames:
        video = pipeline(
            prompt=job.segment.prompt,
            negative_prompt=job.settings.negative_prompt,
            width=job.rendered_size[0],
            height=job.rendered_size[1],
            num_frames=job.segment.num_frames,
            num_inference_steps=job.settings.num_inference_steps,
            guidance_scale=job.settings.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(job.segment.seed),
            output_type="np",
            **more,
        ).frames[0]
        return (video * 255).round().astype(np.uint8)

    return render


def ours(subject: Subject, written: str, threads: int) -> Render:
    """Longreel's renderer with flags."""
    flags = RenderFlags(**read_flags(written))
    renderer = DiffusersRenderer(
        subject.spec,
        Setup(folder=subject.folder, threads=threads, flags=at_loading(flags)),
    )

    def render(job: RenderJob) -> Frames:
        switched = job.replace(settings=job.settings.replace(flags=flags))
        return renderer.render(switched, None, lambda *_: None).frames

    return render


def segments(job: RenderJob, count: int) -> list[RenderJob]:
    """Jobs as films have them: several segments of a scene have its prompt."""
    return [
        with_prompt(job, f"a red ball in scene {number // 4}.", number) for number in range(count)
    ]


def timed(render: Render, job: RenderJob) -> tuple[Frames, float]:
    """The frames, and seconds."""
    began = time.perf_counter()
    frames = render(job)
    return frames, time.perf_counter() - began


def compare(first: Render, second: Render, jobs: list[RenderJob]) -> tuple[float, float]:
    """How many times as fast the second is (median over the jobs, each rendered by both in turns),
    and levels of 255 between their pictures (mean of the worst job)."""
    for render in (first, second):
        render(jobs[0])  # what is done once: compiling, allocating
    ratios, apart = [], []
    for number, job in enumerate(jobs):
        order = (first, second) if number % 2 == 0 else (second, first)
        results = {render: timed(render, job) for render in order}
        (one, one_seconds), (other, other_seconds) = results[first], results[second]
        ratios.append(one_seconds / other_seconds)
        apart.append(float(np.abs(one.astype(int) - other.astype(int)).mean()))
    return statistics.median(ratios), max(apart)


def against_plain(subject: Subject, device: str, count: int, threads: int) -> bool:
    """Prints the comparison; whether its goals are met."""
    jobs = segments(subject.job, count)
    loop = plain(subject, device)
    wanted = [("", 1 / SLOWEST_ON_CPU)]
    if device != "cpu" and subject.name != "demo":
        wanted = [("", 1 / SLOWEST_ON_CPU), (FAST, FASTER), (CACHED, FASTER_CACHED)]
    met = True
    for written, goal in wanted:
        faster, apart = compare(loop, ours(subject, written, threads), jobs)
        good = faster >= goal and ("cache" in written or apart <= TOLERANCE)
        met = met and good
        print(
            f"{subject.name:<12} {written or 'as it is':<46} takes {1 / faster:5.3f} of the plain "
            f"loop ({faster:.2f}x; at least {goal:.2f}x), pictures {apart:.3f} of 255 apart"
            f"{'' if good else '  MISSED'}",
            flush=True,
        )
    return met


def switches(subject: Subject, prompts: int, threads: int) -> None:
    """Prints what each switch gives and costs with the bundled model."""
    chosen = choose(prompts)
    jobs = [
        with_prompt(subject.job, captions.caption(one, np.random.default_rng(number)), number)
        for number, one in enumerate(chosen)
    ]
    usual = ours(subject, "", threads)

    def quality(render: Render) -> dict[str, float]:
        return score(
            [(asked, detect(render(job))) for asked, job in zip(chosen, jobs, strict=True)]
        )

    names = "".join(f"{name:>8}" for name in (*ATTRIBUTES, "all"))
    print(f"\n{f'{len(jobs)} held-out prompts':<42}  speed  apart {names}")
    print(_line("as it is", 1.0, 0.0, quality(usual)), flush=True)
    for written in SWITCHES:
        switched = ours(subject, written, threads)
        faster, apart = compare(usual, switched, jobs[:6])
        print(_line(written, faster, apart, quality(switched)), flush=True)


def _line(name: str, faster: float, apart: float, right: dict[str, Any]) -> str:
    shares = "".join(f"{value:8.2f}" for value in right.values())
    return f"{name:<42} {faster:5.2f}x {apart:6.2f} {shares}"


def main() -> int:
    """Prints the figures; returns 1 if a goal is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--segments", type=int, default=12)
    parser.add_argument("--prompts", type=int, default=32, help="0: nothing but the plain loop")
    parser.add_argument("--threads", type=int, default=0, help="0: one per processor")
    parser.add_argument("--work", type=Path, help="where to keep the random weights")
    options = parser.parse_args()
    for library in (diffusers, __import__("transformers")):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    threads = options.threads or torch.get_num_threads()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else f"{threads} CPU threads"
    print(f"On {name}; {options.segments} segments, four to a prompt\n")
    with tempfile.TemporaryDirectory() as folder:
        found = subjects(options.work or Path(folder), device)
        met = [against_plain(one, device, options.segments, threads) for one in found]
    if options.prompts:
        switches(found[0], options.prompts, threads)
    return 0 if all(met) else 1


if __name__ == "__main__":
    raise SystemExit(main())
