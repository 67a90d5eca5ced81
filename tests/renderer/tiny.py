"""Tiny pipelines of diffusers' real classes with random weights: tests cannot download real ones.

`build("wan-t2v", folder)` writes a pipeline that `DiffusionPipeline.from_pretrained` loads offline.
Only channels and layers are few. What decides which lengths and sizes are valid (compression, patch
size) is as in the published checkpoints (but for `svd`), so frame rules can be tested too.

The image-to-video, VACE, SkyReels and Helios pipelines clean prompts with `ftfy` and fail where it
is not installed.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from diffusers.configuration_utils import ConfigMixin
from diffusers.guiders import ClassifierFreeGuidance
from diffusers.models.modeling_utils import ModelMixin
from diffusers.pipelines.ltx2 import LTX2TextConnectors
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel

Parts = dict[str, Any]

LETTERS = "abcdefghijklmnopqrstuvwxyz.,"
WIDTH = 32
"""Width of every text encoder, hence of what the denoisers expect."""

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}"
)


# Text


def t5_tokenizer(longest: int = 512) -> Any:
    """A T5 tokenizer that knows single letters."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("▁", -3.0)]
    vocab = special + [(letter, -4.0) for letter in LETTERS]
    return transformers.T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=longest)


def qwen_tokenizer() -> Any:
    """A Qwen2 tokenizer that knows the 256 bytes, and a chat template: the pipelines use one."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    words = [*special, *sorted(ByteLevel.alphabet())]
    return transformers.Qwen2Tokenizer(
        vocab={word: number for number, word in enumerate(words)},
        merges=[],
        additional_special_tokens=special[1:],
        chat_template=CHAT,
        model_max_length=2048,
    )


def gemma_tokenizer() -> Any:
    """A Gemma tokenizer that knows single letters."""
    words = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *LETTERS]
    return transformers.GemmaTokenizer(
        vocab={word: number for number, word in enumerate(words)}, merges=[], model_max_length=2048
    )


def t5(kind: str = "T5", **changes: Any) -> Any:
    """A T5 or UMT5 encoder; without eval() its dropout would run."""
    config = {
        "vocab_size": 64,
        "d_model": WIDTH,
        "d_kv": 8,
        "d_ff": 37,
        "num_layers": 2,
        "num_heads": 4,
        "is_gated_act": False,
        "dropout_rate": 0.0,
        "tie_word_embeddings": True,
    } | changes
    encoder = getattr(transformers, f"{kind}EncoderModel")
    return encoder(getattr(transformers, f"{kind}Config")(**config)).eval()


QWEN: Parts = {
    "vocab_size": 320,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"},
    "rope_theta": 1000000.0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}

GEMMA: Parts = {
    "vocab_size": 64,
    "hidden_size": WIDTH,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
}


def clip_vision(cls: str = "CLIPVisionModel", side: int = 32) -> Any:
    """A CLIP image encoder of 17 tokens an image (a class token and 4x4 patches)."""
    config = transformers.CLIPVisionConfig(
        hidden_size=WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=side,
        intermediate_size=37,
        patch_size=side // 4,
    )
    return getattr(transformers, cls)(config).eval()


def clip_images() -> Any:
    """CLIP's image preparation; the PIL one, as torchvision is not a dependency."""
    side = {"height": 32, "width": 32}
    return transformers.CLIPImageProcessorPil(size=side, crop_size=side)


# Wan, and the families that took its VAE and text encoder over


def wan_text() -> Parts:
    """UMT5 and its tokenizer."""
    return {"tokenizer": t5_tokenizer(), "text_encoder": t5("UMT5")}


def wan_vae(**changes: Any) -> Any:
    """Wan's VAE: 8 times smaller in space, 4 in time."""
    config = {
        "base_dim": 3,
        "z_dim": 16,
        "dim_mult": [1] * 4,
        "num_res_blocks": 1,
        "temperal_downsample": [False, True, True],
    } | changes
    return diffusers.AutoencoderKLWan(**config)


def unipc(shift: float = 3.0) -> Any:
    """Wan's scheduler."""
    return diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift
    )


WAN: Parts = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": WIDTH,
    "freq_dim": 256,
    "ffn_dim": 32,
    "num_layers": 2,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "rope_max_seq_len": 64,
}

# Text and image, noise and mask: 16 + 4 + 16 channels.
WAN_IMAGE: Parts = {"in_channels": 36}
# The 2.1 image models also attend to CLIP's view of the image.
WAN_CLIP: Parts = WAN_IMAGE | {"image_dim": WIDTH, "added_kv_proj_dim": 24}


def wan(cls: str = "WanTransformer3DModel", **changes: Any) -> Any:
    """A Wan transformer, or one of a family with the same arguments."""
    return getattr(diffusers, cls)(**(WAN | changes))


def wan_pipeline(cls: str, transformer: Parts, **parts: Any) -> Any:
    """A Wan pipeline of one transformer, or of two if a boundary between them is given."""
    if "boundary_ratio" in parts:
        parts["transformer_2"] = wan(**transformer)
    parts = {"vae": wan_vae(), "scheduler": unipc(), **wan_text()} | parts
    return getattr(diffusers, cls)(transformer=wan(**transformer), **parts)


def wan_clip(transformer: Parts) -> Any:
    """A Wan 2.1 image-to-video pipeline."""
    return wan_pipeline(
        "WanImageToVideoPipeline",
        transformer,
        image_encoder=clip_vision(),
        image_processor=clip_images(),
    )


def wan_5b() -> Any:
    """Wan 2.2 TI2V-5B: a VAE 16 times smaller in space, and a time step for each token."""
    vae = wan_vae(
        z_dim=48,
        in_channels=12,
        out_channels=12,
        is_residual=True,
        patch_size=2,
        scale_factor_spatial=16,
        latents_mean=[0.0] * 48,
        latents_std=[1.0] * 48,
    )
    channels = {"in_channels": 48, "out_channels": 48}
    return wan_pipeline("WanPipeline", channels, vae=vae, expand_timesteps=True)


def skyreels() -> Any:
    """SkyReels V2 diffusion forcing."""
    return diffusers.SkyReelsV2DiffusionForcingPipeline(
        transformer=wan("SkyReelsV2Transformer3DModel", inject_sample_info=False),
        vae=wan_vae(),
        scheduler=unipc(8.0),
        **wan_text(),
    )


def helios() -> Any:
    """Helios, in chunks of 33 frames."""
    config = WAN | {"rope_dim": (4, 4, 4)}
    del config["rope_max_seq_len"]
    return diffusers.HeliosPipeline(
        transformer=diffusers.HeliosTransformer3DModel(**config),
        vae=wan_vae(),
        scheduler=diffusers.HeliosScheduler(
            stages=1, stage_range=[0, 1], use_dynamic_shifting=True
        ),
        **wan_text(),
    )


def sana() -> Any:
    """SANA-Video with Wan's VAE; ask it for `use_resolution_binning=False`, or it renders 480p."""
    transformer = diffusers.SanaVideoTransformer3DModel(
        in_channels=16,
        out_channels=16,
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=2,
        num_cross_attention_heads=2,
        cross_attention_head_dim=12,
        cross_attention_dim=24,
        caption_channels=WIDTH,
        rope_max_seq_len=64,
    )
    scheduler = diffusers.DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=8.0
    )
    return diffusers.SanaVideoPipeline(
        tokenizer=gemma_tokenizer(),
        text_encoder=transformers.Gemma2Model(transformers.Gemma2Config(**GEMMA)).eval(),
        vae=wan_vae(),
        transformer=transformer,
        scheduler=scheduler,
    )


class NoSafetyChecker(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Stands in for Cosmos' guardrail, a separate package with large models of its own."""

    def __init__(self) -> None:
        super().__init__()
        # The pipeline asks for a device and a type; a model without tensors has neither.
        self.register_buffer("anchor", torch.zeros(1))

    def check_text_safety(self, prompt: str) -> bool:
        """Every prompt is safe."""
        return True

    def check_video_safety(self, frames: np.ndarray) -> np.ndarray:
        """Every video is safe."""
        return frames


def cosmos() -> Any:
    """Cosmos Predict 2.5, with `NoSafetyChecker`."""
    transformer = diffusers.CosmosTransformer3DModel(
        in_channels=16 + 1,  # and a mask of the given frames
        out_channels=16,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=2,
        mlp_ratio=2,
        text_embed_dim=WIDTH,  # two layers of the text encoder side by side
        adaln_lora_dim=4,
        max_size=(8, 32, 32),
        # The published ones have this on; it needs torchvision, which is not a dependency.
        concat_padding_mask=False,
        rope_scale=(2.0, 1.0, 1.0),
    )
    config = transformers.Qwen2_5_VLConfig(
        text_config=QWEN,
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 16,
            "fullatt_block_indexes": [0],
        },
    )
    return diffusers.Cosmos2_5_PredictBasePipeline(
        text_encoder=transformers.Qwen2_5_VLForConditionalGeneration(config).eval(),
        tokenizer=qwen_tokenizer(),
        transformer=transformer,
        vae=wan_vae(),
        scheduler=unipc(),
        safety_checker=NoSafetyChecker(),
    )


# LTX


def ltx() -> Any:
    """LTX-Video; the VAE is 32 times smaller in space and 8 in time, as in the published ones."""
    vae = diffusers.AutoencoderKLLTXVideo(
        latent_channels=8,
        block_out_channels=(8,) * 4,
        decoder_block_out_channels=(8,) * 4,
        layers_per_block=(1,) * 5,
        decoder_layers_per_block=(1,) * 5,
    )
    transformer = diffusers.LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        num_attention_heads=4,
        attention_head_dim=8,
        cross_attention_dim=WIDTH,
        num_layers=2,
        caption_channels=WIDTH,
    )
    return diffusers.LTXConditionPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=vae,
        text_encoder=t5(),
        tokenizer=t5_tokenizer(),
        transformer=transformer,
    )


def ltx2() -> Any:
    """LTX-2: picture and sound."""
    layers = GEMMA["num_hidden_layers"]
    text_encoder = transformers.Gemma3ForConditionalGeneration(
        transformers.Gemma3Config(
            text_config=GEMMA,
            vision_config={
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "image_size": 32,
                "patch_size": 16,
            },
        )
    ).eval()
    transformer = diffusers.LTX2VideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        audio_in_channels=4,
        audio_out_channels=4,
        audio_num_attention_heads=2,
        audio_attention_head_dim=4,
        audio_cross_attention_dim=8,
        num_layers=2,
        caption_channels=WIDTH,
        rope_double_precision=False,
        rope_type="split",
    )
    connectors = LTX2TextConnectors(
        caption_channels=WIDTH,
        text_proj_in_factor=layers + 1,
        video_connector_num_attention_heads=4,
        video_connector_attention_head_dim=8,
        video_connector_num_layers=1,
        video_connector_num_learnable_registers=None,
        audio_connector_num_attention_heads=4,
        audio_connector_attention_head_dim=8,
        audio_connector_num_layers=1,
        audio_connector_num_learnable_registers=None,
        connector_rope_base_seq_len=32,
        rope_double_precision=False,
        rope_type="split",
    )
    vae = diffusers.AutoencoderKLLTX2Video(
        latent_channels=4,
        block_out_channels=(8,) * 4,
        decoder_block_out_channels=(8,) * 3,
        layers_per_block=(1,) * 5,
        decoder_layers_per_block=(1,) * 4,
        upsample_residual=(False,) * 3,
        upsample_factor=(1,) * 3,
        # Reflecting needs two latents a side: 64 pixels.
        decoder_spatial_padding_mode="zeros",
        # The model's behaviour; the value computed if these are absent is twice that.
        spatial_compression_ratio=32,
        temporal_compression_ratio=8,
    )
    audio_vae = diffusers.AutoencoderKLLTX2Audio(
        base_channels=4,
        ch_mult=(1,),
        num_res_blocks=1,
        resolution=32,
        latent_channels=2,
        mel_bins=8,
    )
    vocoder = LTX2Vocoder(
        in_channels=audio_vae.config.output_channels * audio_vae.config.mel_bins,
        hidden_channels=16,
        out_channels=2,
        # 100 columns of the spectrogram a second, 240 samples each: sound as long as the picture.
        upsample_factors=[12, 20],
        upsample_kernel_sizes=[24, 40],
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1, 3, 5]],
        output_sampling_rate=24000,
    )
    return diffusers.LTX2ConditionPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=vae,
        audio_vae=audio_vae,
        text_encoder=text_encoder,
        tokenizer=gemma_tokenizer(),
        connectors=connectors,
        transformer=transformer,
        vocoder=vocoder,
    )


# Others


def hunyuan(image: bool) -> Any:
    """HunyuanVideo 1.5, from text or from an image.

    18 MB, because the width of its glyph projection (2048) is not an argument.
    """
    transformer = diffusers.HunyuanVideo15Transformer3DModel(
        in_channels=9,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        num_refiner_layers=1,
        mlp_ratio=2.0,
        text_embed_dim=QWEN["hidden_size"],
        text_embed_2_dim=WIDTH,
        image_embed_dim=12,
        rope_axes_dim=(2, 2, 4),
        # The area that a size is chosen from if none is given: image to video takes none.
        target_size=32,
        task_type="i2v" if image else "t2v",
    )
    vae = diffusers.AutoencoderKLHunyuanVideo15(
        latent_channels=4,
        block_out_channels=(8,) * 5,
        layers_per_block=1,
        downsample_match_channel=False,
        upsample_match_channel=False,
    )
    parts: Parts = {
        "text_encoder": transformers.Qwen2_5_VLTextModel(
            # The pipeline leaves the last two layers out.
            transformers.Qwen2_5_VLTextConfig(**QWEN | {"num_hidden_layers": 3})
        ).eval(),
        "tokenizer": qwen_tokenizer(),
        "transformer": transformer,
        "vae": vae,
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
        "text_encoder_2": t5(vocab_size=384),
        "tokenizer_2": transformers.ByT5Tokenizer(extra_ids=0),
        "guider": ClassifierFreeGuidance(guidance_scale=6.0),
    }
    if not image:
        return diffusers.HunyuanVideo15Pipeline(**parts)
    encoder = transformers.SiglipVisionModel(
        transformers.SiglipVisionConfig(
            hidden_size=12,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=32,
            patch_size=8,
        )
    ).eval()
    images = transformers.SiglipImageProcessorPil(size={"height": 32, "width": 32})
    return diffusers.HunyuanVideo15ImageToVideoPipeline(
        **parts, image_encoder=encoder, feature_extractor=images
    )


def cogvideox(cls: str, **changes: Any) -> Any:
    """CogVideoX."""
    config: Parts = {
        "num_attention_heads": 2,
        "attention_head_dim": 16,  # rotary positions need a multiple of 16
        "in_channels": 4,
        "out_channels": 4,
        "time_embed_dim": 2,
        "text_embed_dim": WIDTH,
        "num_layers": 2,
        "sample_width": 4,  # in latents: 32 pixels by default, and 9 frames
        "sample_height": 4,
        "sample_frames": 9,
        "use_rotary_positional_embeddings": True,
    } | changes
    vae = diffusers.AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8,) * 4,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        temporal_compression_ratio=4,
    )
    return getattr(diffusers, cls)(
        tokenizer=t5_tokenizer(226),
        text_encoder=t5(),
        vae=vae,
        transformer=diffusers.CogVideoXTransformer3DModel(**config),
        scheduler=diffusers.CogVideoXDDIMScheduler(
            prediction_type="v_prediction",
            rescale_betas_zero_snr=True,
            timestep_spacing="trailing",
        ),
    )


def mochi() -> Any:
    """Mochi; its group norms have 32 groups, hence the wide VAE."""
    transformer = diffusers.MochiTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        pooled_projection_dim=16,
        in_channels=12,
        text_embed_dim=WIDTH,
        time_embed_dim=4,
    )
    vae = diffusers.AutoencoderKLMochi(
        encoder_block_out_channels=(32,) * 4,
        decoder_block_out_channels=(32,) * 4,
        layers_per_block=(1,) * 5,
    )
    return diffusers.MochiPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
        vae=vae,
        text_encoder=t5(),
        tokenizer=t5_tokenizer(256),
        transformer=transformer,
    )


def svd() -> Any:
    """Stable Video Diffusion: a U-Net, from an image alone; two blocks each instead of four."""
    unet = diffusers.UNetSpatioTemporalConditionModel(
        sample_size=32,
        block_out_channels=(32, 32),
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        num_attention_heads=2,
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
        num_frames=5,
    )
    vae = diffusers.AutoencoderKLTemporalDecoder(
        block_out_channels=(32, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=4,
    )
    scheduler = diffusers.EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        sigma_min=0.002,
        sigma_max=700.0,
        steps_offset=1,
        timestep_spacing="leading",
        timestep_type="continuous",
        use_karras_sigmas=True,
    )
    return diffusers.StableVideoDiffusionPipeline(
        vae=vae,
        # The pipeline itself makes every image 224 pixels wide.
        image_encoder=clip_vision("CLIPVisionModelWithProjection", 224),
        unet=unet,
        scheduler=scheduler,
        feature_extractor=clip_images(),
    )


KINDS: dict[str, Callable[[], Any]] = {
    "wan-t2v": partial(wan_pipeline, "WanPipeline", {}),
    "wan-i2v-2.1": partial(wan_clip, WAN_CLIP),
    # 17 tokens for each of the two images.
    "wan-flf2v": partial(wan_clip, WAN_CLIP | {"pos_embed_seq_len": 34}),
    "wan-vace": partial(
        wan_pipeline,
        "WanVACEPipeline",
        {"cls": "WanVACETransformer3DModel", "vace_layers": [0], "vace_in_channels": 96},
    ),
    "wan2.2-a14b-t2v": partial(wan_pipeline, "WanPipeline", {}, boundary_ratio=0.875),
    "wan2.2-a14b-i2v": partial(
        wan_pipeline, "WanImageToVideoPipeline", WAN_IMAGE, boundary_ratio=0.9
    ),
    "wan2.2-ti2v-5b": wan_5b,
    "ltx": ltx,
    "ltx2": ltx2,
    "hunyuan-video-1.5-t2v": partial(hunyuan, image=False),
    "hunyuan-video-1.5-i2v": partial(hunyuan, image=True),
    "cogvideox-t2v": partial(cogvideox, "CogVideoXPipeline"),
    "cogvideox-i2v": partial(
        cogvideox,
        "CogVideoXImageToVideoPipeline",
        in_channels=8,
        use_learned_positional_embeddings=True,
    ),
    "skyreels-v2-df": skyreels,
    "helios": helios,
    "cosmos2.5-predict": cosmos,
    "mochi": mochi,
    "sana-video": sana,
    "svd": svd,
}
"""How each kind is made."""


def lora(transformer: Any, path: Path, *, seed: int = 0, strength: float = 1.0) -> Path:
    """Writes a random LoRA of rank 2 for a transformer's attention, as peft names its parts."""
    noise = torch.Generator().manual_seed(seed)
    parts = {}
    for name, module in transformer.named_modules():
        if isinstance(module, torch.nn.Linear) and "attn" in name:
            down = torch.randn(2, module.in_features, generator=noise)
            up = torch.randn(module.out_features, 2, generator=noise)
            parts[f"transformer.{name}.lora_A.weight"] = strength * down
            parts[f"transformer.{name}.lora_B.weight"] = strength * up
    save_file(parts, path)
    return path


def build(kind: str, folder: Path) -> Path:
    """Writes a tiny pipeline of this kind, always the same one, and returns the folder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        KINDS[kind]().save_pretrained(folder, safe_serialization=True)
    return folder
