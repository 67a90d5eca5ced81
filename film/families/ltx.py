"""The rows of LTX-Video and LTX-2."""

from __future__ import annotations

from fractions import Fraction

from film.families.common import CUT, FIRST, HUB, KEYS, LAST, PYRAMID, TAYLOR, WINDOW
from film.models import Calling, ModelSpec

LTX = (
    ModelSpec(
        name="ltx",
        family="ltx",
        title="LTX-Video, text or frames to video",
        source="Lightricks/LTX-Video-0.9.5",
        licence="LTX-Video open weights licence",
        licence_source=HUB + "Lightricks/LTX-Video",
        calling=Calling(
            pipelines={
                "text": "LTXConditionPipeline",
                "window": "LTXConditionPipeline",
                "first_last": "LTXConditionPipeline",
            },
            arguments={"image_cond_noise_scale": 0.0},
            fps="frame_rate",
            window="conditions",
            ends_anywhere=True,
        ),
        frame_step=8,
        min_frames=9,
        max_frames=161,
        sizes=((768, 512), (512, 768)),
        size_multiple=32,
        pixels=(256 * 256, 1280 * 720),
        native_fps=Fraction(24),
        continuity=(WINDOW, LAST, KEYS, CUT),
        overlap_frames=17,
        num_inference_steps=40,
        guidance_scale=3.0,
        caches=(FIRST, TAYLOR, PYRAMID),
        compiles=True,
        single_file=True,
    ),
    ModelSpec(
        name="ltx2",
        family="ltx2",
        title="LTX-2, text or frames to video with sound",
        source="Lightricks/LTX-2",
        licence="LTX-2 community licence",
        licence_source=HUB + "Lightricks/LTX-2",
        memory="32 GB (its authors, for LTX-2.3)",
        calling=Calling(
            pipelines={
                "text": "LTX2ConditionPipeline",
                "window": "LTX2ConditionPipeline",
                "first_last": "LTX2ConditionPipeline",
            },
            fps="frame_rate",
            window="conditions",
        ),
        frame_step=8,
        min_frames=9,
        max_frames=121,
        sizes=((768, 512), (512, 768)),
        size_multiple=32,
        pixels=(256 * 256, 1280 * 720),
        native_fps=Fraction(24),
        continuity=(WINDOW, LAST, KEYS, CUT),
        overlap_frames=17,
        sound=True,
        num_inference_steps=30,
        guidance_scale=3.0,
        caches=(TAYLOR,),
        compiles=True,
        single_file=True,
    ),
)
