"""Pipelines with random weights in published shapes, for measuring without weights.

What they render is noise; how long it takes, and how much memory, is as with trained weights. The
numbers are those of the checkpoints' configuration files (Wan-AI/Wan2.1-T2V-1.3B-Diffusers,
Lightricks/LTX-Video); `tiny` is the same pipeline with two layers, for trying a script on a CPU.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

SHAPES = ("wan", "ltx")


def build(shape: str, folder: Path, *, tiny: bool, device: str) -> Path:
    """Writes the pipeline of a shape into `folder`, always the same, and returns it."""
    if not folder.exists():
        torch.manual_seed(0)
        with torch.device(device), _dtype(torch.float32 if tiny else torch.bfloat16):
            pipeline = _wan(tiny) if shape == "wan" else _ltx(tiny)
        pipeline.save_pretrained(folder, safe_serialization=True)
        del pipeline
    return folder


class _dtype:  # noqa: N801  (used like torch.device)
    """The type of the weights that are made within."""

    def __init__(self, kind: torch.dtype) -> None:
        self._kind = kind

    def __enter__(self) -> None:
        self._before = torch.get_default_dtype()
        torch.set_default_dtype(self._kind)

    def __exit__(self, *_: object) -> None:
        torch.set_default_dtype(self._before)


def _wan(tiny: bool) -> Any:
    transformer = diffusers.WanTransformer3DModel(
        num_attention_heads=2 if tiny else 12,
        attention_head_dim=12 if tiny else 128,
        ffn_dim=32 if tiny else 8960,
        num_layers=2 if tiny else 30,
        text_dim=32 if tiny else 4096,
        in_channels=16,
        out_channels=16,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        eps=1e-6,
        freq_dim=256,
        rope_max_seq_len=64 if tiny else 1024,
    )
    small = {"base_dim": 3, "dim_mult": [1] * 4, "num_res_blocks": 1} if tiny else {}
    return diffusers.WanPipeline(
        tokenizer=_tokenizer(),
        text_encoder=_text_encoder("UMT5", tiny),
        transformer=transformer,
        vae=diffusers.AutoencoderKLWan(z_dim=16, **small),
        scheduler=diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
    )


def _ltx(tiny: bool) -> Any:
    transformer = diffusers.LTXVideoTransformer3DModel(
        in_channels=8 if tiny else 128,
        out_channels=8 if tiny else 128,
        num_attention_heads=4 if tiny else 32,
        attention_head_dim=8 if tiny else 64,
        cross_attention_dim=32 if tiny else 2048,
        num_layers=2 if tiny else 28,
        caption_channels=32 if tiny else 4096,
    )
    small = (
        {
            "latent_channels": 8,
            "block_out_channels": (8,) * 4,
            "decoder_block_out_channels": (8,) * 4,
            "layers_per_block": (1,) * 5,
            "decoder_layers_per_block": (1,) * 5,
        }
        if tiny
        else {}
    )
    return diffusers.LTXConditionPipeline(
        tokenizer=_tokenizer(),
        text_encoder=_text_encoder("T5", tiny),
        transformer=transformer,
        vae=diffusers.AutoencoderKLLTXVideo(**small),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
    )


def _text_encoder(kind: str, tiny: bool) -> Any:
    """T5-XXL or UMT5-XXL: 24 layers 4096 wide; the vocabulary is the tokenizer's."""
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=256,
        d_model=32 if tiny else 4096,
        d_kv=8 if tiny else 64,
        d_ff=37 if tiny else 10240,
        num_layers=2 if tiny else 24,
        num_heads=4 if tiny else 64,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        tie_word_embeddings=True,
    )
    return getattr(transformers, f"{kind}EncoderModel")(config).eval()


def _tokenizer() -> Any:
    """Knows single letters; how long a prompt becomes is padded by the pipelines anyway."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("▁", -3.0)]
    letters = [(letter, -4.0) for letter in string.ascii_lowercase + ".,"]
    return transformers.T5Tokenizer(vocab=special + letters, extra_ids=0, model_max_length=512)
