"""Switches of speed and memory; film/flags.py reads and checks them."""

from __future__ import annotations

from enum import StrEnum

from film.types.base import Struct


class Cache(StrEnum):
    """What a denoiser takes over from the step before instead of computing it."""

    FIRST_BLOCK = "first_block"
    """All blocks but the first, if that one changed little."""
    TAYLORSEER = "taylorseer"
    """What attention and feed-forward layers give, predicted from earlier steps."""
    PYRAMID = "pyramid"
    """What attention layers give, in the middle of the steps."""


class Quantisation(StrEnum):
    """In what the weights of the denoiser's linear layers are kept and multiplied."""

    INT8 = "int8"
    FLOAT8 = "float8"


class Offload(StrEnum):
    """Which weights wait in main memory until they are needed on the GPU."""

    NONE = "none"
    MODEL = "model"
    """Whole components, one after another."""
    GROUP = "group"
    """Groups of layers: the smallest useful amount of memory, because copies run in parallel."""


class RenderFlags(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Switches of speed and memory; see film/flags.py for how they are read and checked."""

    # These decide the pixels, and are part of a segment's address.
    cache: Cache | None = None
    cache_threshold: float | None = None
    """For `first_block`: largest change of that block that counts as little, as a share of it."""
    cache_interval: int | None = None
    """For the other caches: every step of this number is computed in full."""
    quantisation: Quantisation | None = None
    casting: bool = False
    """Weights of the denoiser are stored in float8 and cast when they are used."""
    tiling: bool = False
    """Pictures are encoded and decoded in tiles."""
    # These change the last bits, as another machine does; None or empty: the worker's own choice.
    attention: str = ""
    """Backend for attention, as diffusers names it."""
    compile: bool | None = None
    """The denoiser's repeated blocks are compiled. If a film asks for it, its segments keep to a
    few lengths, because each length is compiled separately."""
    offload: Offload | None = None
    context_parallel: int | None = None
    """Number of GPUs of one machine that render a segment together."""
