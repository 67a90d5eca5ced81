"""The rows of HunyuanVideo 1.5."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from film.families.common import AREA_480P, AREA_720P, CUT, HUB, LAST, PYRAMID, TAYLOR
from film.models import Calling, ModelSpec

_HUNYUAN = ModelSpec(
    name="hunyuan1.5-t2v-480p",
    family="hunyuan1.5",
    title="HunyuanVideo 1.5, text to video, 480p",
    source="hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-480p_t2v",
    licence="Tencent Hunyuan community licence",
    licence_source=HUB + "tencent/HunyuanVideo-1.5",
    memory="14 GB (its authors, with offload)",
    calling=Calling(
        pipelines={"text": "HunyuanVideo15Pipeline"},
        names={"guidance_scale": None},
        guider=True,
    ),
    frame_step=4,
    min_frames=5,
    max_frames=121,
    sizes=((832, 480), (480, 832)),
    size_multiple=16,
    pixels=AREA_480P,
    native_fps=Fraction(24),
    continuity=(CUT,),
    overlap_frames=1,
    num_inference_steps=50,
    guidance_scale=6.0,
    caches=(TAYLOR, PYRAMID),
    compiles=True,
    loras=False,
)

_HUNYUAN_SOURCE = "hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-"
# From an image it takes no size, and renders one of its own of the same shape: these come back as
# they are (tests/renderer/test_families.py).
_HUNYUAN_I2V: dict[str, Any] = {
    "calling": _HUNYUAN.calling.replace(
        pipelines={"image": "HunyuanVideo15ImageToVideoPipeline"},
        names={"guidance_scale": None, "width": None, "height": None},
    ),
    "size_multiple": 0,
    "pixels": (0, 0),
    "continuity": (LAST,),
    "needs_image": True,
}

HUNYUAN = (
    _HUNYUAN,
    _HUNYUAN.replace(
        name="hunyuan1.5-i2v-480p",
        title="HunyuanVideo 1.5, image to video, 480p",
        source=f"{_HUNYUAN_SOURCE}480p_i2v",
        sizes=((848, 480), (480, 832), (640, 640)),
        **_HUNYUAN_I2V,
    ),
    _HUNYUAN.replace(
        name="hunyuan1.5-t2v-720p",
        title="HunyuanVideo 1.5, text to video, 720p",
        source=f"{_HUNYUAN_SOURCE}720p_t2v",
        sizes=((1280, 720), (720, 1280)),
        pixels=AREA_720P,
    ),
    _HUNYUAN.replace(
        name="hunyuan1.5-i2v-720p",
        title="HunyuanVideo 1.5, image to video, 720p",
        source=f"{_HUNYUAN_SOURCE}720p_i2v",
        sizes=((1280, 720), (704, 1280), (960, 960)),
        **_HUNYUAN_I2V,
    ),
)
