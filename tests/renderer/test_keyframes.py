"""Keyframes on their way through a rendering process: kept of an anchor, and led to by segments."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
from PIL import Image

from benchmarks.frames import read_frames
from film.demo_world import Colour, Floor, Motion, Shape, Sky, plain_caption
from film.families import DEMO, MODELS
from film.types import RenderJob
from media.tail import read_tail, write_tail
from renderer.pipeline import conditioning
from renderer.pipeline.diffusers_renderer import DiffusersRenderer
from renderer.process import segment_files
from renderer.protocol import Frames, Rendered, Renderer, Setup
from renderer.weights import weight_store
from tests.jobs import changed
from tests.renderer.test_renderer import JOB, but, ignore
from training.demo import detector, world
from training.demo.world import Combination

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return DiffusersRenderer(
        DEMO, Setup(folder=weight_store.folder_of(DEMO, "", Path()), threads=1)
    )


def made(renderer: Renderer, job: RenderJob, folder: Path) -> Rendered:
    """The files of a job, as the rendering process writes them."""
    folder.mkdir(exist_ok=True)
    return segment_files.encode(segment_files.start(renderer, job, ignore), folder)


def anchor(**changes: Any) -> RenderJob:
    """A job for the keyframes of a scene, quick to render."""
    return but(keyframes=(0, 8, 16), keep_frames=0, num_inference_steps=3, **changes)


def test_an_anchor_keeps_its_keyframes_and_shows_all_that_it_rendered(
    renderer: Renderer, tmp_path: Path
) -> None:
    files = made(renderer, anchor(), tmp_path)
    assert files.num_frames == 17
    assert read_frames(Path(files.video_path)).shape == (17, 64, 96, 3)
    whole = renderer.render(anchor(), None, ignore).frames
    assert (read_tail(Path(files.tail_path)) == whole[[0, 8, 16]]).all()


def test_pictures_that_were_given_are_keyframes_as_they_are(
    renderer: Renderer, tmp_path: Path
) -> None:
    first, last = (world.sample_clip(MOVING, seed=1)[n] for n in (0, 16))
    paths = [tmp_path / "first.png", tmp_path / "last.png"]
    for picture, path in zip((first, last), paths, strict=True):
        Image.fromarray(picture).save(path)
    job = anchor(image=str(paths[0]), last_image=str(paths[1]))
    kept = read_tail(Path(made(renderer, job, tmp_path).tail_path))
    assert (kept[0] == first).all()
    assert (kept[-1] == last).all()

    # After another scene it is the last frame of that.
    write_tail(np.stack([last, first]), tmp_path / "before.mkv", fps=Fraction(8))
    before = str(tmp_path / "before.mkv")
    job = anchor(tail=before, overlap_frames=1)
    assert (read_tail(Path(made(renderer, job, tmp_path).tail_path))[0] == first).all()


def test_a_segment_leads_from_its_keyframe_to_the_next(renderer: Renderer, tmp_path: Path) -> None:
    clip = world.sample_clip(MOVING, seed=1)
    write_tail(clip[[4, 0, 8]], tmp_path / "keyframes.mkv", fps=Fraction(8))
    job = but(
        prompt=plain_caption(MOVING),
        tail=str(tmp_path / "keyframes.mkv"),
        keyframe=1,
        overlap_frames=1,
        keep_frames=16,
    )
    files = made(renderer, job, tmp_path)
    frames = read_frames(Path(files.video_path))
    assert len(frames) == 16
    assert np.abs(frames[0].astype(int) - clip[0]).mean() < 6
    assert np.abs(frames[-1].astype(int) - clip[8]).mean() < 6
    # The first of a scene shows its keyframe too, in its colours.
    shown = changed(job, overlap_frames=0, keep_frames=17)
    whole = read_frames(Path(made(renderer, shown, tmp_path).video_path))
    assert len(whole) == 17
    assert np.abs(whole[0].astype(int) - clip[0]).mean() < 6
    # A segment that continues it starts from its own frames, and no further back than its keyframe.
    short = changed(job, keep_frames=2, num_inference_steps=2)
    tail = read_tail(Path(made(renderer, short, tmp_path).tail_path))
    assert len(tail) == 3
    assert (tail[0] == clip[0]).all()


def test_a_short_segment_passes_on_all_that_it_could_be_continued_from(
    renderer: Renderer, tmp_path: Path
) -> None:
    clip = world.sample_clip(MOVING, seed=1)
    write_tail(clip[:5], tmp_path / "before.mkv", fps=Fraction(8))
    before = str(tmp_path / "before.mkv")
    job = but(tail=before, overlap_frames=1, keep_frames=2, num_inference_steps=2)
    tail = read_tail(Path(made(renderer, job, tmp_path).tail_path))
    assert (tail[:3] == clip[2:5]).all()


MOVING = Combination(
    shape=Shape.CIRCLE, colour=Colour.RED, sky=Sky.SUNSET, floor=Floor.SNOW, motion=Motion.LEFT
)
"""Never shown in training."""


def place(frame: Frames) -> Any:
    """Position of the object in a picture, in pixels."""
    return detector.locate(np.stack([frame] * 3))[1, :2]


def test_the_demo_model_ends_where_it_is_told_though_it_would_go_on(renderer: Renderer) -> None:
    for shown in (MOVING, MOVING.replace(motion=Motion.DOWN)):
        # Half the way in the whole time: half as fast as anything that it was trained on.
        clip = world.sample_clip(shown, seed=1)
        wanted = place(clip[8])
        job = but(prompt=plain_caption(shown), keep_frames=17, num_inference_steps=8)
        told = place(renderer.render(job, clip[:1], ignore, clip[8:9]).frames[-1])
        free = place(renderer.render(job, clip[:1], ignore).frames[-1])
        assert np.abs(told - wanted).max() < 4
        assert np.abs(told - wanted).max() < np.abs(free - wanted).max() / 2


@pytest.mark.parametrize(("name", "place"), [("ltx", 9), ("demo", 12), ("ltx2", -1)])
def test_a_last_picture_is_told_to_lie_where_the_model_takes_it(name: str, place: int) -> None:
    spec = MODELS[name]
    kind = getattr(diffusers, spec.calling.pipelines["first_last"])
    picture = np.zeros((1, 64, 96, 3), np.uint8)
    job = changed(JOB, num_frames=17, overlap_frames=1, keep_frames=9)
    (first, last) = conditioning.arguments(spec, kind.__new__(kind), job, picture, picture)[
        "conditions"
    ]
    if name == "ltx2":
        assert (first.index, last.index) == (0, place)
    else:
        assert (first.frame_index, last.frame_index) == (0, place)
    ends = changed(job, keyframes=(0, 16), keep_frames=0)
    last = conditioning.arguments(spec, kind.__new__(kind), ends, picture, picture)["conditions"][1]
    assert getattr(last, "frame_index", -1) == {"ltx": 16, "demo": 12, "ltx2": -1}[name]
