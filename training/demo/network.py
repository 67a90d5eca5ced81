"""The demo model's transformer and text encoder: sizes, first weights, and a fast training pass.

Both are stock library classes. Two things are ours: weights that make attention local from the
first step, and a forward pass that computes what the library's does but embeds one noise level per
latent frame instead of one per token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from training.demo import world
from training.demo.vae import CELL, CELL_FRAMES, LATENT_CHANNELS

if TYPE_CHECKING:
    from diffusers import LTXVideoTransformer3DModel
    from transformers import T5EncoderModel

LibraryModule = Any  # a module of the library, whose submodules carry no types

HEADS, HEAD_SIZE, LAYERS = 4, 32, 5
WIDTH = HEADS * HEAD_SIZE
TEXT_WIDTH, TEXT_LAYERS = 128, 2
LATENT_FRAMES = (world.NUM_FRAMES - 1) // CELL_FRAMES + 1
ROWS, COLUMNS = world.HEIGHT // CELL, world.WIDTH // CELL
FRAME_TOKENS = ROWS * COLUMNS

# The neighbour (latent frames, rows, columns) that each head of each layer looks at first.
# Head 0 holds the slowest frequencies, which see only time; it stays free.
NEIGHBOURS: tuple[tuple[tuple[int, int, int], ...], ...] = (
    ((0, 0, -1), (0, 0, 1), (-1, 0, 0)),
    ((0, -1, 0), (0, 1, 0), (1, 0, 0)),
    ((-1, 0, -1), (-1, 0, 1), (0, 0, 0)),
    ((-1, -1, 0), (-1, 1, 0), (1, 0, 0)),
    ((0, 0, -2), (0, 0, 2), (-1, 0, 0)),
)


def new_transformer() -> LTXVideoTransformer3DModel:
    """The diffusion transformer with local attention as its first guess."""
    from diffusers import LTXVideoTransformer3DModel

    model = LTXVideoTransformer3DModel(
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_attention_heads=HEADS,
        attention_head_dim=HEAD_SIZE,
        cross_attention_dim=WIDTH,
        num_layers=LAYERS,
        caption_channels=TEXT_WIDTH,
    )
    _first_weights(model)
    return model


def new_text_encoder(vocabulary_size: int) -> T5EncoderModel:
    """A two-layer T5 encoder, trained together with the transformer."""
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=vocabulary_size,
        d_model=TEXT_WIDTH,
        d_kv=32,
        num_heads=4,
        d_ff=256,
        num_layers=TEXT_LAYERS,
        relative_attention_num_buckets=16,
        relative_attention_max_distance=32,
        is_gated_act=False,
        dropout_rate=0.0,
        pad_token_id=0,
        eos_token_id=1,
    )
    encoder = T5EncoderModel(config)
    nn.init.normal_(encoder.shared.weight, std=1.0)
    return encoder


class AttributeReader(nn.Module):
    """Reads the meaning of a caption from the text encoder's output; used in training only.

    The denoising loss alone taught the encoder almost nothing about shapes: the few tokens that a
    shape changes weigh little compared with the object's position. With this its words are
    distinguished early.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        """One linear map to the choices of every attribute."""
        super().__init__()
        self.sizes = list(sizes)
        self.choose = nn.Linear(TEXT_WIDTH, sum(self.sizes))

    def forward(self, text: Tensor, text_mask: Tensor) -> tuple[Tensor, ...]:
        """Logits (n, choices) of each attribute: text (n, words, width), text_mask (n, words)."""
        mask = text_mask[..., None].to(text.dtype)
        pooled = (text * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        return self.choose(pooled).split(self.sizes, dim=1)  # type: ignore[no-any-return]


def token_coordinates() -> Tensor:
    """Positions of the tokens, as `LTXConditionPipeline` computes them: (1, 3, tokens) float32.

    Seconds, pixels down, pixels right; latent frame 0 stands for one frame, the others for four.
    """
    frame = torch.arange(LATENT_FRAMES) * CELL_FRAMES + 1 - CELL_FRAMES
    seconds = frame.clamp(min=0).float() / world.FPS
    grid = torch.meshgrid(
        seconds,
        torch.arange(ROWS) * float(CELL),
        torch.arange(COLUMNS) * float(CELL),
        indexing="ij",
    )
    return torch.stack(grid).flatten(1)[None]


def rotary_tables(model: LTXVideoTransformer3DModel) -> tuple[Tensor, Tensor]:
    """Cosines and sines (1, tokens, width) of the rotary position embedding."""
    cos, sin = model.rope(torch.empty(1, 1), video_coords=token_coordinates())
    return cos, sin


def _pair_angles(offset: tuple[int, int, int]) -> Tensor:
    """Angle (width / 2,) by which each rotary pair turns over an offset between two tokens."""
    step = (CELL_FRAMES / world.FPS / 20, CELL / 2048, CELL / 2048)
    per_axis = WIDTH // 6
    frequency = 10000.0 ** torch.linspace(0, 1, per_axis) * math.pi
    turned = torch.stack([frequency * step[a] * offset[a] for a in range(3)], dim=-1).flatten()
    return torch.cat([torch.zeros(WIDTH // 2 - turned.numel()), turned])


@torch.no_grad()
def _look_at(attention: LibraryModule, head: int, offset: tuple[int, int, int]) -> None:
    """Bias one head so that every token attends to the token at ``offset`` from it."""
    angle = _pair_angles(offset)
    pairs = slice(head * HEAD_SIZE, (head + 1) * HEAD_SIZE)
    query = torch.stack([angle.cos(), angle.sin()], dim=-1).flatten()
    key = torch.stack([torch.ones_like(angle), torch.zeros_like(angle)], dim=-1).flatten()
    attention.to_q.bias[pairs] = query[pairs]
    attention.to_k.bias[pairs] = key[pairs]


@torch.no_grad()
def _first_weights(model: LTXVideoTransformer3DModel) -> None:
    nn.init.orthogonal_(model.proj_in.weight)
    nn.init.zeros_(model.proj_in.bias)
    model.proj_out.weight.copy_(0.5 * model.proj_in.weight.T)
    nn.init.zeros_(model.proj_out.bias)
    for layer, block in enumerate(model.transformer_blocks):
        for attention in (block.attn1, block.attn2):
            attention.norm_q.weight.fill_(1.0)
            attention.norm_k.weight.fill_(1.0)
        for linear in (block.attn1.to_q, block.attn1.to_k):
            nn.init.normal_(linear.weight, std=0.35 / WIDTH**0.5)
            nn.init.normal_(linear.bias, std=0.05)
        for head, offset in enumerate(NEIGHBOURS[layer % len(NEIGHBOURS)], start=1):
            _look_at(block.attn1, head, offset)
        block.scale_shift_table.zero_()
        block.scale_shift_table[2] = 0.5  # gates of attention and feed-forward
        block.scale_shift_table[5] = 0.5
    model.scale_shift_table.zero_()


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    real, imaginary = x.view(*x.shape[:2], -1, 2).unbind(-1)
    turned = torch.stack([-imaginary, real], dim=-1).flatten(2)
    return x * cos + turned * sin


@torch.library.custom_op("longreel_demo::attention", mutates_args=())
def _plain_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Attention by two matrix products: the output, and the probabilities for the way back.

    On a CPU with bfloat16 products this is 2.2 times as fast, forward and backward, as torch's
    flash kernel at 480 tokens and heads of 32; it is one opaque operation because the compiler's
    own softmax loses that again.
    """
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if mask is not None:
        scores += mask
    probabilities = torch.softmax(scores, dim=-1)
    return probabilities @ value, probabilities


@_plain_attention.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    shape = (*query.shape[:-1], key.shape[-2])
    return torch.empty_like(query).contiguous(), query.new_empty(shape)


@torch.library.custom_op("longreel_demo::attention_backward", mutates_args=())
def _plain_attention_backward(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, probabilities: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    scale = query.shape[-1] ** -0.5
    grad_value = probabilities.transpose(-1, -2) @ grad
    grad_probabilities = grad @ value.transpose(-1, -2)
    grad_scores = torch._softmax_backward_data(
        grad_probabilities, probabilities, -1, probabilities.dtype
    )
    grad_query = (grad_scores @ key) * scale
    grad_key = (grad_scores.transpose(-1, -2) @ query) * scale
    return grad_query, grad_key, grad_value


@_plain_attention_backward.register_fake
def _(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, probabilities: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return tuple(t.new_empty(t.shape) for t in (query, key, value))  # type: ignore[return-value]


def _keep_for_backward(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:3], output[1])


def _go_backward(ctx: Any, grad: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    return (*_plain_attention_backward(grad.contiguous(), *ctx.saved_tensors), None)


_plain_attention.register_autograd(_go_backward, setup_context=_keep_for_backward)


def _attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    if query.device.type == "cpu":
        return _plain_attention(query, key, value, mask)[0]  # type: ignore[no-any-return]
    return nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def _attend(
    attention: LibraryModule,
    x: Tensor,
    context: Tensor,
    rotary: tuple[Tensor, Tensor] | None,
    mask: Tensor | None,
) -> Tensor:
    query = attention.norm_q(attention.to_q(x))
    key = attention.norm_k(attention.to_k(context))
    value = attention.to_v(context)
    if rotary is not None:
        query, key = _rotate(query, *rotary), _rotate(key, *rotary)
    query, key, value = (
        t.to(value.dtype).view(*t.shape[:2], HEADS, -1).transpose(1, 2) for t in (query, key, value)
    )
    out = _attention(query, key, value, mask)
    return attention.to_out[0](out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def _per_frame(x: Tensor, scale: Tensor, shift: Tensor | float = 0.0) -> Tensor:
    """``x * scale + shift`` with one scale per latent frame: x (n, tokens, width)."""
    return (x.view(len(x), LATENT_FRAMES, -1, WIDTH) * scale + shift).flatten(1, 2)


def _block_forward(
    block: LibraryModule,
    x: Tensor,
    text: Tensor,
    temb: Tensor,
    rotary: tuple[Tensor, Tensor],
    mask: Tensor,
) -> Tensor:
    ada = (block.scale_shift_table + temb.view(*temb.shape[:2], 6, WIDTH))[:, :, None]
    shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = ada.unbind(dim=3)
    inner = _per_frame(block.norm1(x), 1 + scale_a, shift_a)
    x = x + _per_frame(_attend(block.attn1, inner, inner, rotary, None), gate_a)
    x = x + _attend(block.attn2, x, text, None, mask)
    inner = _per_frame(block.norm2(x), 1 + scale_f, shift_f)
    return x + _per_frame(block.ff(inner), gate_f)


def predict_velocity(
    model: LTXVideoTransformer3DModel,
    noisy: Tensor,
    text: Tensor,
    text_mask: Tensor,
    sigma: Tensor,
    rotary: tuple[Tensor, Tensor],
) -> Tensor:
    """What the library's forward computes, faster.

    ``noisy`` (n, tokens, channels), ``text`` (n, words, text width), ``text_mask`` (n, words) 1 for
    words and 0 for padding, ``sigma`` (n, latent frames) 0 to 1. Returns (n, tokens, channels).
    """
    mask = ((1 - text_mask.to(noisy.dtype)) * -10000.0)[:, None, None]
    x = model.proj_in(noisy)
    temb, embedded = model.time_embed(
        (sigma * 1000.0).flatten(), batch_size=len(noisy), hidden_dtype=noisy.dtype
    )
    temb = temb.view(len(noisy), LATENT_FRAMES, -1)
    embedded = embedded.view(len(noisy), LATENT_FRAMES, 1, -1)
    words = model.caption_projection(text)
    for block in model.transformer_blocks:
        x = _block_forward(block, x, words, temb, rotary, mask.to(words.dtype))
    shift, scale = (model.scale_shift_table + embedded)[:, :, :, None].unbind(dim=2)
    return model.proj_out(_per_frame(model.norm_out(x), 1 + scale, shift))  # type: ignore[no-any-return]
