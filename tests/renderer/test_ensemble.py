"""Several processes that render together: the same picture as one, and nothing left of them.

Against tiny pipelines with random weights, on the CPU; no test has ever seen two GPUs.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from film.errors import Cancelled, FlagError, RenderError, WorkerLostError
from film.families import MODELS
from film.flags import at_loading, words
from film.models import ModelSpec
from film.types import Cache, Quantisation, RenderFlags, RenderJob
from flows.worker.render_process import (
    Rendering,
    RenderProcess,
    received_error,
)
from renderer import context_parallel
from renderer.context_parallel import Ensemble
from renderer.pipeline import apply_flags
from renderer.pipeline.diffusers_renderer import DiffusersRenderer
from renderer.pipeline.loading import Pipelines
from renderer.pipeline.shared_prompts import SharedPrompts
from renderer.process import messages
from renderer.protocol import Frames, RenderInputs, Setup
from tests.jobs import changed
from tests.renderer import tiny
from tests.renderer.preloaded import start_companion, start_rendering
from tests.renderer.test_families import JOB, TINY, Family, pytestmark, small

__all__ = ["pytestmark"]

TWO = RenderFlags(context_parallel=2)
PARALLEL = [name for name in TINY if MODELS[name].parallel]
SIDE = 64
LONG_SECONDS = 60.0


def ignore(step: int, steps: int) -> None:
    """Takes no notice of the steps."""


def setup(folder: Path, **more: Any) -> Setup:
    return Setup(folder=folder, threads=1, flags=TWO).replace(**more)


def job_of(spec: ModelSpec, **changes: Any) -> RenderJob:
    frames: dict[str, Any] = {
        "num_frames": spec.min_frames,
        "keep_frames": spec.min_frames,
        "flags": TWO,
    }
    sides = {"width": SIDE, "height": SIDE, "film_size": (SIDE, SIDE)}
    return changed(JOB, model=spec.name, **frames | sides | changes)


def eventually(true: Callable[[], bool], seconds: float = LONG_SECONDS) -> bool:
    """True if it becomes true in time."""
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def companions(pid: int | None = None) -> list[psutil.Process]:
    """Children of a process, by default this one."""
    started = psutil.Process(pid).children(recursive=True)
    return [one for one in started if is_companion(one)]


def is_companion(process: psutil.Process) -> bool:
    """False for a process that has ended, which has no command line."""
    try:
        return "renderer.context_parallel" in process.cmdline()
    except (psutil.ZombieProcess, psutil.NoSuchProcess):
        return False


def gone(processes: list[psutil.Process]) -> Callable[[], bool]:
    def look() -> bool:
        return not any(one.is_running() and one.status() != "zombie" for one in processes)

    return look


@pytest.fixture(params=PARALLEL)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def spec() -> ModelSpec:
    return small(MODELS["wan2.1-t2v-1.3b"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.build("wan-t2v", tmp_path)


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """A process can be a member of one group, and each test makes one."""
    yield
    left = companions()
    for one in left:
        one.kill()
    if context_parallel._distributed.is_initialized():
        context_parallel._distributed.destroy_process_group()
    assert not left, "a test ends its companions"


def test_one_of_them_has_the_text_encoders_and_tells_the_others(
    spec: ModelSpec, folder: Path
) -> None:
    store = context_parallel._distributed.HashStore()
    mine, theirs = (
        Pipelines(spec, folder, "cpu", shared=SharedPrompts(store, rank, 2)) for rank in (0, 1)
    )
    assert mine.main.text_encoder is not None
    assert theirs.main.text_encoder is None
    for prompt in ("a fox", "a hare", "a fox"):
        given, told = (
            each.main.encode_prompt(prompt, num_videos_per_prompt=1) for each in (mine, theirs)
        )
        assert all(map(torch.equal, given, told))
    assert mine.memories[0].encoded == 2
    assert store.num_keys() == 0, "what was told is not kept"


def test_rows_that_say_so_give_the_picture_of_one_process(name: str, tmp_path: Path) -> None:
    family = Family(name, tmp_path)
    family.side = SIDE
    first: Frames | None = family.first()
    last = family.picture(1, seed=9) if "text" not in family.spec.calling.pipelines else None
    if "first_last" not in family.spec.calling.pipelines:
        last = None
    job = job_of(family.spec)
    alone = family.renderer.render(job, first, ignore, last).frames
    together = Ensemble(family.spec, setup(tmp_path), start_companion)
    try:
        two = [together.start(job, RenderInputs(first, ignore, last)).result() for _ in range(2)]
    finally:
        together.end()
    difference = np.abs(two[0].frames.astype(int) - alone.astype(int)).max()
    assert difference <= 1
    assert two[0].frames.tobytes() == two[1].frames.tobytes()
    assert two[0].made_by["rendered_together"] == 2


OTHERS = [
    RenderFlags(cache=Cache.TAYLORSEER, cache_interval=2, tiling=True),
    RenderFlags(cache=Cache.PYRAMID, casting=True),
    RenderFlags(quantisation=Quantisation.INT8),
]


@pytest.mark.parametrize("flags", OTHERS, ids=words)
def test_other_flags_do_the_same_in_each(spec: ModelSpec, folder: Path, flags: RenderFlags) -> None:
    job = job_of(spec, num_inference_steps=6, flags=flags)
    alone = (
        DiffusersRenderer(spec, Setup(folder=folder, threads=1, flags=at_loading(flags)))
        .render(job, None, ignore)
        .frames
    )
    both = flags.replace(context_parallel=2)
    together = Ensemble(spec, setup(folder, flags=at_loading(both)), start_companion)
    try:
        two = together.start(changed(job, flags=both), RenderInputs(None, ignore)).result()
    finally:
        together.end()
    assert np.abs(two.frames.astype(int) - alone.astype(int)).max() <= 1


def test_rows_that_do_not_say_so_cannot(tmp_path: Path) -> None:
    for name in TINY.keys() - set(PARALLEL) - {"ltx", "ltx2"}:
        folder = tiny.build(TINY[name], tmp_path / name)
        pipeline = Pipelines(MODELS[name], folder, "cpu").main
        with pytest.raises(FlagError, match="has no plan for several GPUs"):
            apply_flags.share(pipeline, 2, "cpu")


def test_a_plan_of_diffusers_that_fails_is_no_reason_to_say_so(tmp_path: Path) -> None:
    spec = small(MODELS["ltx"])
    together = Ensemble(spec, setup(tiny.build("ltx", tmp_path)))
    with pytest.raises(RenderError, match="must match the size"):
        together.start(job_of(spec), RenderInputs(None, ignore))
    assert not companions()


def test_a_job_that_is_given_up_ends_the_companions(spec: ModelSpec, folder: Path) -> None:
    def stop(step: int, steps: int) -> None:
        raise Cancelled

    together = Ensemble(spec, setup(folder))
    assert len(companions()) == 1
    with pytest.raises(Cancelled):
        together.start(job_of(spec), RenderInputs(None, stop))
    assert not companions()
    with pytest.raises(WorkerLostError, match="Companion 1 of the rendering process died"):
        together.start(job_of(spec), RenderInputs(None, ignore))


def test_a_companion_that_dies_in_the_middle_is_named(spec: ModelSpec, folder: Path) -> None:
    together = Ensemble(spec, setup(folder))
    began = time.monotonic()

    def lose(step: int, steps: int) -> None:
        companions()[0].kill()

    with pytest.raises(WorkerLostError, match=r"Companion 1 .* died \(exit code -9\)"):
        together.start(job_of(spec, num_inference_steps=4), RenderInputs(None, lose))
    assert time.monotonic() - began < 20


@pytest.fixture
def rendering(spec: ModelSpec, folder: Path) -> Iterator[RenderProcess]:
    started = start_rendering(spec, setup(folder, home=folder / "home"))
    assert eventually(lambda: started.loaded or not started.alive)
    assert started.alive
    yield started
    started.kill()


def heard(job: Rendering, kind: type[messages.JobMessage]) -> messages.JobMessage:
    while not isinstance(message := job.receive(LONG_SECONDS), kind):
        assert message is not None
    return message


def test_none_is_left_of_a_rendering_process_that_is_killed(
    rendering: RenderProcess, spec: ModelSpec, tmp_path: Path
) -> None:
    job = rendering.begin(job_of(spec, num_inference_steps=500), tmp_path)
    heard(job, messages.Progress)
    started = companions(rendering.pid)
    assert len(started) == 1
    os.kill(rendering.pid, signal.SIGKILL)
    assert eventually(gone(started), 3)


def test_giving_up_a_job_costs_no_other_one(
    rendering: RenderProcess, spec: ModelSpec, tmp_path: Path
) -> None:
    started = companions(rendering.pid)
    folders = [tmp_path / name for name in "ab"]
    for place in folders:
        place.mkdir()
    first = rendering.begin(job_of(spec, segment_id=1), folders[0])
    heard(first, messages.Pictured)
    second = rendering.begin(job_of(spec, segment_id=2, num_inference_steps=500), folders[1])
    heard(second, messages.Progress)
    rendering.give_up(second)
    assert eventually(gone(started), 3)
    assert not rendering.alive, "the next job needs another one"
    done = heard(first, messages.Done)
    assert isinstance(done, messages.Done)
    assert done.rendered.num_frames == spec.min_frames
    assert done.rendered.made_by["rendered_together"] == 2
    assert not (tmp_path / "home" / "latents").exists(), "nothing is kept for a replay"


def test_after_a_failure_the_next_job_needs_another_process(
    rendering: RenderProcess, spec: ModelSpec, tmp_path: Path
) -> None:
    job = rendering.begin(job_of(spec, flags=RenderFlags(attention="sage")), tmp_path)
    failed = heard(job, messages.Failed)
    assert isinstance(failed, messages.Failed)
    assert isinstance(received_error(failed), FlagError)
    assert not rendering.alive
    assert rendering.loaded
    assert eventually(lambda: not companions(rendering.pid), 3)
