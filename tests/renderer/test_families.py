"""One contract for every family, against a tiny pipeline of the same classes with random weights.

It proves nothing about pictures: it holds the rows to what diffusers does with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.hunyuan_video1_5.image_processor import HunyuanVideo15ImageProcessor

from film.errors import RenderError
from film.families import MODELS
from film.models import ModelSpec
from film.types import Continuity
from renderer.pipeline import conditioning, diffusers_renderer
from renderer.pipeline.diffusers_renderer import DiffusersRenderer
from renderer.pipeline.loading import Pipelines
from renderer.protocol import Frames, Setup
from tests.jobs import a_job, changed
from tests.renderer import tiny

pytestmark = [
    pytest.mark.slow,
    # All of them arise in diffusers, or in libraries it calls.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TINY = {
    "wan2.1-t2v-1.3b": "wan-t2v",
    "wan2.1-i2v-14b-480p": "wan-i2v-2.1",
    "wan2.1-flf2v-14b": "wan-flf2v",
    "wan2.1-vace-1.3b": "wan-vace",
    "wan2.2-t2v-14b": "wan2.2-a14b-t2v",
    "wan2.2-i2v-14b": "wan2.2-a14b-i2v",
    "wan2.2-5b": "wan2.2-ti2v-5b",
    "ltx": "ltx",
    "ltx2": "ltx2",
    "hunyuan1.5-t2v-480p": "hunyuan-video-1.5-t2v",
    "hunyuan1.5-i2v-480p": "hunyuan-video-1.5-i2v",
    "cogvideox-2b": "cogvideox-t2v",
    "cogvideox-5b-i2v": "cogvideox-i2v",
    "skyreels-v2-1.3b": "skyreels-v2-df",
    "helios": "helios",
    "cosmos2.5-2b": "cosmos2.5-predict",
    "mochi": "mochi",
    "sana-video-2b": "sana-video",
    "svd-xt": "svd",
}
"""The tiny pipeline for a row of each family, and for each way of calling one."""


def small(spec: ModelSpec) -> ModelSpec:
    """The row with lengths that take no time; what is called, and how, stays."""
    shortest = spec.min_frames if spec.frame_step == 32 else spec.frame_step * 2 + 1
    overlap = min(spec.overlap_frames, spec.frame_step + 1)
    calling = spec.calling
    if "base_num_frames" in calling.arguments:
        calling = calling.replace(
            arguments={**calling.arguments, "base_num_frames": 13, "overlap_history": 5}
        )
    return spec.replace(
        calling=calling,
        min_frames=shortest,
        max_frames=shortest + 2 * spec.frame_step,
        overlap_frames=spec.overlap_frames if spec.frame_step == 32 else overlap,
    )


JOB = a_job(
    segment_id=1,
    attempt=1,
    address="0" * 64,
    model="",
    revision="r1",
    prompt="a red ball",
    negative_prompt="blurred",
    seed=7,
    width=16,
    height=16,
    film_size=(16, 16),
    num_frames=9,
    fps=Fraction(8),
    num_inference_steps=2,
    guidance_scale=3.0,
    overlap_frames=0,
    keep_frames=9,
    tail_frames=1,
)


class Family:
    """A tiny model, loaded."""

    def __init__(self, name: str, folder: Path, **more: Any) -> None:
        self.spec = small(MODELS[name])
        weights = tiny.build(TINY[name], folder)
        self.renderer = DiffusersRenderer(self.spec, Setup(folder=weights, threads=1, **more))
        self.side = max(32, 2 * self.spec.size_multiple) if name == "ltx2" else 32
        self.steps: list[tuple[int, int]] = []
        self.made_by: dict[str, Any] = {}

    def render(
        self,
        before: Frames | None = None,
        last: Frames | None = None,
        picture: bool = False,
        **changes: Any,
    ) -> Frames:
        """A segment that continues `before` (or begins with it, as a `picture`) and ends with
        `last`, as many frames as it gives."""
        if last is None and set(self.spec.calling.pipelines) == {"first_last"}:
            last = self.picture(1, seed=9)  # it renders nothing without
        overlap = 0 if before is None or picture else len(before)
        echo = overlap if self.spec.echoes else 0
        values: dict[str, Any] = {
            "num_frames": self.spec.snap_up(echo + 1),
        } | changes
        values = {"width": self.side, "height": self.side} | values
        job = changed(
            JOB,
            model=self.spec.name,
            overlap_frames=overlap,
            keep_frames=values["num_frames"] - echo,
            **values,
        )
        self.steps = []
        footage = self.renderer.render(job, before, lambda *step: self.steps.append(step), last)
        assert bool(footage.sound) == self.spec.sound
        self.made_by = footage.made_by
        return footage.frames

    def decodes_last(self) -> bool:
        """True if nothing is denoised any more once the first picture is decoded."""
        with self._observing_decode() as calls:
            self.render(self.first(), num_frames=self.spec.max_frames)
        return calls[0][0] == len(self.steps)

    def denoised(self, *given: Frames | None, **changes: Any) -> bytes:
        """The latents of a segment, which show what changes a tiny model's picture by less than a
        level."""
        with self._observing_decode() as calls:
            self.render(*given, **changes)
        return b"".join(latents.float().numpy().tobytes() for _, latents in calls)

    @contextmanager
    def _observing_decode(self) -> Iterator[list[tuple[int, torch.Tensor]]]:
        """The calls of the VAE's `decode`: the steps until then, and the latents."""
        vae = self.renderer._pipelines.main.vae
        decode, calls = vae.decode, []

        def observed(latents: torch.Tensor, *values: Any, **named: Any) -> Any:
            calls.append((len(self.steps), latents.clone()))
            return decode(latents, *values, **named)

        vae.decode = observed
        try:
            yield calls
        finally:
            vae.decode = decode

    def picture(self, frames: int, seed: int = 0) -> Frames:
        """Frames to continue."""
        noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        return np.stack([np.kron(noise, np.ones((self.side // 4,) * 2 + (1,), np.uint8))] * frames)

    def first(self) -> Frames | None:
        """The inputs of its first segment in addition to a prompt."""
        return self.picture(1) if self.spec.needs_image else None


@pytest.fixture(scope="module", params=TINY)
def family(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    return Family(request.param, tmp_path_factory.mktemp(request.param))


def test_every_way_of_calling_a_pipeline_has_a_tiny_one() -> None:
    tried = {(MODELS[name].family, *MODELS[name].calling.pipelines.values()) for name in TINY}
    assert {
        (spec.family, *spec.calling.pipelines.values())
        for spec in MODELS.values()
        if spec.family != "demo"
    } == tried


def test_it_gives_the_frames_of_each_length_and_the_same_bytes_again(family: Family) -> None:
    spec, before = family.spec, family.first()
    for number in range(3 if spec.frame_step < 32 else 2):
        length = spec.min_frames + number * spec.frame_step
        frames = family.render(before, num_frames=length)
        echo = 0 if before is None or not spec.echoes else 1
        assert (frames.shape, frames.dtype) == (
            (length - echo, family.side, family.side, 3),
            np.dtype(np.uint8),
        )
    assert family.steps[-1][0] == family.steps[-1][1] == len(family.steps)
    assert family.decodes_last() == spec.calling.decodes_last
    assert len(family.steps) % 2 == 0, "each chunk has two steps"
    torch.rand(7)  # what others draw in between decides nothing
    again = family.render(before, num_frames=length)
    assert again.tobytes() == frames.tobytes()


def test_prompt_seed_and_guidance_decide_the_picture(family: Family) -> None:
    before = family.first()
    plain = family.render(before).tobytes()
    assert family.render(before, seed=8).tobytes() != plain
    if family.spec.calling.names.get("prompt", "prompt"):
        assert family.render(before, prompt="a blue box").tobytes() != plain
        assert family.render(before, negative_prompt="a tree").tobytes() != plain


def test_what_it_continues_decides_the_picture_and_is_not_part_of_it(family: Family) -> None:
    spec = family.spec
    overlaps = [
        frames
        for mode, frames in (("window", spec.overlap_frames), ("image", 1))
        if mode in spec.calling.pipelines
    ]
    for overlap in overlaps:
        one = family.render(family.picture(overlap))
        other = family.render(family.picture(overlap, seed=1))
        assert one.shape == other.shape
        assert len(one) == spec.snap_up(overlap + 1 if spec.echoes else 1) - (
            overlap if spec.echoes else 0
        )
        assert one.tobytes() != other.tobytes()


def test_pictures_at_both_ends_decide_the_picture(family: Family) -> None:
    spec = family.spec
    if set(spec.calling.pipelines) == {"text"}:
        pytest.skip("it renders from text only")
    first = family.picture(1)
    begun = family.render(first, picture=True)
    assert len(begun) == spec.snap_up(1), "a picture that was given is part of the film"
    other = family.render(family.picture(1, seed=1), picture=True)
    assert other.tobytes() != begun.tobytes()
    if spec.takes(1, last=True):
        ends = [family.picture(1, seed=seed) for seed in (2, 3)]
        one, other_end = (family.denoised(first, end, picture=True) for end in ends)
        assert one != other_end


def test_it_leads_from_one_keyframe_to_the_next(family: Family) -> None:
    spec = family.spec
    if Continuity.KEYFRAMES not in spec.continuity:
        pytest.skip("it does not render between two pictures")
    length = spec.min_frames
    first, end, other = (family.picture(1, seed=seed) for seed in (0, 2, 3))
    last = end if set(spec.calling.pipelines) == {"first_last"} else None
    rendered = family.render(first, last, picture=True, num_frames=length, keyframes=(0, 4))
    assert len(rendered) == length, "an anchor gives all that it renders"
    led = family.render(first, end, num_frames=length, keyframe=1)
    assert len(led) == length - 1
    one, elsewhere = (
        family.denoised(first, picture, num_frames=length, keyframe=1) for picture in (end, other)
    )
    assert one != elsewhere


SIDES = {"480p": 640, "720p": 960}
"""What the published transformers of HunyuanVideo 1.5 have as `target_size`."""


@pytest.mark.parametrize("name", ["hunyuan1.5-i2v-480p", "hunyuan1.5-i2v-720p"])
def test_a_model_that_chooses_its_size_is_asked_for_sizes_that_it_chooses(name: str) -> None:
    images = HunyuanVideo15ImageProcessor(vae_scale_factor=16)
    side = SIDES[name.rpartition("-")[2]]
    for width, height in MODELS[name].sizes:
        chosen = images.calculate_default_height_width(height, width, side)
        assert chosen == (height, width)


def test_a_picture_of_another_size_than_asked_for_is_refused(tmp_path: Path) -> None:
    family = Family("hunyuan1.5-i2v-480p", tmp_path)
    with pytest.raises(RenderError, match="gave 32x32 pixels instead of 32x64"):
        family.render(family.picture(1), height=64)


def test_weights_that_were_saved_from_another_class_of_the_family_are_loaded(
    tmp_path: Path,
) -> None:
    spec = MODELS["ltx2"]
    folder = tiny.build("ltx2", tmp_path)
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace("LTX2ConditionPipeline", "LTX2Pipeline"))
    loaded = Pipelines(spec, folder, "cpu")
    assert type(loaded.main).__name__ == "LTX2ConditionPipeline"
    with pytest.raises(RenderError, match="'mochi' is a LTX2Pipeline, not a MochiPipeline"):
        Pipelines(MODELS["mochi"], folder, "cpu")


def test_the_mask_of_vace_keeps_what_is_given_and_has_the_rest_made() -> None:
    family = MODELS["wan2.1-vace-1.3b"].replace(name="any")
    first, end = (
        np.full((count, 16, 16, 3), level, np.uint8) for count, level in ((5, 10), (1, 20))
    )
    job = changed(JOB, num_frames=17, overlap_frames=5, keep_frames=10)
    made = conditioning.arguments(family, None, job, first, end)
    assert [np.asarray(mask).max() for mask in made["mask"]] == [0] * 5 + [255] * 9 + [0] + [
        255
    ] * 2
    levels = [int(np.asarray(frame).max()) for frame in made["video"]]
    assert levels == [10] * 5 + [128] * 9 + [20] + [128] * 2


PINNED = ("ltx2", "skyreels-v2-1.3b", "cosmos2.5-2b", "wan2.2-5b", "sana-video-2b")
"""In these the frames that are continued come back unchanged by the prompt, so that it can be seen
which of the frames they are."""


def test_the_frames_that_come_back_are_the_ones_that_are_dropped(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    if family.spec.name not in PINNED:
        pytest.skip("which frames come back cannot be told from its output")
    window = "window" in family.spec.calling.pipelines
    overlap = family.spec.overlap_frames if window else 1
    videos = []
    frames_of = diffusers_renderer.frames_of

    def kept(output: Any) -> Any:
        videos.append(frames_of(output))
        return videos[-1]

    monkeypatch.setattr(diffusers_renderer, "frames_of", kept)
    for prompt in ("a red ball", "a blue box"):
        family.render(family.picture(overlap), prompt=prompt)
    given = overlap if family.spec.calling.returns_input else 0
    same = [bool((a == b).all()) for a, b in zip(*(video[given:] for video in videos), strict=True)]
    assert same == [True] * overlap + [False] * (len(same) - overlap)
