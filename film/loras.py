"""LoRAs as the user writes them, and as a film is planned with them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from film.errors import InputError
from film.models import ModelSpec
from film.reading.values import short
from film.types import Expert, Lora, Struct, parse_fraction

HEAVIEST = 4
"""Weights are from minus this to this."""
MOST = 16
"""LoRAs of a film."""
KEYS = ("source", "weight", "expert")
EXPERTS = ("high", "low")

_PLACE = re.compile(
    r"(?P<repository>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[^/@]+))?(/(?P<file>.+\.safetensors))?",
    re.ASCII,
)
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)", re.ASCII)


class HubPlace(Struct, frozen=True, kw_only=True):
    """A LoRA on the hub."""

    repository: str
    revision: str | None
    file: str
    """Empty: the only one of the repository."""


def hub_place(source: str) -> HubPlace | None:
    """The place on the hub that `org/name[@revision][/file.safetensors]` means, else None."""
    found = _PLACE.fullmatch(source)
    if found is None:
        return None
    return HubPlace(
        repository=found["repository"], revision=found["revision"], file=found["file"] or ""
    )


def read_loras(value: Any) -> tuple[Lora, ...]:
    """LoRAs from a list, or one by itself. Raises `ValueError`."""
    written = value if isinstance(value, list) else [value]
    if len(written) > MOST:
        raise ValueError(f"expected at most {MOST} LoRAs, got {len(written)}")
    return tuple(read_lora(item) for item in written)


def read_lora(value: Any) -> Lora:
    """One LoRA: `SOURCE[:WEIGHT][:high|low]`, or a mapping with `source`, `weight`, `expert`.

    A colon that neither a number nor an expert follows belongs to the source. Raises `ValueError`.
    """
    if isinstance(value, Mapping):
        return _from_mapping(value)
    if not isinstance(value, str):
        raise ValueError(f"expected SOURCE:WEIGHT or {', '.join(KEYS)}, got {short(value)}")
    rest, colon, expert = value.strip().rpartition(":")
    if not (colon and expert in EXPERTS):
        rest, expert = value.strip(), ""
    source, colon, weight = rest.rpartition(":")
    if not (colon and _NUMBER.fullmatch(weight)):
        source, weight = rest, "1"
    return _lora(source, weight, expert or None)


def _from_mapping(value: Mapping[Any, Any]) -> Lora:
    unknown = [key for key in value if key not in KEYS]
    if unknown:
        raise ValueError(f"unknown key {short(unknown[0])} (known are {', '.join(KEYS)})")
    source = value.get("source")
    if not isinstance(source, str):
        raise ValueError(f"a LoRA needs a source: a file, or org/name on the hub; got {source!r}")
    return _lora(source, value.get("weight", 1), value.get("expert"))


def _lora(source: str, weight: Any, expert: Any) -> Lora:
    source = source.strip()
    if not source or not source.isprintable():
        raise ValueError("a LoRA needs a source: a file, or org/name on the hub")
    number = parse_fraction(weight)
    if abs(number) > HEAVIEST:
        raise ValueError(
            f"expected a weight from -{HEAVIEST} to {HEAVIEST}, got {short(weight)} for {source}"
        )
    if expert is not None and expert not in EXPERTS:
        raise ValueError(f"expected high or low as the expert of {source}, got {short(expert)}")
    # Minus zero is zero.
    return Lora(name=source, weight=float(number) + 0.0, expert=cast(Expert | None, expert))


def settled(spec: ModelSpec, loras: Sequence[Lora]) -> tuple[Lora, ...]:
    """The LoRAs of a film as they are loaded: each with its expert, in a fixed order.

    Raises `InputError` if the model takes none, or not such LoRAs.
    """
    if loras and not spec.loras:
        raise InputError(f"The model {spec.name!r} takes no LoRAs: leave out {loras[0].name}.")
    for lora in loras:
        if lora.expert and not spec.experts:
            raise InputError(
                f"The model {spec.name!r} has one transformer: leave out the expert of {lora.name}."
            )
    if spec.experts:  # as diffusers does by default
        loras = [lora.replace(expert=lora.expert or "high") for lora in loras]
    ordered = sorted(loras, key=_place)
    for one, another in itertools.pairwise(ordered):
        if _place(one) == _place(another):
            raise InputError(f"The LoRA {another.name} is given twice: give it once.")
    return tuple(ordered)


def _place(lora: Lora) -> tuple[str, str]:
    """The LoRA that is loaded, and the transformer that it is loaded into."""
    return lora.digest or lora.name, lora.expert or ""


def lora_notices(spec: ModelSpec, loras: Sequence[Lora]) -> tuple[str, ...]:
    """The transformer that a LoRA changes if the model has two and none was chosen."""
    if not spec.experts:
        return ()
    return tuple(
        f"The LoRA {lora.name} changes the transformer for high noise only; give it the expert "
        f"low for the other one ({lora.name}:{lora.weight:g}:low)."
        for lora in loras
        if lora.expert is None
    )
