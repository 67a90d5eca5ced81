"""Folders of encoded prompts and latents: which job has which, and what is removed when."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from film.types import RenderJob
from renderer import cache_folders
from tests.jobs import a_job

ADDRESS = "a" * 64


def make_latents(home: Path, job: RenderJob) -> Path:
    folder = cache_folders.latents_of(home, job)
    folder.mkdir(parents=True)
    (folder / "0.safetensors").write_bytes(b"latents")
    return folder


def test_prompts_of_other_weights_are_in_another_folder(tmp_path: Path) -> None:
    assert cache_folders.prompts_of(tmp_path, "r1") != cache_folders.prompts_of(tmp_path, "r2")


@pytest.mark.parametrize("other", [{"seed": 8}, {"address": "b" * 64}])
def test_a_retake_and_another_segment_have_latents_of_their_own(
    tmp_path: Path, other: dict[str, object]
) -> None:
    job = a_job(address=ADDRESS, seed=7)
    folder = cache_folders.latents_of(tmp_path, job)
    assert cache_folders.latents_of(tmp_path, a_job(address=ADDRESS, seed=7, attempt=3)) == folder
    assert cache_folders.latents_of(tmp_path, a_job(**{"address": ADDRESS, **other})) != folder


def test_a_stored_segment_takes_the_latents_of_all_its_takes_with_it(tmp_path: Path) -> None:
    takes = [make_latents(tmp_path, a_job(address=ADDRESS, seed=seed)) for seed in (7, 8)]
    another = make_latents(tmp_path, a_job(address="b" * 64))
    cache_folders.forget_latents(tmp_path, a_job(address=ADDRESS, seed=8))
    assert not any(folder.exists() for folder in takes)
    assert another.is_dir()


def test_forgetting_what_was_never_kept_is_no_error(tmp_path: Path) -> None:
    cache_folders.forget_latents(tmp_path, a_job())
    assert list(tmp_path.iterdir()) == []


def test_latents_that_no_process_used_again_are_removed_after_days(tmp_path: Path) -> None:
    old, new = (make_latents(tmp_path, a_job(seed=seed)) for seed in (1, 2))
    age = (cache_folders.KEPT_DAYS * 24 + 1) * 3600
    os.utime(old, (time.time() - age, time.time() - age))
    cache_folders.tidy(tmp_path)
    assert (old.exists(), new.exists()) == (False, True)


def test_an_installation_without_latents_is_tidy(tmp_path: Path) -> None:
    cache_folders.tidy(tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == []
