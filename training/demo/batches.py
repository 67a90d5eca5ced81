"""Training batches of the demo world, drawn on the fly and encoded by one matrix product."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from training.demo import captions, world
from training.demo.network import COLUMNS, LATENT_FRAMES, ROWS
from training.demo.vae import CELL, CELL_FRAMES, BlockEncoder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CAPTION_TOKENS = 32
DROPPED_CAPTIONS = 0.10
FILLED_CAPTIONS = 0.15
PREFIXED = 0.35
PREFIX_LENGTHS = (1, 2, 2, 2, 3)  # latent frames; a five-frame overlap is two
LATEST_START = 72  # frames into the film at which a continuing segment may begin
PREFIX_NOISE = 0.12  # conditioning latents of generated films are not perfect; train for that

KINDS = (world.SHAPES, world.COLOURS, world.SKIES, world.FLOORS, world.MOTIONS)
ATTRIBUTE_NUMBERS = {
    c: [
        kinds.index(value)
        for kinds, value in zip(KINDS, (c.shape, c.colour, c.sky, c.floor, c.motion), strict=True)
    ]
    for c in world.all_combinations()
}


@dataclass(frozen=True, kw_only=True)
class Emphasis:
    """What a part of training dwells on."""

    on_object: float
    """Added to the weight of tokens that see the object."""
    on_shape: float
    """Most that is added to the weight of tokens by which shapes differ."""
    anywhere: float
    """Share of clips with a noise level of equal chance."""
    high: float
    """Share of clips with a noise level between `HIGH` and 1."""


LEARNING = Emphasis(on_object=1.0, on_shape=4.0, anywhere=0.15, high=0.4)
"""Weights of most of the training: the shapes."""
SETTLING = Emphasis(on_object=0.5, on_shape=2.0, anywhere=0.35, high=0.25)
"""Weights of the last part: clean pictures, the background above all."""
HIGH = 0.88


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
    attributes: Tensor  # (n, 5) int64: index of shape, colour, sky, floor, motion
    captioned: Tensor  # (n,) True if the caption was kept
    scene: list[int]  # (n,) the number of each clip's scene, ascending


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
        self.scenes = _scenes(world.training_combinations())
        columns, rows = world.pixel_centres()
        self.columns = torch.from_numpy(columns).to(device)
        self.rows = torch.from_numpy(rows).to(device)

    def draw(
        self,
        step: int,
        size: int,
        *,
        emphasis: Emphasis = LEARNING,
        level: float | None = None,
    ) -> Batch:
        """Draw one batch of ``size`` clips, whole scenes at a time.

        ``level`` draws a batch to measure by: that noise level, all captions, no prefixes.
        """
        rng = np.random.default_rng((self.seed, step))
        chosen, scene = self._choose(size, rng)
        count = int(scene[-1]) + 1  # scenes; what follows is drawn once for each
        prefixed = (rng.random(count) < PREFIXED) & (level is None)
        prefix = np.where(prefixed, rng.choice(PREFIX_LENGTHS, count), 0)
        start = np.where(prefix > 0, rng.integers(0, LATEST_START, count), 0)
        first = np.searchsorted(scene, np.arange(count))  # each scene's first clip
        track = world.tracks([chosen[i].motion for i in first], rng, first_frame=start)[scene]
        alpha = self._coverage(chosen, torch.from_numpy(track).to(self.device))
        latents = self.encoder(alpha, *self._colours(chosen))
        texts = self._captions(chosen, scene, rng, DROPPED_CAPTIONS if level is None else 0.0)
        weight = 1 + emphasis.on_object * _object_tokens(alpha)
        weight = weight + emphasis.on_shape * _differences(latents, scene)
        levels = (
            _noise_levels(count, emphasis, rng)
            if level is None
            else np.full(count, level, np.float32)
        )
        return self._noised(chosen, latents, weight, prefix[scene], levels, scene, texts, rng)

    def _choose(
        self, size: int, rng: np.random.Generator
    ) -> tuple[list[world.Combination], np.ndarray]:
        """Combinations (size,) and the number of the scene each belongs to, ascending."""
        chosen: list[world.Combination] = []
        scene: list[int] = []
        while len(chosen) < size:
            shapes = self.scenes[int(rng.integers(len(self.scenes)))]
            scene += [scene[-1] + 1 if scene else 0] * len(shapes)
            chosen += shapes
        return chosen[:size], np.array(scene[:size])

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
        self,
        chosen: list[world.Combination],
        scene: np.ndarray,
        rng: np.random.Generator,
        dropped: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Token numbers, their mask, and which captions were kept."""
        wording = rng.integers(2**31, size=scene[-1] + 1)
        filled = rng.random(scene[-1] + 1) < FILLED_CAPTIONS
        kept = (rng.random(scene[-1] + 1) >= dropped)[scene]
        texts = []
        for combination, number, keep in zip(chosen, scene, kept, strict=True):
            own = np.random.default_rng(wording[number])
            text = captions.caption(combination, own)
            if filled[number]:
                text = captions.with_filler(text, own)
            texts.append(text if keep else "")
        tokens = self.tokenizer(
            texts,
            padding="max_length",
            max_length=CAPTION_TOKENS,
            truncation=True,
            return_tensors="pt",
        )
        captioned = torch.from_numpy(kept).to(self.device)
        return tokens.input_ids.to(self.device), tokens.attention_mask.to(self.device), captioned

    def _noised(
        self,
        chosen: list[world.Combination],
        latents: Tensor,
        weight: Tensor,
        prefix: np.ndarray,
        levels: np.ndarray,
        scene: np.ndarray,
        texts: tuple[Tensor, Tensor, Tensor],
        rng: np.random.Generator,
    ) -> Batch:
        count = int(scene[-1]) + 1
        level = torch.from_numpy(levels[scene]).to(self.device)
        given = torch.from_numpy(prefix).to(self.device)[:, None] > torch.arange(
            LATENT_FRAMES, device=self.device
        )
        sigma = level[:, None] * ~given
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**31)))
        noise = torch.randn((count, *latents.shape[1:]), generator=generator, device=self.device)
        noise = noise[scene]
        blur = torch.from_numpy(PREFIX_NOISE * rng.random(count, dtype=np.float32)[scene] ** 2)
        token_sigma = _per_token(sigma)
        mixed = (1 - token_sigma) * latents + token_sigma * noise
        spoiled = latents + blur.to(self.device)[:, None, None] * noise
        token_given = _per_token(given)
        words, word_mask, captioned = texts
        return Batch(
            words=words,
            word_mask=word_mask,
            latents=latents,
            noisy=torch.where(token_given, spoiled, mixed),
            velocity=noise - latents,
            sigma=sigma,
            weight=weight * ~token_given[..., 0],
            attributes=torch.tensor([ATTRIBUTE_NUMBERS[c] for c in chosen], device=self.device),
            captioned=captioned,
            scene=scene.tolist(),
        )


def _scenes(pool: list[world.Combination]) -> list[list[world.Combination]]:
    """Combinations grouped by all that is not their shape."""

    def rest(c: world.Combination) -> tuple[str, ...]:
        return c.colour, c.sky, c.floor, c.motion

    return [list(group) for _, group in itertools.groupby(sorted(pool, key=rest), key=rest)]


def _differences(latents: Tensor, scene: np.ndarray) -> Tensor:
    """How much each token distinguishes the clips of its scene: (n, tokens), 0 to 1."""
    number = torch.from_numpy(scene).to(latents.device)
    count = torch.bincount(number)
    mean = latents.new_zeros((len(count), *latents.shape[1:])).index_add_(0, number, latents)
    off = latents - (mean / count[:, None, None])[number]
    return (off.square().mean(dim=-1).sqrt() * 4).clamp(max=1)


def _per_token(per_frame: Tensor) -> Tensor:
    return per_frame.repeat_interleave(ROWS * COLUMNS, dim=1)[..., None]


def _object_tokens(alpha: Tensor) -> Tensor:
    """1 for tokens that see the object in any of their frames: (n, tokens)."""
    padded = torch.cat([alpha[:, :1].expand(-1, CELL_FRAMES - 1, -1, -1), alpha], dim=1)
    cells = padded.reshape(len(alpha), LATENT_FRAMES, CELL_FRAMES, ROWS, CELL, COLUMNS, CELL)
    return (cells.amax(dim=(2, 4, 6)) > 0).float().flatten(1)


def _noise_levels(count: int, emphasis: Emphasis, rng: np.random.Generator) -> np.ndarray:
    """Noise levels (count,), 0 to 1: mostly those at which the picture is decided, the rest a
    little.

    Layout and motion are decided up to 0.9, shape between 0.9 and 0.98: below, the noisy clip still
    shows it and the caption is not needed. The pipeline's own schedule takes half its steps above.
    """
    logit = 1 / (1 + np.exp(-(0.9 + 1.1 * rng.standard_normal(count))))
    kind = rng.random(count)
    anywhere, high = rng.random(count), HIGH + (1 - HIGH) * rng.random(count)
    level = np.where(kind < 1 - emphasis.high, anywhere, high)
    level = np.where(kind < 1 - emphasis.high - emphasis.anywhere, logit, level)
    return np.asarray(level, dtype=np.float32)
