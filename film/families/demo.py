"""The row of the bundled model."""

from __future__ import annotations

from fractions import Fraction

from film.families.common import CUT, FIRST, KEYS, LAST, PYRAMID, TAYLOR, WINDOW
from film.models import Calling, ModelSpec

DEMO = ModelSpec(
    name="demo",
    family="demo",
    title="Bundled demo model: coloured shapes under a sky, renders on a CPU",
    source="package:demo/model",
    licence="made by this project",
    calling=Calling(
        pipelines={
            "text": "LTXConditionPipeline",
            "window": "LTXConditionPipeline",
            "first_last": "LTXConditionPipeline",
        },
        # `image_cond_noise_scale` would blur conditioning frames, and `max_sequence_length` is
        # the tokenizer's.
        arguments={"image_cond_noise_scale": 0.0, "max_sequence_length": 64},
        fps="frame_rate",
        window="conditions",
        # It was trained on beginnings only, and follows an end best that is like one of those
        # (docs/demo-model.md).
        end_frames=5,
    ),
    frame_step=4,
    min_frames=17,
    max_frames=17,
    sizes=((96, 64),),
    native_fps=Fraction(8),
    continuity=(WINDOW, LAST, KEYS, CUT),
    overlap_frames=5,
    num_inference_steps=16,
    guidance_scale=2.0,
    caches=(FIRST, TAYLOR, PYRAMID),
    compiles=True,
    closed_world=True,
    single_file=True,
)
