"""One segment is decoded while the next is denoised: with the same bytes as one after another."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from film.errors import Cancelled
from film.families import DEMO
from film.types import Cache, RenderFlags, RenderJob
from renderer.pipeline.diffusers_renderer import DiffusersRenderer
from renderer.protocol import Footage, RenderInputs, Setup
from tests.jobs import changed
from tests.renderer.test_families import JOB, Family, family, pytestmark
from tests.renderer.test_renderer import HERE, but, ignore

__all__ = ["family", "pytestmark"]


class Slow:
    """A VAE's decoding that is held up until it is let go."""

    def __init__(self, renderer: DiffusersRenderer, monkeypatch: pytest.MonkeyPatch) -> None:
        vae = renderer._pipelines.main.vae
        decode = vae._decode
        self.begun, self.go_on = threading.Event(), threading.Event()

        def slow(*values: Any, **named: Any) -> Any:
            self.begun.set()
            assert self.go_on.wait(60)
            return decode(*values, **named)

        monkeypatch.setattr(vae, "_decode", slow)


@pytest.fixture
def overlapping() -> DiffusersRenderer:
    return DiffusersRenderer(DEMO, Setup(folder=HERE, threads=1, overlap=True))


def quick(**changes: Any) -> RenderJob:
    return but(num_inference_steps=4, **changes)


def bytes_of(future: Future[Footage]) -> bytes:
    return future.result(60).frames.tobytes()


def test_the_next_one_is_denoised_while_one_is_decoded(
    overlapping: DiffusersRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [quick(seed=seed) for seed in (1, 2)]
    alone = [overlapping.render(job, None, ignore).frames.tobytes() for job in jobs]
    slow = Slow(overlapping, monkeypatch)
    first = overlapping.start(jobs[0], RenderInputs(None, ignore))
    assert slow.begun.wait(60)
    steps: list[int] = []
    thread = threading.Thread(
        target=lambda: second.append(
            overlapping.start(jobs[1], RenderInputs(None, lambda step, _: steps.append(step)))
        )
    )
    second: list[Future[Footage]] = []
    thread.start()
    while len(steps) < 4:
        thread.join(0.05)
    assert not first.done()
    slow.go_on.set()
    thread.join(60)
    assert [bytes_of(first), bytes_of(second[0])] == alone


def test_other_flags_wait_until_nothing_is_under_way(
    overlapping: DiffusersRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiled = quick(flags=RenderFlags(tiling=True))
    alone = overlapping.render(quick(), None, ignore).frames.tobytes()
    slow = Slow(overlapping, monkeypatch)
    first = overlapping.start(quick(), RenderInputs(None, ignore))
    assert slow.begun.wait(60)
    threading.Timer(0.3, slow.go_on.set).start()
    overlapping.start(tiled, RenderInputs(None, ignore)).result(60)
    assert first.done()
    assert bytes_of(first) == alone


def test_a_job_that_is_given_up_leaves_the_one_before_alone(
    overlapping: DiffusersRenderer,
) -> None:
    def stop(step: int, steps: int) -> None:
        raise Cancelled

    alone = overlapping.render(quick(), None, ignore).frames.tobytes()
    first = overlapping.start(quick(), RenderInputs(None, ignore))
    with pytest.raises(Cancelled):
        overlapping.start(quick(seed=8), RenderInputs(None, stop))
    assert bytes_of(first) == alone


def test_every_family_gives_the_same_bytes_as_one_after_another(
    family: Family, tmp_path: Path
) -> None:
    spec, before = family.spec, family.first()
    if set(spec.calling.pipelines) == {"first_last"}:
        pytest.skip("its tiny pipeline is called as the image models' is")
    both = Family(spec.name, tmp_path, overlap=True)
    frames = spec.snap_up(1)
    jobs = [
        changed(
            JOB,
            model=spec.name,
            width=family.side,
            height=family.side,
            seed=seed,
            num_frames=frames,
            num_inference_steps=3,
            overlap_frames=0,
            keep_frames=frames,
            flags=RenderFlags(cache=spec.caches[0]) if spec.caches else RenderFlags(),
        )
        for seed in range(3)
    ]
    alone = [family.renderer.render(job, before, ignore).frames.tobytes() for job in jobs]
    started = [both.renderer.start(job, RenderInputs(before, ignore)) for job in jobs]
    assert [bytes_of(future) for future in started] == alone


def test_caches_of_the_next_one_are_not_reset_by_the_end_of_one(
    overlapping: DiffusersRenderer,
) -> None:
    flags = RenderFlags(cache=Cache.TAYLORSEER, cache_interval=2)
    jobs = [quick(seed=seed, flags=flags) for seed in (1, 2, 3)]
    alone = [overlapping.render(job, None, ignore).frames.tobytes() for job in jobs]
    started = [overlapping.start(job, RenderInputs(None, ignore)) for job in jobs]
    assert [bytes_of(future) for future in started] == alone
