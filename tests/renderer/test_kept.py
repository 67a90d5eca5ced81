"""What a renderer keeps on the disk: encoded prompts, and latents until a segment is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from film.families import DEMO
from renderer import cache_folders
from renderer.pipeline import vae_decoding
from renderer.pipeline.diffusers_renderer import DiffusersRenderer
from renderer.protocol import Setup
from tests.jobs import changed
from tests.renderer.test_families import Family, family, pytestmark
from tests.renderer.test_renderer import HERE, but, ignore

__all__ = ["family", "pytestmark"]

REVISION = "r1"


class BrokenError(RuntimeError):
    """What a decoder may die of."""


def renderer(home: Path) -> DiffusersRenderer:
    """A renderer of the demo model, as a new process has it."""
    return DiffusersRenderer(DEMO, Setup(folder=HERE, threads=1, home=home, revision=REVISION))


def asked(one: DiffusersRenderer) -> int:
    """How often its text encoder was asked."""
    return sum(memory.encoded for memory in one._pipelines.memories)


def test_a_prompt_is_encoded_once_for_all_processes_of_a_machine(tmp_path: Path) -> None:
    job = but(num_inference_steps=1)
    first, second = renderer(tmp_path), renderer(tmp_path)
    frames = first.render(job, None, ignore).frames
    assert asked(first) == 1
    assert second.render(job, None, ignore).frames.tobytes() == frames.tobytes()
    assert asked(second) == 0
    other = second.render(changed(job, prompt="a blue box"), None, ignore)
    assert asked(second) == 1
    assert other.made_by["prompt_seconds"] > 0

    (one, _) = cache_folders.prompts_of(tmp_path, REVISION).iterdir()
    for file in cache_folders.prompts_of(tmp_path, REVISION).iterdir():
        file.write_bytes(one.read_bytes()[:100])
    third = renderer(tmp_path)
    assert third.render(job, None, ignore).frames.tobytes() == frames.tobytes()
    assert asked(third) == 1, "a damaged file counts for nothing"


def test_other_weights_have_prompts_of_their_own(tmp_path: Path) -> None:
    job = but(num_inference_steps=1)
    renderer(tmp_path).render(job, None, ignore)
    other = DiffusersRenderer(DEMO, Setup(folder=HERE, threads=1, home=tmp_path, revision="r2"))
    other.render(job, None, ignore)
    assert asked(other) == 1


def breaking(one: DiffusersRenderer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its VAE fails from now on, after it was given its latents."""
    vae = one._pipelines.main.vae
    monkeypatch.setattr(vae, "_decode", lambda *_, **__: (_ for _ in ()).throw(BrokenError()))


def steps_of(one: DiffusersRenderer, job: Any, *given: Any) -> tuple[bytes, int]:
    """The frames, and how many steps they took."""
    steps: list[int] = []
    frames = one.render(job, None, lambda step, _: steps.append(step)).frames
    return frames.tobytes(), len(steps)


def test_a_failure_in_decoding_costs_a_decoding_also_where_the_process_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, steps = steps_of(renderer(tmp_path / "other"), but())
    assert steps == 16
    lost = renderer(tmp_path)
    with monkeypatch.context() as patched:
        breaking(lost, patched)
        with pytest.raises(BrokenError):
            lost.render(but(), None, ignore)
    assert cache_folders.latents_of(tmp_path, but()).is_dir()

    again, steps = steps_of(renderer(tmp_path), but())
    assert again == whole
    assert steps == vae_decoding.REPLAY_STEPS

    cache_folders.forget_latents(tmp_path, but())
    assert not list((tmp_path / "latents").iterdir())
    assert steps_of(renderer(tmp_path), but()) == (whole, 16)


def test_latents_of_another_job_are_not_used(tmp_path: Path) -> None:
    renderer(tmp_path).render(but(), None, ignore)
    for job in (but(seed=8), but(address="1" * 64)):
        assert steps_of(renderer(tmp_path), job)[1] == 16


def test_damaged_latents_are_rendered_again(tmp_path: Path) -> None:
    one = renderer(tmp_path)
    whole = one.render(but(), None, ignore).frames.tobytes()
    for file in cache_folders.latents_of(tmp_path, but()).iterdir():
        file.write_bytes(b"nothing")
    assert steps_of(one, but())[0] == whole


def test_every_family_decodes_from_what_was_kept(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = family.renderer
    monkeypatch.setattr(one, "_home", tmp_path)
    before = family.first()
    whole = family.render(before, num_inference_steps=4).tobytes()
    taken = len(family.steps)
    again = family.render(before, num_inference_steps=4).tobytes()
    assert again == whole
    assert len(family.steps) < taken
