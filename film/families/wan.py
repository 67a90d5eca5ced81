"""The rows of Wan 2.1 and 2.2."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from film.families.common import (
    AREA_480P,
    AREA_720P,
    CUT,
    FIRST,
    KEYS,
    LAST,
    PYRAMID,
    TAYLOR,
    WINDOW,
    like,
)
from film.models import Calling, ModelSpec

_WAN_TEXT = Calling(
    pipelines={"text": "WanPipeline"}, scheduler={"flow_shift": 3.0}, vae_dtype="float32"
)
_WAN_TEXT_720P = _WAN_TEXT.replace(scheduler={"flow_shift": 5.0})
_WAN_IMAGE = Calling(pipelines={"image": "WanImageToVideoPipeline"}, vae_dtype="float32")

_WAN = ModelSpec(
    name="",
    family="wan",
    title="",
    source="",
    licence="Apache-2.0",
    calling=_WAN_TEXT,
    frame_step=4,
    min_frames=5,
    max_frames=81,
    sizes=((832, 480), (480, 832)),
    size_multiple=16,
    pixels=AREA_480P,
    native_fps=Fraction(16),
    # Weights for text alone take no picture: their segments can only cut.
    continuity=(CUT,),
    overlap_frames=1,
    num_inference_steps=50,
    guidance_scale=5.0,
    caches=(FIRST, TAYLOR, PYRAMID),
    compiles=True,
    parallel=40,
    single_file=True,
)
_WAN_I2V: dict[str, Any] = {"calling": _WAN_IMAGE, "continuity": (LAST,), "needs_image": True}
_WAN_VACE: dict[str, Any] = {
    "calling": Calling(
        pipelines={
            "text": "WanVACEPipeline",
            "window": "WanVACEPipeline",
            "first_last": "WanVACEPipeline",
        },
        window="vace",
        ends_anywhere=True,
        vae_dtype="float32",
    ),
    "continuity": (WINDOW, LAST, KEYS, CUT),
    "overlap_frames": 17,
    "parallel": 0,  # its transformer has no plan for it in diffusers
}

WAN = (
    like(
        _WAN,
        "wan2.1-t2v-1.3b",
        "Wan 2.1, text to video, 1.3B",
        "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        memory="8.19 GB (its authors, for 832x480)",
        parallel=12,
    ),
    like(
        _WAN,
        "wan2.1-t2v-14b",
        "Wan 2.1, text to video, 14B",
        "Wan-AI/Wan2.1-T2V-14B-Diffusers",
        calling=_WAN_TEXT_720P,
        sizes=((1280, 720), (720, 1280)),
        pixels=AREA_720P,
    ),
    like(
        _WAN,
        "wan2.1-i2v-14b-480p",
        "Wan 2.1, image to video, 14B, 480p",
        "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers",
        **_WAN_I2V,
    ),
    like(
        _WAN,
        "wan2.1-i2v-14b-720p",
        "Wan 2.1, image to video, 14B, 720p",
        "Wan-AI/Wan2.1-I2V-14B-720P-Diffusers",
        sizes=((1280, 720), (720, 1280)),
        pixels=AREA_720P,
        **_WAN_I2V,
    ),
    like(
        _WAN,
        "wan2.1-flf2v-14b",
        "Wan 2.1, first and last frame to video, 14B",
        "Wan-AI/Wan2.1-FLF2V-14B-720P-diffusers",
        sizes=((1280, 720), (720, 1280)),
        pixels=AREA_720P,
        **_WAN_I2V
        | {
            "calling": Calling(
                pipelines={"first_last": "WanImageToVideoPipeline"}, vae_dtype="float32"
            ),
            # It renders from two pictures only: several segments need keyframes.
            "continuity": (KEYS, CUT),
            "guidance_scale": 5.5,
        },
    ),
    like(
        _WAN,
        "wan2.1-vace-1.3b",
        "Wan 2.1 VACE, continues any frames, 1.3B",
        "Wan-AI/Wan2.1-VACE-1.3B-diffusers",
        **_WAN_VACE,
    ),
    like(
        _WAN,
        "wan2.1-vace-14b",
        "Wan 2.1 VACE, continues any frames, 14B",
        "Wan-AI/Wan2.1-VACE-14B-diffusers",
        sizes=((1280, 720), (720, 1280)),
        pixels=AREA_720P,
        **_WAN_VACE,
    ),
    like(
        _WAN,
        "wan2.2-t2v-14b",
        "Wan 2.2, text to video, two experts of 14B",
        "Wan-AI/Wan2.2-T2V-A14B-Diffusers",
        memory="80 GB (its authors, on one GPU without offload)",
        sizes=((1280, 720), (720, 1280)),
        pixels=AREA_720P,
        num_inference_steps=40,
        guidance_scale=4.0,
        single_file=False,
        experts=True,
        calling=Calling(
            pipelines={"text": "WanPipeline"},
            arguments={"guidance_scale_2": 3.0},
            vae_dtype="float32",
        ),
    ),
    like(
        _WAN,
        "wan2.2-i2v-14b",
        "Wan 2.2, image to video, two experts of 14B",
        "Wan-AI/Wan2.2-I2V-A14B-Diffusers",
        memory="80 GB (its authors, on one GPU without offload)",
        sizes=((1280, 720), (720, 1280)),
        pixels=AREA_720P,
        num_inference_steps=40,
        **_WAN_I2V
        | {
            "calling": Calling(
                pipelines={
                    "image": "WanImageToVideoPipeline",
                    "first_last": "WanImageToVideoPipeline",
                },
                vae_dtype="float32",
            ),
            "continuity": (LAST, KEYS),
            "guidance_scale": 3.5,
            "single_file": False,
            "experts": True,
        },
    ),
    like(
        _WAN,
        "wan2.2-5b",
        "Wan 2.2 TI2V, text or image to video, 5B",
        "Wan-AI/Wan2.2-TI2V-5B-Diffusers",
        memory="24 GB (its authors, for 1280x704)",
        calling=Calling(
            pipelines={"text": "WanPipeline", "image": "WanImageToVideoPipeline"},
            again={"expand_timesteps": True},
            vae_dtype="float32",
        ),
        parallel=24,
        max_frames=121,
        sizes=((1280, 704), (704, 1280)),
        size_multiple=32,
        pixels=(256 * 256, 1280 * 704),
        native_fps=Fraction(24),
        continuity=(LAST, CUT),
    ),
)
