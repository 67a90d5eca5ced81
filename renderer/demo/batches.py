"""Training batches of the demo world, drawn on the fly and encoded by one matrix product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from renderer.demo import captions, world
from renderer.demo.network import COLUMNS, LATENT_FRAMES, ROWS
from renderer.demo.vae import CELL, CELL_FRAMES, BlockEncoder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CAPTION_TOKENS = 32
DROPPED_CAPTIONS = 0.10
FILLED_CAPTIONS = 0.15
PREFIXED = 0.35
PREFIX_LENGTHS = (1, 2, 2, 2, 3)  # latent frames; a five-frame overlap is two
LATEST_START = 72  # frames into the film at which a continuing segment may begin
PREFIX_NOISE = 0.12  # conditioning latents of generated films are not perfect; train for that


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One batch on the training device; n clips."""

    words: Tensor  # (n, CAPTION_TOKENS) int64
    word_mask: Tensor  # (n, CAPTION_TOKENS) 1 for words
    latents: Tensor  # (n, tokens, channels), clean
    noisy: Tensor  # (n, tokens, channels)
    velocity: Tensor  # (n, tokens, channels): noise - latents
    sigma: Tensor  # (n, latent frames), 0 on conditioning frames
    weight: Tensor  # (n, tokens), 0 on conditioning frames


class BatchMaker:
    """Draws batch number ``step``; the same seed and step give the same batch."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        encoder: BlockEncoder,
        device: torch.device,
        seed: int,
    ) -> None:
        """Keep what every batch needs on ``device``."""
        self.tokenizer, self.encoder, self.device, self.seed = tokenizer, encoder, device, seed
        self.pool = world.training_combinations()
        columns, rows = world.pixel_centres()
        self.columns = torch.from_numpy(columns).to(device)
        self.rows = torch.from_numpy(rows).to(device)

    def draw(self, step: int, size: int) -> Batch:
        """Draw one batch of ``size`` clips."""
        rng = np.random.default_rng((self.seed, step))
        chosen = [self.pool[i] for i in rng.integers(len(self.pool), size=size)]
        prefix = np.where(rng.random(size) < PREFIXED, rng.choice(PREFIX_LENGTHS, size), 0)
        start = np.where(prefix > 0, rng.integers(0, LATEST_START, size), 0)
        track = world.tracks([c.motion for c in chosen], rng, first_frame=start)
        alpha = self._coverage(chosen, torch.from_numpy(track).to(self.device))
        latents = self.encoder(alpha, *self._colours(chosen))
        words, word_mask = self._captions(chosen, rng)
        return self._noised(latents, _object_tokens(alpha), prefix, words, word_mask, rng)

    def _coverage(self, chosen: list[world.Combination], track: Tensor) -> Tensor:
        shape = (len(chosen), world.NUM_FRAMES, world.HEIGHT, world.WIDTH)
        alpha = torch.empty(shape, device=self.device)
        for kind in world.SHAPES:
            index = [i for i, c in enumerate(chosen) if c.shape is kind]
            if index:
                alpha[index] = world.coverage(kind, track[index], self.columns, self.rows)
        return alpha

    def _colours(self, chosen: list[world.Combination]) -> tuple[Tensor, Tensor]:
        colour = torch.tensor([world.COLOUR_RGB[c.colour] for c in chosen], device=self.device)
        sky_rows = world.HORIZON // CELL
        behind = torch.tensor(
            [
                [world.SKY_RGB[c.sky]] * sky_rows + [world.FLOOR_RGB[c.floor]] * (ROWS - sky_rows)
                for c in chosen
            ],
            device=self.device,
        )
        return colour / 127.5 - 1.0, behind / 127.5 - 1.0

    def _captions(
        self, chosen: list[world.Combination], rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        texts = []
        for combination in chosen:
            text = captions.caption(combination, rng)
            if rng.random() < FILLED_CAPTIONS:
                text = captions.with_filler(text, rng)
            texts.append("" if rng.random() < DROPPED_CAPTIONS else text)
        tokens = self.tokenizer(
            texts,
            padding="max_length",
            max_length=CAPTION_TOKENS,
            truncation=True,
            return_tensors="pt",
        )
        return tokens.input_ids.to(self.device), tokens.attention_mask.to(self.device)

    def _noised(
        self,
        latents: Tensor,
        on_object: Tensor,
        prefix: np.ndarray,
        words: Tensor,
        word_mask: Tensor,
        rng: np.random.Generator,
    ) -> Batch:
        count = len(latents)
        level = torch.from_numpy(_noise_levels(count, rng)).to(self.device)
        given = torch.from_numpy(prefix).to(self.device)[:, None] > torch.arange(
            LATENT_FRAMES, device=self.device
        )
        sigma = level[:, None] * ~given
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**31)))
        noise = torch.randn(latents.shape, generator=generator, device=self.device)
        blur = torch.from_numpy(PREFIX_NOISE * rng.random(count, dtype=np.float32) ** 2)
        token_sigma = _per_token(sigma)
        mixed = (1 - token_sigma) * latents + token_sigma * noise
        spoiled = latents + blur.to(self.device)[:, None, None] * noise
        token_given = _per_token(given)
        weight = (1 + 2 * (1 - token_sigma) * on_object[..., None]) * ~token_given
        return Batch(
            words=words,
            word_mask=word_mask,
            latents=latents,
            noisy=torch.where(token_given, spoiled, mixed),
            velocity=noise - latents,
            sigma=sigma,
            weight=weight[..., 0],
        )


def _per_token(per_frame: Tensor) -> Tensor:
    return per_frame.repeat_interleave(ROWS * COLUMNS, dim=1)[..., None]


def _object_tokens(alpha: Tensor) -> Tensor:
    """1 for tokens that see the object in any of their frames: (n, tokens)."""
    padded = torch.cat([alpha[:, :1].expand(-1, CELL_FRAMES - 1, -1, -1), alpha], dim=1)
    cells = padded.reshape(len(alpha), LATENT_FRAMES, CELL_FRAMES, ROWS, CELL, COLUMNS, CELL)
    return (cells.amax(dim=(2, 4, 6)) > 0).float().flatten(1)


def _noise_levels(count: int, rng: np.random.Generator) -> np.ndarray:
    """Noise levels (count,), 0 to 1: mostly where layout is decided, all of the range a little.

    The pipeline's own schedule takes half its steps above 0.975, hence the third part.
    """
    logit = 1 / (1 + np.exp(-(0.9 + 1.1 * rng.standard_normal(count))))
    kind = rng.random(count)
    anywhere, high = rng.random(count), 0.93 + 0.07 * rng.random(count)
    level = np.where(kind < 0.7, logit, np.where(kind < 0.9, anywhere, high))
    return np.asarray(level, dtype=np.float32)
