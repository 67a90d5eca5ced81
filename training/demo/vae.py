"""The demo model's video autoencoder: set by linear algebra, no gradient training.

The stock ``AutoencoderKLLTXVideo`` is made to compute a two-stage principal component analysis
(PCA) of blocks of 4 frames x 8 x 8 pixels. Its norms and activations stand in the way of a
linear map; a channel that holds a large constant makes RMSNorm divide by (almost) that constant
and brings all other channels so near zero that SiLU is (almost) the line x / 2.

A linear autoencoder has a great use in training: latents of a clip cost one small matrix product
(see `BlockEncoder`), so clips are drawn on the fly and no video network runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from training.demo import world

if TYPE_CHECKING:
    from diffusers import AutoencoderKLLTXVideo

LATENT_CHANNELS = 32
ENCODER_WIDTH = 48
DECODER_WIDTH = 64  # halved by the first upsampler
DETAIL_WIDTH = DECODER_WIDTH // 2
CELL = 8  # pixels per latent cell, each way
CELL_FRAMES = 4  # frames per latent frame, the first one excepted
ENCODER_CONSTANT = 60_000.0
DECODER_CONSTANT = 20_000.0
LOG_VARIANCE = -14.0
# Normalised latents have standard deviation s**WHITENING of a component with deviation s:
# 1 would leave fine components inaudible, 0 would give noise-like ones the weight of the sky.
WHITENING = 0.35


def new_vae() -> AutoencoderKLLTXVideo:
    """The architecture with the library's own initial weights."""
    from diffusers import AutoencoderKLLTXVideo

    return AutoencoderKLLTXVideo(
        latent_channels=LATENT_CHANNELS,
        block_out_channels=(ENCODER_WIDTH, ENCODER_WIDTH),
        down_block_types=("LTXVideoDownBlock3D",) * 2,
        decoder_block_out_channels=(DETAIL_WIDTH, DECODER_WIDTH),
        layers_per_block=(0, 0, 0),
        decoder_layers_per_block=(2, 1, 0),
        spatio_temporal_scaling=(True, True),
        decoder_spatio_temporal_scaling=(True, True),
        decoder_inject_noise=(False,) * 3,
        downsample_type=("conv", "conv"),
        upsample_residual=(False, False),
        upsample_factor=(1, 2),
        patch_size=2,
        patch_size_t=1,
    )


@dataclass(frozen=True, kw_only=True)
class Bases:
    """Orthonormal bases of the two stages; rows are components, strongest first."""

    fine: Tensor  # (ENCODER_WIDTH - 1, 12 * 8): 2 frames x 4 x 4 pixels
    coarse: Tensor  # (LATENT_CHANNELS, (ENCODER_WIDTH - 1) * 8): 4 frames x 8 x 8 pixels
    detail: Tensor  # (DETAIL_WIDTH - 1, ENCODER_WIDTH - 1): what the decoder keeps between stages


def sample_clips(count: int, seed: int) -> Tensor:
    """Ground-truth clips of training combinations: (count, 3, frames, height, width), -1 to 1."""
    rng = np.random.default_rng(seed)
    pool = world.training_combinations()
    chosen = [pool[i] for i in rng.integers(len(pool), size=count)]
    first = 12 * rng.integers(0, 5, size=count)
    paths = world.tracks([c.motion for c in chosen], rng, first_frame=first)
    clips = np.stack([world.render(c, p) for c, p in zip(chosen, paths, strict=True)])
    return torch.from_numpy(clips).permute(0, 4, 1, 2, 3).float() / 127.5 - 1.0


def _patchify(clips: Tensor) -> Tensor:
    """2 x 2 pixels into channels, in the library's order: (n, 12, frames, height/2, width/2)."""
    n, c, t, h, w = clips.shape
    split = clips.reshape(n, c, t, h // 2, 2, w // 2, 2)
    return split.permute(0, 1, 6, 4, 2, 3, 5).reshape(n, c * 4, t, h // 2, w // 2)


def _blocks(x: Tensor) -> Tensor:
    """2 x 2 x 2 neighbours as vectors, first frame doubled: (n, t, h, w, channels * 8)."""
    x = torch.cat([x[:, :, :1], x], dim=2)
    n, c, t, h, w = x.shape
    split = x.reshape(n, c, t // 2, 2, h // 2, 2, w // 2, 2)
    return split.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(n, t // 2, h // 2, w // 2, c * 8)


def _principal(vectors: Tensor, count: int) -> Tensor:
    """The strongest ``count`` components (count, size) of vectors (n, size), not centred."""
    flat = vectors.reshape(-1, vectors.shape[-1]).double()
    axes: Tensor = torch.linalg.eigh(flat.T @ flat)[1]
    return axes.flip(1)[:, :count].T.float().contiguous()


def fit_bases(clips: Tensor) -> Bases:
    """Principal components of clips (n, 3, frames, height, width) for both stages."""
    first = _blocks(_patchify(clips))
    fine = _principal(first, ENCODER_WIDTH - 1)
    second = _blocks((first @ fine.T).permute(0, 4, 1, 2, 3))
    coarse = _principal(second, LATENT_CHANNELS)
    rebuilt = second @ coarse.T @ coarse
    rebuilt = rebuilt.reshape(-1, ENCODER_WIDTH - 1, 8).movedim(-2, -1)
    return Bases(fine=fine, coarse=coarse, detail=_principal(rebuilt, DETAIL_WIDTH - 1))


def _clear(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)


def _set_encoder(vae: AutoencoderKLLTXVideo, bases: Bases) -> None:
    encoder, kept = vae.encoder, ENCODER_WIDTH - 1
    _clear(encoder)
    for channel in range(12):
        encoder.conv_in.conv.weight[channel, channel, 2, 1, 1] = 1.0
    down = [block.downsamplers[0].conv for block in encoder.down_blocks]
    down[0].weight[:kept, :12, 1:, 1:, 1:] = bases.fine.reshape(kept, 12, 2, 2, 2)
    down[1].weight[:LATENT_CHANNELS, :kept, 1:, 1:, 1:] = bases.coarse.reshape(-1, kept, 2, 2, 2)
    down[1].bias[-1] = ENCODER_CONSTANT
    gain = 2.0 * ENCODER_CONSTANT / ENCODER_WIDTH**0.5
    for channel in range(LATENT_CHANNELS):
        encoder.conv_out.conv.weight[channel, channel, 2, 1, 1] = gain
    encoder.conv_out.conv.bias[-1] = LOG_VARIANCE


def _set_decoder(vae: AutoencoderKLLTXVideo, bases: Bases) -> None:
    decoder, kept, detail = vae.decoder, ENCODER_WIDTH - 1, DETAIL_WIDTH - 1
    for conv in (decoder.conv_in, decoder.conv_out):
        _clear(conv)
    for channel in range(LATENT_CHANNELS):
        decoder.conv_in.conv.weight[channel, channel, 1, 1, 1] = 1.0
    up = [block.upsamplers[0].conv.conv for block in decoder.up_blocks]
    for conv in up:
        _clear(conv)
    # (detail, kept) x (latents, kept, 8) -> one row per output channel and sub-position
    coarse = torch.einsum("dk,lks->dsl", bases.detail, bases.coarse.reshape(-1, kept, 8))
    up[0].weight[: detail * 8, :LATENT_CHANNELS, 1, 1, 1] = coarse.reshape(detail * 8, -1)
    up[0].bias[detail * 8 :] = DECODER_CONSTANT
    fine = torch.einsum("dk,kcs->csd", bases.detail, bases.fine.reshape(kept, 12, 8))
    up[1].weight[: 12 * 8, :detail, 1, 1, 1] = fine.reshape(12 * 8, detail)
    up[1].bias[detail * 8 :] = DECODER_CONSTANT
    gain = 2.0 * DECODER_CONSTANT / DETAIL_WIDTH**0.5
    for channel in range(12):
        decoder.conv_out.conv.weight[channel, channel, 1, 1, 1] = gain
    for block in decoder.up_blocks:
        for resnet in block.resnets:
            _set_refiner(resnet)


def _set_refiner(resnet: Any) -> None:
    """Make a residual block add nothing yet, but learn well when it is trained later.

    Its first norm shrinks every channel by the constant; the first convolution undoes that, so
    the second norm and activation see values of order one and are truly non-linear.
    """
    gain = 2.0 * DECODER_CONSTANT / DETAIL_WIDTH**0.5
    conv1, conv2 = resnet.conv1.conv, resnet.conv2.conv
    nn.init.normal_(conv1.weight, std=gain * (2.0 / (27 * 12)) ** 0.5)
    conv1.weight[:, -1] = 0.0  # the constant itself is not a feature
    _clear(conv2)
    nn.init.zeros_(conv1.bias)


@torch.no_grad()
def build_vae(seed: int = 0, clips: int = 384) -> AutoencoderKLLTXVideo:
    """The analytic autoencoder, latent statistics included."""
    torch.manual_seed(seed)
    vae = new_vae().eval()
    data = sample_clips(clips, seed)
    bases = fit_bases(data)
    _set_encoder(vae, bases)
    _set_decoder(vae, bases)
    latents = encode_linear(bases, data)
    mean, deviation = latents.mean(dim=(0, 1, 2, 3)), latents.std(dim=(0, 1, 2, 3))
    scale = deviation ** (1 - WHITENING)
    scale = scale * (deviation / scale).square().mean().sqrt()
    vae.latents_mean.copy_(mean)
    vae.latents_std.copy_(scale)
    return vae


def encode_linear(bases: Bases, clips: Tensor) -> Tensor:
    """Latents of clips without a network, not normalised: (n, t, h, w, channels)."""
    first = _blocks(_patchify(clips)) @ bases.fine.T
    return _blocks(first.permute(0, 4, 1, 2, 3)) @ bases.coarse.T


class BlockEncoder:
    """Normalised latents of clips that are flat but for one flat object.

    Reads the linear map out of a saved autoencoder, so that training needs the directory alone.
    """

    def __init__(self, vae: AutoencoderKLLTXVideo) -> None:
        """Read the map out of ``vae``, on its device."""
        kept = ENCODER_WIDTH - 1
        down = [block.downsamplers[0].conv for block in vae.encoder.down_blocks]
        fine = down[0].weight[:kept, :12, 1:, 1:, 1:].detach()
        coarse = down[1].weight[:LATENT_CHANNELS, :kept, 1:, 1:, 1:].detach()
        # 12 channels are (colour, x within the patch, y within the patch).
        joint = torch.einsum("lktyx,kcuvw->lctuyvxw", coarse, fine)
        joint = joint.reshape(LATENT_CHANNELS, 3, 2, 2, 2, 2, 2, 2, 2, 2)
        # axes: latent, colour, px, py, t, u, y, v, x, w -> latent, colour, t u, y v py, x w px
        joint = joint.permute(0, 1, 4, 5, 6, 7, 3, 8, 9, 2)
        weight = joint.reshape(LATENT_CHANNELS, 3, -1) / vae.latents_std.view(-1, 1, 1)
        self.weight = weight.contiguous()  # (latents, 3, 4 * 8 * 8)
        self.offset = -vae.latents_mean / vae.latents_std

    def __call__(self, alpha: Tensor, colour: Tensor, behind: Tensor) -> Tensor:
        """Encode one batch.

        ``alpha`` (n, frames, height, width) the object's coverage, ``colour`` (n, 3) and
        ``behind`` (n, height / 8, 3) the colour of object and background, -1 to 1.
        Returns (n, t * h * w, channels): token order and values as the pipeline has them.
        """
        padded = torch.cat([alpha[:, :1].expand(-1, CELL_FRAMES - 1, -1, -1), alpha], dim=1)
        n, frames, height, width = padded.shape
        t, h, w = frames // CELL_FRAMES, height // CELL, width // CELL
        cells = padded.reshape(n, t, CELL_FRAMES, h, CELL, w, CELL)
        cells = cells.permute(0, 1, 3, 5, 2, 4, 6).reshape(n, t * h * w, -1)
        by_colour = cells @ self.weight.permute(2, 1, 0).flatten(1)  # (n, tokens, 3 * latents)
        by_colour = by_colour.view(n, t, h, w, 3, LATENT_CHANNELS)
        contrast = (colour[:, None] - behind)[:, None, :, None, :, None]
        flat = (behind @ self.weight.sum(dim=2).T)[:, None, :, None]
        latents: Tensor = (by_colour * contrast).sum(dim=4) + flat + self.offset
        return latents.flatten(1, 3)
