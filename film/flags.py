"""Speed and memory switches: how they are written, which combine, which a model supports.

A film's flags that decide its pixels are part of its segments' addresses. The others change the
last bits, as another machine does, and the take records which were in force.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from film.errors import InputError
from film.models import ModelSpec
from film.sizes import Size
from film.types import (
    Cache,
    Offload,
    Quantisation,
    RenderFlags,
    RenderSettings,
    parse_fraction,
)

Choice = TypeVar("Choice", bound=StrEnum)

BUCKETS = 4
"""Lengths that the segments of a compiled film have at most."""
OF_THE_MACHINE = ("attention", "compile", "offload", "context_parallel")
"""Flags that a worker may choose if the film does not."""
MOST_TOGETHER = 8
"""GPUs that render a segment together at most."""
TOKEN_SIDE = 16
"""Pixels of a token's side in a model of fixed sizes; else it is what sides are multiples of."""


def read_flags(value: Any) -> dict[str, Any]:
    """The flags that are given, by name, from a mapping or a text such as `cache=first_block
    tiling`. Raises `ValueError`."""
    given = value if isinstance(value, Mapping) else _pairs(value)
    flags = {}
    for written, text in given.items():
        name = str(written).replace("-", "_").replace("quantization", "quantisation")
        if name not in _READERS:
            raise ValueError(f"there is no flag {written!r}; the flags are {', '.join(_READERS)}")
        try:
            flags[name] = _READERS[name](text)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return flags


def machine_flags(text: str) -> RenderFlags:
    """The flags that a worker chooses if a film does not. Raises `ValueError`."""
    given = read_flags(text)
    others = sorted(given.keys() - set(OF_THE_MACHINE))
    if others:
        raise ValueError(
            f"{', '.join(others)} decides the picture and belongs to the film; a worker chooses "
            f"{', '.join(OF_THE_MACHINE)} only"
        )
    flags = RenderFlags(**given)
    if problem := _not_compiled(flags) or _not_together(flags):
        raise ValueError(problem)
    return flags


def filled(flags: RenderFlags, defaults: RenderFlags, spec: ModelSpec, size: Size) -> RenderFlags:
    """`flags` with the worker's choice for those that the film leaves open. Several GPUs render
    together only if the model can, for pictures of `size` (width and height) as rendered."""
    if flags.context_parallel:  # which a film's own word for it rules out
        defaults = defaults.replace(offload=None)
    chosen = {
        name: value
        for name in OF_THE_MACHINE
        if (value := getattr(flags, name) or getattr(defaults, name)) is not None
    }
    # A film may also turn a flag off. Memory takes precedence over speed, no matter if the film or
    # the machine chose the flag.
    without = flags.compile is False or chosen.get("offload") is Offload.GROUP
    if without or not spec.compiles:
        chosen["compile"] = False
    both = flags.replace(**chosen)
    if flags.context_parallel or not (_not_together(both) or _not_shared(spec, both, size)):
        return both
    return both.replace(context_parallel=None)


def deciding(flags: RenderFlags) -> RenderFlags | None:
    """The flags that decide the pixels; None if there are none."""
    none = RenderFlags()
    left_out = {name: getattr(none, name) for name in OF_THE_MACHINE}
    kept = flags.replace(**left_out)
    return None if kept == none else kept


def at_loading(flags: RenderFlags) -> RenderFlags:
    """Those that are put into force when a model is loaded, and then hold for every segment."""
    return RenderFlags(
        quantisation=flags.quantisation,
        casting=flags.casting,
        compile=flags.compile or None,  # here, no and not given are the same
        offload=flags.offload,
        context_parallel=flags.context_parallel,
    )


def words(flags: RenderFlags) -> str:
    """The flags as text, `cache=first_block tiling`; empty if there are none."""
    given = msgspec.to_builtins(flags, enc_hook=str)
    return " ".join(name if value is True else f"{name}={value}" for name, value in given.items())


def require_flags(spec: ModelSpec, settings: RenderSettings, size: Size) -> None:
    """Raises `InputError` if the flags do not combine, or if the model cannot apply them to
    pictures of `size` (width and height) as rendered."""
    flags = settings.flags
    problem = _impossible(spec, flags) or _contradiction(flags) or _not_shared(spec, flags, size)
    if settings.loras and settings.flags.quantisation:
        problem = "LoRAs are not added to quantised weights; leave out one of them."
    if problem:
        raise InputError(problem)


def bucketed(spec: ModelSpec, flags: RenderFlags) -> ModelSpec:
    """`spec` as the planner sees it: with few lengths if each of them is to be compiled."""
    return spec.replace(buckets=BUCKETS) if flags.compile else spec


def _impossible(spec: ModelSpec, flags: RenderFlags) -> str | None:
    if flags.cache and flags.cache not in spec.caches:
        can = f"it can: {', '.join(spec.caches)}" if spec.caches else "it has none"
        return f"The model {spec.name!r} has no cache {flags.cache}; {can}."
    if flags.compile and not spec.compiles:
        return f"The model {spec.name!r} has no blocks that diffusers compiles; leave compile out."
    if flags.tiling and not spec.tiles:
        return f"The VAE of the model {spec.name!r} has no tiles; leave tiling out."
    return None


def _contradiction(flags: RenderFlags) -> str | None:
    if flags.cache_threshold is not None and flags.cache is not Cache.FIRST_BLOCK:
        return "cache_threshold is of the cache first_block; give that, or leave it out."
    if flags.cache_interval is not None and flags.cache in (None, Cache.FIRST_BLOCK):
        return "cache_interval is of the caches taylorseer and pyramid; give one, or leave it out."
    if flags.quantisation and flags.casting:
        return "quantisation and casting both change how weights are kept; give one of them."
    return _not_compiled(flags) or _not_together(flags)


def _not_compiled(flags: RenderFlags) -> str | None:
    if flags.compile and flags.offload is Offload.GROUP:
        return "Blocks whose layers are offloaded cannot be compiled; give compile or offload."
    return None


def _not_together(flags: RenderFlags) -> str | None:
    """Flags that GPUs cannot combine with rendering a segment together."""
    if not flags.context_parallel:
        return None
    if flags.offload not in (None, Offload.NONE):
        return "Offloaded weights cannot be shared; give context_parallel or offload."
    if flags.cache is Cache.FIRST_BLOCK:
        return (
            "Each GPU would decide for itself what the cache first_block leaves out; give "
            "context_parallel or that cache."
        )
    return None


def _not_shared(spec: ModelSpec, flags: RenderFlags, size: Size) -> str | None:
    """Each of the GPUs takes as many attention heads, and as many tokens of a picture."""
    count = flags.context_parallel
    if not count:
        return None
    if not spec.parallel:
        return (
            f"The model {spec.name!r} cannot be rendered by several GPUs together; leave "
            f"context_parallel out."
        )
    side = spec.size_multiple or TOKEN_SIDE
    (width, height), heads = size, spec.parallel
    tokens = (width // side) * (height // side)
    fitting = [n for n in range(2, MOST_TOGETHER + 1) if heads % n == 0 and tokens % n == 0]
    if count in fitting:
        return None
    can = f"with {', '.join(map(str, fitting))} it can" if fitting else "with no number it can"
    return (
        f"The {heads} attention heads of the model {spec.name!r} and the {tokens} tokens of a "
        f"picture of {width}x{height} cannot be shared evenly by {count} GPUs; {can}."
    )


def _pairs(value: Any) -> dict[str, Any]:
    if not isinstance(value, str):
        raise ValueError(f"expected flags such as cache=first_block, got {value!r}")
    words = [word for word in re.split(r"[,\s]+", value) if word]
    pairs = [
        (name, text if mark else True) for name, mark, text in (w.partition("=") for w in words)
    ]
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a flag is given twice")
    return dict(pairs)


def _choice(kind: type[Choice]) -> Callable[[Any], Choice]:
    def read(value: Any) -> Choice:
        try:
            return kind(str(value).strip().lower())
        except ValueError:
            raise ValueError(f"expected one of {', '.join(kind)}, got {value!r}") from None

    return read


def _yes_or_no(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    try:
        return words[str(value).strip().lower()]
    except KeyError:
        raise ValueError(f"expected true or false, got {value!r}") from None


def _threshold(value: Any) -> float:
    threshold = parse_fraction(value)
    if not 0 < threshold < 1:
        raise ValueError(f"expected a part between 0 and 1, got {value!r}")
    return float(threshold)


def _several(most: int, what: str) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        count = parse_fraction(value)
        if count.denominator != 1 or not 2 <= count <= most:
            raise ValueError(f"expected 2 to {most} {what}, got {value!r}")
        return int(count)

    return read


def _backend(value: Any) -> str:
    if not re.fullmatch(r"\w{1,40}", str(value), re.ASCII):
        raise ValueError(f"expected a backend such as flash or _flash_3, got {value!r}")
    return str(value).lower()


_READERS: dict[str, Callable[[Any], Any]] = {
    "cache": _choice(Cache),
    "cache_threshold": _threshold,
    "cache_interval": _several(20, "steps"),
    "quantisation": _choice(Quantisation),
    "casting": _yes_or_no,
    "tiling": _yes_or_no,
    "attention": _backend,
    "compile": _yes_or_no,
    "offload": _choice(Offload),
    "context_parallel": _several(MOST_TOGETHER, "GPUs"),
}
