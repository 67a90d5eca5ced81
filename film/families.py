"""The rows of all models: what each can do, and how diffusers is called for it.

Facts about public checkpoints are their authors', as the sources say; what diffusers does with
them was read in its code or measured with small pipelines of the same classes (the renderer's
tests build them).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import msgspec

from film.models import Calling, ModelSpec
from film.types import Cache, Continuity

_HUB = "https://huggingface.co/"
_WINDOW, _LAST, _CUT, _LONG, _KEYS = (
    Continuity.TAIL_WINDOW,
    Continuity.LAST_FRAME,
    Continuity.CUT,
    Continuity.NATIVE_LONG,
    Continuity.KEYFRAMES,
)

_FIRST, _TAYLOR, _PYRAMID = Cache.FIRST_BLOCK, Cache.TAYLORSEER, Cache.PYRAMID

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
    continuity=(_WINDOW, _LAST, _KEYS, _CUT),
    overlap_frames=5,
    num_inference_steps=16,
    guidance_scale=2.0,
    caches=(_FIRST, _TAYLOR, _PYRAMID),
    compiles=True,
    closed_world=True,
    single_file=True,
)


def _like(spec: ModelSpec, name: str, title: str, source: str, **changes: Any) -> ModelSpec:
    """Another checkpoint of a family; its licence is said beside its weights."""
    return msgspec.structs.replace(
        spec, name=name, title=title, source=source, licence_source=_HUB + source, **changes
    )


# -- Wan -----------------------------------------------------------------------------------------

_WAN_TEXT = Calling(
    pipelines={"text": "WanPipeline"}, scheduler={"flow_shift": 3.0}, vae_dtype="float32"
)
_WAN_TEXT_720P = msgspec.structs.replace(_WAN_TEXT, scheduler={"flow_shift": 5.0})
_WAN_IMAGE = Calling(pipelines={"image": "WanImageToVideoPipeline"}, vae_dtype="float32")
_480P, _720P = (256 * 256, 832 * 480), (256 * 256, 1280 * 720)

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
    pixels=_480P,
    native_fps=Fraction(16),
    # Weights for text alone take no picture: their segments can only cut.
    continuity=(_CUT,),
    overlap_frames=1,
    num_inference_steps=50,
    guidance_scale=5.0,
    caches=(_FIRST, _TAYLOR, _PYRAMID),
    compiles=True,
    parallel=40,
    single_file=True,
)
_WAN_I2V: dict[str, Any] = {"calling": _WAN_IMAGE, "continuity": (_LAST,), "needs_image": True}
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
    "continuity": (_WINDOW, _LAST, _KEYS, _CUT),
    "overlap_frames": 17,
    "parallel": 0,  # its transformer has no plan for it in diffusers
}

WAN = (
    _like(
        _WAN,
        "wan2.1-t2v-1.3b",
        "Wan 2.1, text to video, 1.3B",
        "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        memory="8.19 GB (its authors, for 832x480)",
        parallel=12,
    ),
    _like(
        _WAN,
        "wan2.1-t2v-14b",
        "Wan 2.1, text to video, 14B",
        "Wan-AI/Wan2.1-T2V-14B-Diffusers",
        calling=_WAN_TEXT_720P,
        sizes=((1280, 720), (720, 1280)),
        pixels=_720P,
    ),
    _like(
        _WAN,
        "wan2.1-i2v-14b-480p",
        "Wan 2.1, image to video, 14B, 480p",
        "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers",
        **_WAN_I2V,
    ),
    _like(
        _WAN,
        "wan2.1-i2v-14b-720p",
        "Wan 2.1, image to video, 14B, 720p",
        "Wan-AI/Wan2.1-I2V-14B-720P-Diffusers",
        sizes=((1280, 720), (720, 1280)),
        pixels=_720P,
        **_WAN_I2V,
    ),
    _like(
        _WAN,
        "wan2.1-flf2v-14b",
        "Wan 2.1, first and last frame to video, 14B",
        "Wan-AI/Wan2.1-FLF2V-14B-720P-diffusers",
        sizes=((1280, 720), (720, 1280)),
        pixels=_720P,
        **_WAN_I2V
        | {
            "calling": Calling(
                pipelines={"first_last": "WanImageToVideoPipeline"}, vae_dtype="float32"
            ),
            # It renders from two pictures only: several segments need keyframes.
            "continuity": (_KEYS, _CUT),
            "guidance_scale": 5.5,
        },
    ),
    _like(
        _WAN,
        "wan2.1-vace-1.3b",
        "Wan 2.1 VACE, continues any frames, 1.3B",
        "Wan-AI/Wan2.1-VACE-1.3B-diffusers",
        **_WAN_VACE,
    ),
    _like(
        _WAN,
        "wan2.1-vace-14b",
        "Wan 2.1 VACE, continues any frames, 14B",
        "Wan-AI/Wan2.1-VACE-14B-diffusers",
        sizes=((1280, 720), (720, 1280)),
        pixels=_720P,
        **_WAN_VACE,
    ),
    _like(
        _WAN,
        "wan2.2-t2v-14b",
        "Wan 2.2, text to video, two experts of 14B",
        "Wan-AI/Wan2.2-T2V-A14B-Diffusers",
        memory="80 GB (its authors, on one GPU without offload)",
        sizes=((1280, 720), (720, 1280)),
        pixels=_720P,
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
    _like(
        _WAN,
        "wan2.2-i2v-14b",
        "Wan 2.2, image to video, two experts of 14B",
        "Wan-AI/Wan2.2-I2V-A14B-Diffusers",
        memory="80 GB (its authors, on one GPU without offload)",
        sizes=((1280, 720), (720, 1280)),
        pixels=_720P,
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
            "continuity": (_LAST, _KEYS),
            "guidance_scale": 3.5,
            "single_file": False,
            "experts": True,
        },
    ),
    _like(
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
        continuity=(_LAST, _CUT),
    ),
)

# -- LTX -----------------------------------------------------------------------------------------

LTX = (
    ModelSpec(
        name="ltx",
        family="ltx",
        title="LTX-Video, text or frames to video",
        source="Lightricks/LTX-Video-0.9.5",
        licence="LTX-Video open weights licence",
        licence_source=_HUB + "Lightricks/LTX-Video",
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
        continuity=(_WINDOW, _LAST, _KEYS, _CUT),
        overlap_frames=17,
        num_inference_steps=40,
        guidance_scale=3.0,
        caches=(_FIRST, _TAYLOR, _PYRAMID),
        compiles=True,
        single_file=True,
    ),
    ModelSpec(
        name="ltx2",
        family="ltx2",
        title="LTX-2, text or frames to video with sound",
        source="Lightricks/LTX-2",
        licence="LTX-2 community licence",
        licence_source=_HUB + "Lightricks/LTX-2",
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
        continuity=(_WINDOW, _LAST, _KEYS, _CUT),
        overlap_frames=17,
        sound=True,
        num_inference_steps=30,
        guidance_scale=3.0,
        caches=(_TAYLOR,),
        compiles=True,
        single_file=True,
    ),
)

# -- others --------------------------------------------------------------------------------------

_HUNYUAN = ModelSpec(
    name="hunyuan1.5-t2v-480p",
    family="hunyuan1.5",
    title="HunyuanVideo 1.5, text to video, 480p",
    source="hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-480p_t2v",
    licence="Tencent Hunyuan community licence",
    licence_source=_HUB + "tencent/HunyuanVideo-1.5",
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
    pixels=_480P,
    native_fps=Fraction(24),
    continuity=(_CUT,),
    overlap_frames=1,
    num_inference_steps=50,
    guidance_scale=6.0,
    caches=(_TAYLOR, _PYRAMID),
    compiles=True,
    loras=False,
)

_HUNYUAN_SOURCE = "hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-"
# From an image it takes no size, and renders one of its own of the same shape: these come back as
# they are (tests/renderer/test_families.py).
_HUNYUAN_I2V: dict[str, Any] = {
    "calling": msgspec.structs.replace(
        _HUNYUAN.calling,
        pipelines={"image": "HunyuanVideo15ImageToVideoPipeline"},
        names={"guidance_scale": None, "width": None, "height": None},
    ),
    "size_multiple": 0,
    "pixels": (0, 0),
    "continuity": (_LAST,),
    "needs_image": True,
}

HUNYUAN = (
    _HUNYUAN,
    msgspec.structs.replace(
        _HUNYUAN,
        name="hunyuan1.5-i2v-480p",
        title="HunyuanVideo 1.5, image to video, 480p",
        source=f"{_HUNYUAN_SOURCE}480p_i2v",
        sizes=((848, 480), (480, 832), (640, 640)),
        **_HUNYUAN_I2V,
    ),
    msgspec.structs.replace(
        _HUNYUAN,
        name="hunyuan1.5-t2v-720p",
        title="HunyuanVideo 1.5, text to video, 720p",
        source=f"{_HUNYUAN_SOURCE}720p_t2v",
        sizes=((1280, 720), (720, 1280)),
        pixels=_720P,
    ),
    msgspec.structs.replace(
        _HUNYUAN,
        name="hunyuan1.5-i2v-720p",
        title="HunyuanVideo 1.5, image to video, 720p",
        source=f"{_HUNYUAN_SOURCE}720p_i2v",
        sizes=((1280, 720), (704, 1280), (960, 960)),
        **_HUNYUAN_I2V,
    ),
)

_COGVIDEOX = ModelSpec(
    name="cogvideox-2b",
    family="cogvideox",
    title="CogVideoX, text to video, 2B",
    source="THUDM/CogVideoX-2b",
    licence="Apache-2.0",
    licence_source=_HUB + "THUDM/CogVideoX-2b",
    memory="4 GB (its authors, with every saving of memory)",
    calling=Calling(pipelines={"text": "CogVideoXPipeline"}),
    # Its VAE would do with 4, its patches in time would not.
    frame_step=8,
    min_frames=9,
    max_frames=49,
    sizes=((720, 480),),
    native_fps=Fraction(8),
    continuity=(_CUT,),
    overlap_frames=1,
    num_inference_steps=50,
    guidance_scale=6.0,
    caches=(_FIRST, _TAYLOR, _PYRAMID),
)

_SKYREELS = ModelSpec(
    name="skyreels-v2-1.3b",
    family="skyreels-v2",
    title="SkyReels V2 diffusion forcing, long video, 1.3B",
    source="Skywork/SkyReels-V2-DF-1.3B-540P-Diffusers",
    licence="Skywork licence",
    licence_source=_HUB + "Skywork/SkyReels-V2-DF-1.3B-540P-Diffusers",
    memory="14.7 GB (its authors, for 960x544)",
    calling=Calling(
        pipelines={
            "text": "SkyReelsV2DiffusionForcingPipeline",
            "image": "SkyReelsV2DiffusionForcingImageToVideoPipeline",
            "window": "SkyReelsV2DiffusionForcingVideoToVideoPipeline",
        },
        arguments={"base_num_frames": 97, "overlap_history": 17, "addnoise_condition": 20},
        fps="fps",
        window="video",
        returns_input=True,
        vae_dtype="float32",
        scheduler={"flow_shift": 8.0},
    ),
    frame_step=4,
    min_frames=21,
    max_frames=97,
    long_frames=97 + 9 * 80,
    sizes=((960, 544), (544, 960)),
    size_multiple=16,
    pixels=(256 * 256, 960 * 544),
    native_fps=Fraction(24),
    continuity=(_WINDOW, _LAST, _LONG, _CUT),
    overlap_frames=17,
    num_inference_steps=30,
    guidance_scale=6.0,
    caches=(_TAYLOR,),
    compiles=True,
    single_file=True,
)

OTHERS = (
    *HUNYUAN,
    _COGVIDEOX,
    _like(
        _COGVIDEOX,
        "cogvideox-5b",
        "CogVideoX, text to video, 5B",
        "THUDM/CogVideoX-5b",
        licence="CogVideoX licence",
        memory="5 GB (its authors, with every saving of memory)",
    ),
    _like(
        _COGVIDEOX,
        "cogvideox-5b-i2v",
        "CogVideoX, image to video, 5B",
        "THUDM/CogVideoX-5b-I2V",
        licence="CogVideoX licence",
        memory="5 GB (its authors, with every saving of memory)",
        calling=Calling(pipelines={"image": "CogVideoXImageToVideoPipeline"}),
        continuity=(_LAST,),
        needs_image=True,
    ),
    _SKYREELS,
    _like(
        _SKYREELS,
        "skyreels-v2-14b-540p",
        "SkyReels V2 diffusion forcing, long video, 14B, 540p",
        "Skywork/SkyReels-V2-DF-14B-540P-Diffusers",
        memory="51.2 GB (its authors, for 960x544)",
    ),
    _like(
        _SKYREELS,
        "skyreels-v2-14b-720p",
        "SkyReels V2 diffusion forcing, long video, 14B, 720p",
        "Skywork/SkyReels-V2-DF-14B-720P-Diffusers",
        memory="",
        calling=msgspec.structs.replace(
            _SKYREELS.calling,
            arguments=_SKYREELS.calling.arguments | {"base_num_frames": 121},
        ),
        max_frames=121,
        long_frames=121 + 9 * 104,
        sizes=((1280, 720), (720, 1280)),
        pixels=_720P,
    ),
    ModelSpec(
        name="helios",
        family="helios",
        title="Helios, long video in chunks of 33 frames",
        source="BestWishYsh/Helios-Base",
        licence="Apache-2.0",
        licence_source=_HUB + "BestWishYsh/Helios-Base",
        calling=Calling(
            pipelines={
                "text": "HeliosPipeline",
                "image": "HeliosPipeline",
                "window": "HeliosPipeline",
            },
            window="video",
            decodes_last=False,
            vae_dtype="float32",
        ),
        # Four chunks of 33, each a frame shorter after the first: 33, 65, 97, 129.
        frame_step=32,
        min_frames=33,
        max_frames=129,
        sizes=((640, 384),),
        native_fps=Fraction(24),
        continuity=(_WINDOW, _LAST, _CUT),
        overlap_frames=33,
        echoes=False,
        num_inference_steps=50,
        guidance_scale=5.0,
        caches=(_TAYLOR, _PYRAMID),
        compiles=True,
        parallel=40,
    ),
    ModelSpec(
        name="cosmos2.5-2b",
        family="cosmos2.5",
        title="Cosmos Predict 2.5, text, image or frames to video, 2B",
        source="nvidia/Cosmos-Predict2.5-2B",
        branch="diffusers/base/post-trained",
        licence="NVIDIA open model licence",
        licence_source=_HUB + "nvidia/Cosmos-Predict2.5-2B",
        memory="32.54 GB (its authors, for 1280x704)",
        calling=Calling(
            pipelines={
                "text": "Cosmos2_5_PredictBasePipeline",
                "window": "Cosmos2_5_PredictBasePipeline",
            },
            window="video",
        ),
        frame_step=4,
        min_frames=93,
        max_frames=93,
        sizes=((1280, 704),),
        native_fps=Fraction(16),
        continuity=(_WINDOW, _LAST, _CUT),
        overlap_frames=5,
        num_inference_steps=36,
        guidance_scale=7.0,
        single_file=True,
    ),
    ModelSpec(
        name="mochi",
        family="mochi",
        title="Mochi 1 preview, text to video",
        source="genmo/mochi-1-preview",
        licence="Apache-2.0",
        licence_source=_HUB + "genmo/mochi-1-preview",
        memory="60 GB (its authors, on one GPU without offload)",
        calling=Calling(pipelines={"text": "MochiPipeline"}),
        frame_step=6,
        min_frames=7,
        max_frames=85,
        sizes=((848, 480),),
        native_fps=Fraction(30),
        continuity=(_CUT,),
        overlap_frames=1,
        num_inference_steps=64,
        guidance_scale=4.5,
        caches=(_FIRST, _TAYLOR, _PYRAMID),
        single_file=True,
    ),
    ModelSpec(
        name="sana-video-2b",
        family="sana-video",
        title="SANA-Video, text or image to video, 2B",
        source="Efficient-Large-Model/SANA-Video_2B_480p_diffusers",
        licence="NVIDIA open model licence",
        licence_source=_HUB + "Efficient-Large-Model/SANA-Video_2B_480p_diffusers",
        calling=Calling(
            pipelines={"text": "SanaVideoPipeline", "image": "SanaImageToVideoPipeline"},
            # It would render a size of its own and scale that to the asked one.
            arguments={"use_resolution_binning": False},
            names={"num_frames": "frames"},
            vae_dtype="float32",
        ),
        frame_step=4,
        min_frames=5,
        max_frames=81,
        sizes=((832, 480), (480, 832)),
        size_multiple=32,
        pixels=_480P,
        native_fps=Fraction(16),
        continuity=(_LAST, _CUT),
        overlap_frames=1,
        num_inference_steps=50,
        guidance_scale=6.0,
    ),
    ModelSpec(
        name="svd-xt",
        family="svd",
        title="Stable Video Diffusion XT, image to video (a U-Net, no prompt)",
        source="stabilityai/stable-video-diffusion-img2vid-xt",
        licence="Stability AI community licence",
        licence_source=_HUB + "stabilityai/stable-video-diffusion-img2vid-xt",
        calling=Calling(
            pipelines={"image": "StableVideoDiffusionPipeline"},
            names={
                "prompt": None,
                "negative_prompt": None,
                "guidance_scale": "max_guidance_scale",
            },
            arguments={"decode_chunk_size": 8},
            fps="fps",
        ),
        frame_step=1,
        min_frames=25,
        max_frames=25,
        sizes=((1024, 576),),
        native_fps=Fraction(7),
        continuity=(_LAST,),
        overlap_frames=1,
        needs_image=True,
        num_inference_steps=25,
        guidance_scale=3.0,
        tiles=False,
        loras=False,
    ),
)

MODELS = {spec.name: spec for spec in (DEMO, *WAN, *LTX, *OTHERS)}
