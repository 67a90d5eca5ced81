"""Switches of speed and memory; film/flags.py reads and checks them."""

from __future__ import annotations

from enum import StrEnum

from film.types.base import Struct


class Cache(StrEnum):
    """What a denoiser takes over from the step before instead of computing it."""

    FIRST_BLOCK = "first_block"
    """All blocks but the first, where that one changed little."""
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
    """Groups of layers: least memory that is still of use, since copies run beside the work."""


class RenderFlags(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Switches of speed and memory; see film/flags.py for how they are read and checked."""

    # These decide the pixels, and are part of a segment's address.
    cache: Cache | None = None
    cache_threshold: float | None = None
    """Of `first_block`: how little that block may change, as a part of it."""
    cache_interval: int | None = None
    """Of the others: a step of so many is computed in full."""
    quantisation: Quantisation | None = None
    casting: bool = False
    """Weights of the denoiser lie in float8 and are cast where they are used."""
    tiling: bool = False
    """Pictures are encoded and decoded in tiles."""
    # These change the last bits, as another machine does; None or empty: the worker's own choice.
    attention: str = ""
    """Backend for attention, as diffusers names it."""
    compile: bool | None = None
    """The denoiser's repeated blocks are compiled. Asked for a film, its segments keep to a few
    lengths, since each is compiled for itself."""
    offload: Offload | None = None
    context_parallel: int | None = None
    """So many GPUs of one machine render a segment together."""
