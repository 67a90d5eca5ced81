"""The bundled demo model: it loads, it is small, it follows prompts and it continues frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from PIL import Image  # noqa: E402

from film.demo_world import Colour, Floor, Motion, Shape, Sky, plain_caption  # noqa: E402
from training.demo import captions, detector, recipe, world  # noqa: E402
from training.demo.world import Clip, Combination  # noqa: E402

# The library's scheduler hands a tensor to numpy in a way numpy 2 warns of.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

MEGABYTE = 1_000_000
# None of these was shown in training.
FEW = (
    Combination(
        shape=Shape.CIRCLE, colour=Colour.RED, sky=Sky.SUNSET, floor=Floor.SNOW, motion=Motion.DOWN
    ),
    Combination(
        shape=Shape.SQUARE,
        colour=Colour.PURPLE,
        sky=Sky.GREY,
        floor=Floor.ROAD,
        motion=Motion.STILL,
    ),
    Combination(
        shape=Shape.TRIANGLE,
        colour=Colour.YELLOW,
        sky=Sky.NIGHT,
        floor=Floor.GRASS,
        motion=Motion.LEFT,
    ),
)


@pytest.fixture(scope="module")
def pipeline() -> Any:
    pipe = diffusers.DiffusionPipeline.from_pretrained(recipe.MODEL_DIR)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def render(pipe: Any, prompt: str | list[str], seed: int = 0, **extra: Any) -> Clip:
    """Render with the recipe: (clips, frames, height, width, 3) uint8."""
    call = recipe.CALL | {"output_type": "np", "prompt": prompt} | extra
    count = 1 if isinstance(prompt, str) else len(prompt)
    generators = [torch.Generator().manual_seed(seed + i) for i in range(count)]
    video = pipe(generator=generators, **call).frames
    return np.asarray(np.rint(video * 255), dtype=np.uint8)


def test_directory_is_small_and_stock(pipeline: Any) -> None:
    assert type(pipeline).__name__ == recipe.PIPELINE_CLASS
    size = sum(f.stat().st_size for f in recipe.MODEL_DIR.rglob("*") if f.is_file())
    assert size < 12 * MEGABYTE


def test_recipe_agrees_with_the_world() -> None:
    assert (recipe.WIDTH, recipe.HEIGHT) == (world.WIDTH, world.HEIGHT)
    assert (recipe.NUM_FRAMES, recipe.FPS) == (world.NUM_FRAMES, world.FPS)
    assert recipe.CALL["max_sequence_length"] == captions.MAX_TOKENS


def test_split_is_fixed_and_large_enough() -> None:
    held_out = set(world.held_out_combinations())
    assert len(held_out) >= 100
    assert held_out.issuperset(FEW)
    assert held_out.isdisjoint(world.training_combinations())
    assert len(held_out) + len(world.training_combinations()) == 3 * 6 * 5 * 4 * 7


def test_detector_reads_ground_truth() -> None:
    pool = world.held_out_combinations()[::4]
    right = {"shape": 0, "colour": 0, "sky": 0, "floor": 0, "motion": 0}
    for seed, combination in enumerate(pool):
        seen = detector.detect(world.sample_clip(combination, seed)).agrees(combination)
        right = {name: right[name] + seen[name] for name in right}
    assert min(right.values()) >= 0.95 * len(pool)


def test_objects_stay_in_the_picture_and_turn_back() -> None:
    rng = np.random.default_rng(0)
    track = world.tracks(list(world.MOTIONS), rng, num_frames=400)
    reach = world.EXTENT * track[..., 2:]
    assert (track[..., :2] - reach >= 0).all()
    assert (track[..., :2] + reach <= (world.WIDTH, world.HEIGHT)).all()
    assert np.abs(np.diff(track, axis=1)).max() < 1.5


@pytest.mark.parametrize(
    "text", ["", "红色的球", "🎈🎈", "ball " * 500, "<pad></s><unk>", "Ünïcödé\n\t\x00"]
)
def test_tokenizer_takes_any_text(pipeline: Any, text: str) -> None:
    tokens = pipeline.tokenizer(text, truncation=True, max_length=captions.MAX_TOKENS)
    assert 1 <= len(tokens.input_ids) <= captions.MAX_TOKENS
    assert max(tokens.input_ids) < pipeline.text_encoder.config.vocab_size


def test_odd_prompts_render(pipeline: Any) -> None:
    clip = render(
        pipeline, "一个红色的球 🎈 " + "far away " * 200, negative_prompt="", num_inference_steps=2
    )
    assert clip.shape == (1, recipe.NUM_FRAMES, recipe.HEIGHT, recipe.WIDTH, 3)


def test_prompts_are_followed(pipeline: Any) -> None:
    clips = render(pipeline, [plain_caption(c) for c in FEW])
    readings = [detector.detect(clip) for clip in clips]
    assert [r.sky for r in readings] == [c.sky for c in FEW]
    assert [r.floor for r in readings] == [c.floor for c in FEW]
    assert [r.colour for r in readings] == [c.colour for c in FEW]


def test_prefix_is_reproduced(pipeline: Any) -> None:
    combination = FEW[0]
    real = world.sample_clip(combination, seed=4)[: recipe.OVERLAP_FRAMES]
    condition = diffusers.pipelines.ltx.pipeline_ltx_condition.LTXVideoCondition(
        video=[Image.fromarray(frame) for frame in real], frame_index=0
    )
    clip = render(pipeline, plain_caption(combination), conditions=[condition])[0]
    assert len(clip) == recipe.NUM_FRAMES
    error = np.mean((clip[: len(real)].astype(float) - real) ** 2)
    assert 10 * np.log10(255**2 / error) > 26


def test_same_seed_same_bytes(pipeline: Any) -> None:
    prompt = plain_caption(FEW[1])
    first = render(pipeline, prompt, seed=7, num_inference_steps=4)
    again = render(pipeline, prompt, seed=7, num_inference_steps=4)
    other = render(pipeline, prompt, seed=8, num_inference_steps=4)
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()
