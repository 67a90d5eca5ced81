"""The renderer through its Protocol: what it gives, what it refuses, and that it repeats itself."""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from benchmarks.frames import read_frames
from film.errors import (
    BadPictureError,
    Cancelled,
    OutOfMemoryError,
    RenderError,
    WorkerLostError,
)
from film.families import DEMO, MODELS
from film.families.lookup import find_model
from film.types import RenderJob
from flows.worker.render_process import (
    Rendering,
    RenderProcess,
    Watch,
    received_error,
)
from media.tail import read_tail, write_tail
from renderer.pipeline.diffusers_renderer import DiffusersRenderer
from renderer.process import main, messages
from renderer.protocol import Renderer, Setup
from renderer.weights import weight_store
from tests.jobs import a_job, changed
from tests.renderer.preloaded import run_alone, start_rendering
from training.demo import detector

pytestmark = [
    pytest.mark.slow,
    # Both arise in diffusers: numpy's new calling convention, and weights files left open.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

HERE = weight_store.folder_of(DEMO, "", Path())
JOB = a_job(
    segment_id=1,
    attempt=1,
    address="0" * 64,
    model="demo",
    revision="r1",
    prompt="A red ball rolls to the right over green grass under a blue sky.",
    negative_prompt="",
    seed=7,
    width=96,
    height=64,
    film_size=(96, 64),
    num_frames=17,
    fps=Fraction(8),
    num_inference_steps=DEMO.num_inference_steps,
    guidance_scale=DEMO.guidance_scale,
    overlap_frames=0,
    keep_frames=14,
    tail_frames=5,
)


def but(**changes: object) -> RenderJob:
    """The job with other values."""
    return changed(JOB, **changes)


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return DiffusersRenderer(DEMO, Setup(folder=HERE, threads=1))


def ignore(step: int, steps: int) -> None:
    """For who does not care how far it is."""


def test_it_gives_the_kept_frames_and_follows_sky_floor_and_colour(renderer: Renderer) -> None:
    steps: list[tuple[int, int]] = []
    frames = renderer.render(JOB, None, lambda *step: steps.append(step)).frames
    assert (frames.shape, frames.dtype) == ((14, 64, 96, 3), np.dtype(np.uint8))
    assert steps == [(step, 16) for step in range(1, 17)]
    seen = detector.detect(frames)
    assert (seen.sky.value, seen.floor.value, seen.colour.value) == ("blue", "grass", "red")


def test_the_same_job_gives_the_same_bytes_and_another_seed_others(renderer: Renderer) -> None:
    quick = but(num_inference_steps=3)
    first = renderer.render(quick, None, ignore).frames
    other = renderer.render(but(num_inference_steps=3, seed=8), None, ignore).frames
    again = renderer.render(quick, None, ignore).frames
    assert first.tobytes() == again.tobytes() != other.tobytes()


def test_a_continued_segment_begins_where_the_one_before_ended(renderer: Renderer) -> None:
    before = renderer.render(JOB, None, ignore).frames
    continued = but(overlap_frames=5, keep_frames=12, seed=8)
    after = renderer.render(continued, before[-5:], ignore).frames
    assert after.shape == (12, 64, 96, 3)
    step = np.abs(after[0].astype(int) - before[-1].astype(int)).mean()
    unrelated = np.abs(after[0].astype(int)[::-1] - before[-1].astype(int)).mean()
    assert step < 5 < unrelated


def test_a_job_is_given_up_in_the_middle(renderer: Renderer) -> None:
    def stop_at_half(step: int, steps: int) -> None:
        if step >= steps / 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        renderer.render(JOB, None, stop_at_half)
    assert renderer.render(but(num_inference_steps=2), None, ignore).frames.shape[0] == 14


def test_an_argument_that_the_pipeline_lacks_is_refused_rather_than_swallowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calling = DEMO.calling.replace(arguments={"motion_strength": 2})
    monkeypatch.setitem(MODELS, "demo", DEMO.replace(calling=calling))
    with pytest.raises(RenderError, match="does not take motion_strength"):
        DiffusersRenderer(MODELS["demo"], Setup(folder=HERE, threads=1)).render(JOB, None, ignore)


def test_it_says_what_decided_the_pixels(renderer: Renderer) -> None:
    made_by = renderer.render(but(num_inference_steps=1), None, ignore).made_by
    assert made_by["threads"] == 1
    assert {"device", "scheduler", "torch", "diffusers", "transformers", "ftfy"} <= made_by.keys()
    assert (made_by["model"], made_by["revision"], made_by["seed"]) == ("demo", "r1", 7)
    assert made_by["decode_seconds"] > 0


def test_a_prompt_is_encoded_once_and_gives_the_same_bytes_as_anew(renderer: Renderer) -> None:
    assert isinstance(renderer, DiffusersRenderer)
    (memory,) = renderer._pipelines.memories
    quick = but(num_inference_steps=2, prompt="a blue box under a pink sky over sand")
    before = memory.encoded
    first = renderer.render(quick, None, ignore).frames
    again = renderer.render(quick, None, ignore).frames
    assert memory.encoded == before + 1
    anew = DiffusersRenderer(DEMO, Setup(folder=HERE, threads=1)).render(quick, None, ignore).frames
    assert first.tobytes() == again.tobytes() == anew.tobytes()
    assert len(weight_store.bundled_revision(DEMO)) == 16
    assert find_model("demo") is DEMO


@pytest.fixture
def rendering() -> Iterator[RenderProcess]:
    rendering = start_rendering(DEMO, Setup(folder=HERE, threads=1))
    yield rendering
    rendering.kill()


def until(kind: Any, rendering: Rendering) -> messages.JobMessage:
    """The first such message about a job."""
    while True:
        message = rendering.receive(60)
        assert message is not None
        if isinstance(message, kind):
            return message


def outcome(rendering: Rendering) -> messages.JobMessage:
    """What a job comes to."""
    return until(messages.Done | messages.Failed | messages.Stopped, rendering)


def test_a_rendering_process_makes_files_of_jobs_and_survives_a_bad_one(
    rendering: RenderProcess, tmp_path: Path
) -> None:
    done = outcome(rendering.begin(but(num_inference_steps=2), tmp_path))
    assert isinstance(done, messages.Done)
    video, tail = Path(done.rendered.video_path), Path(done.rendered.tail_path)
    assert read_frames(video).shape == (14, 64, 96, 3)
    assert read_tail(tail).shape == (5, 64, 96, 3)
    assert done.rendered.made_by["peak_memory_bytes"] > 2**20

    missing = str(tmp_path / "gone.mkv")
    job = but(tail=missing, overlap_frames=5, keep_frames=12)
    failed = outcome(rendering.begin(job, tmp_path))
    assert isinstance(failed, messages.Failed)
    assert "gone.mkv" in str(received_error(failed))

    # A segment shorter than the overlap passes on what it was itself conditioned on.
    before = read_tail(tail)
    write_tail(before, tmp_path / "before.mkv", fps=Fraction(8))
    short = but(
        tail=str(tmp_path / "before.mkv"),
        overlap_frames=5,
        keep_frames=2,
        num_inference_steps=2,
    )
    done = outcome(rendering.begin(short, tmp_path))
    assert isinstance(done, messages.Done)
    passed_on = read_tail(Path(done.rendered.tail_path))
    assert (passed_on[:3] == before[2:]).all()


def test_a_rendering_process_that_is_told_to_stop_does_and_goes_on_with_the_next_job(
    rendering: RenderProcess, tmp_path: Path
) -> None:
    long = rendering.begin(but(num_inference_steps=500), tmp_path)
    until(messages.Progress, long)
    rendering.give_up(long)
    assert rendering.alive
    assert isinstance(outcome(rendering.begin(but(num_inference_steps=1), tmp_path)), messages.Done)


def test_the_next_job_is_rendered_while_the_files_of_the_one_before_are_written(
    rendering: RenderProcess, tmp_path: Path
) -> None:
    jobs = [but(segment_id=number, num_inference_steps=1) for number in (1, 2)]
    for job in jobs:
        (tmp_path / str(job.segment_id)).mkdir()
    first, second = (rendering.begin(job, tmp_path / str(job.segment_id)) for job in jobs)
    until(messages.Pictured, second)
    assert rendering.alive
    assert [isinstance(outcome(each), messages.Done) for each in (first, second)] == [True, True]


def test_jobs_of_a_process_that_is_killed_end_with_an_error(
    rendering: RenderProcess, tmp_path: Path
) -> None:
    job = rendering.begin(but(num_inference_steps=500), tmp_path)
    until(messages.Progress, job)
    os.kill(rendering.pid, signal.SIGKILL)
    with pytest.raises(WorkerLostError, match=r"demo died \(exit code -9\)"):
        job.receive(60)
    with pytest.raises(WorkerLostError):
        rendering.begin(JOB, tmp_path)
    assert not rendering.alive


def watch_for(watch: Watch, seconds: float) -> None:
    """Checks for a time that the process moves."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.2)
        watch.require_moving()


def test_a_process_that_stands_still_is_noticed_and_one_that_is_only_slow_is_not(
    rendering: RenderProcess, tmp_path: Path
) -> None:
    job = rendering.begin(but(num_inference_steps=500), tmp_path)
    until(messages.Progress, job)
    watch = Watch(rendering, stall=1.0, step=600.0, load=600.0)
    watch_for(watch, 2.5)  # it reports no step, but the processor is in use
    os.kill(rendering.pid, signal.SIGSTOP)
    with pytest.raises(WorkerLostError, match=r"stalled: made no step and used no processor"):
        watch_for(watch, 20)
    assert not rendering.alive


def test_a_process_that_stands_still_while_it_encodes_is_noticed_too(
    rendering: RenderProcess, tmp_path: Path
) -> None:
    job = rendering.begin(but(num_inference_steps=1), tmp_path)
    until(messages.Pictured, job)
    os.kill(rendering.pid, signal.SIGSTOP)
    with pytest.raises(WorkerLostError, match=r"stalled: made no step and used no processor"):
        job.files(Watch(rendering, stall=1.0, step=600.0, load=600.0))
    assert not rendering.alive


def leave_memory(free: int) -> None:
    """Limits the memory of this process to what it uses and `free` bytes."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + free, resource.RLIM_INFINITY))


def unlimit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def render_with_little_memory() -> tuple[str, list[str]]:
    """The error of a segment that is too large, and the savings of one that fits."""
    renderer = DiffusersRenderer(DEMO, Setup(folder=HERE, threads=1))
    quick = but(num_inference_steps=1)
    assert renderer.render(quick, None, ignore).made_by["memory_savings"] == []
    leave_memory(2**20)
    large = but(width=1536, height=1024, num_inference_steps=1)
    try:
        renderer.render(large, None, ignore)
    except OutOfMemoryError as error:
        unlimit_memory()
        sentence = str(error)
    return sentence, renderer.render(quick, None, ignore).made_by["memory_savings"]


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of memory is Linux's")
def test_memory_that_runs_out_is_saved_once_and_then_named_in_a_sentence() -> None:
    sentence, savings = run_alone(render_with_little_memory)
    assert "cpu has too little memory for 17 frames of 1536x1024" in sentence
    assert savings == ["VAE tiling", "VAE slicing"]


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of memory is Linux's")
def test_memory_that_runs_out_anywhere_in_a_job_is_said_to_be_that(
    rendering: RenderProcess, tmp_path: Path
) -> None:
    first, second, third = (but(num_inference_steps=1, attempt=number) for number in (1, 2, 3))
    assert isinstance(outcome(rendering.begin(first, tmp_path)), messages.Done)
    used = psutil.Process(rendering.pid).memory_info().vms  # enough to render, not for a thread
    resource.prlimit(rendering.pid, resource.RLIMIT_AS, (used, resource.RLIM_INFINITY))
    failed = outcome(rendering.begin(second, tmp_path))
    assert isinstance(failed, messages.Failed)
    assert failed.kind == "OutOfMemoryError"
    assert "too little memory for 17 frames of 96x64" in failed.message
    no_limit = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(rendering.pid, resource.RLIMIT_AS, no_limit)
    assert isinstance(outcome(rendering.begin(third, tmp_path)), messages.Done)


OPEN: list[Connection] = []
"""Ends of pipes that stay open until the process ends."""


def load_with_little_memory() -> tuple[str, str]:
    """Kind and message of what a rendering process reports."""
    DiffusersRenderer(DEMO, Setup(folder=HERE, threads=1))  # so that every library is there
    ours, theirs = Pipe()
    threading.stack_size(2**17)
    leave_memory(2**20)
    main.serve(theirs, DEMO, Setup(folder=HERE, threads=1))
    unlimit_memory()
    failed = ours.recv()
    OPEN.append(ours)  # the process would end with it, before it has reported
    return failed.kind, failed.message


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of memory is Linux's")
def test_too_little_memory_to_load_a_model_is_said_to_be_that() -> None:
    kind, message = run_alone(load_with_little_memory)
    assert kind == "OutOfMemoryError"
    assert message.startswith("The worker has too little memory to load the model")


def test_a_picture_that_is_not_finite_is_a_bad_picture(renderer: Renderer) -> None:
    with pytest.raises(BadPictureError, match=r"not finite for seed 7\."):
        renderer.render(but(guidance_scale=1e38, num_inference_steps=2), None, ignore)
