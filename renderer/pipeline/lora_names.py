"""Names of a LoRA's tensors, from the forms of other programs to diffusers' own.

diffusers converts what the authors of each family publish. It passes over names that other programs
give to its own modules: without a prefix (DiffSynth), with PEFT's, with ComfyUI's and an `alpha`
for each module, or in one word with underscores (kohya).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import torch

OWN_PREFIX = "transformer."
PREFIXES = ("model.diffusion_model.", "diffusion_model.", "base_model.model.", "")
"""What other programs write before the name of a module."""
KOHYA_PREFIXES = ("lora_unet_", "lora_transformer_")
"""What is written before a name whose dots are underscores."""

_TENSOR = re.compile(
    r"(?P<module>.+)\.(?P<part>lora_A|lora_B|lora_down|lora_up|alpha)"
    r"(?:\.default)?(?:\.weight)?"
)
_ENDINGS = {
    "lora_A": ".lora_A.weight",
    "lora_down": ".lora_A.weight",
    "lora_B": ".lora_B.weight",
    "lora_up": ".lora_B.weight",
    "alpha": ".alpha",
}


def own_names(names: Collection[str], modules: Collection[str]) -> dict[str, str] | None:
    """diffusers' name for each of the tensors `names`, in a transformer with these `modules`; an
    `alpha` keeps its last word.

    None if they have these names already, or are not named after these modules: then they are
    diffusers' to convert.
    """
    parts = {name: match for name in names if (match := _TENSOR.fullmatch(name))}
    if not parts or len(parts) < len(names):
        return None
    renamed = _rename({match["module"] for match in parts.values()}, modules)
    if renamed is None:
        return None
    own = {
        name: OWN_PREFIX + renamed[match["module"]] + _ENDINGS[match["part"]]
        for name, match in parts.items()
    }
    return own if any(name != new for name, new in own.items()) else None


def to_own_names(
    tensors: Mapping[str, torch.Tensor], modules: Collection[str]
) -> dict[str, torch.Tensor] | None:
    """`tensors` under their `own_names`, an `alpha` worked into the second factor: its scale is
    `alpha / rank` (as in the LoRA paper, arXiv:2106.09685).

    None as `own_names`, and if an `alpha` has no factors.
    """
    names = own_names(tensors, modules)
    if names is None:
        return None
    own = {new: tensors[name] for name, new in names.items()}
    for name in [name for name in own if name.endswith(_ENDINGS["alpha"])]:
        alpha, module = float(own.pop(name)), name.removesuffix(_ENDINGS["alpha"])
        down, up = module + _ENDINGS["lora_A"], module + _ENDINGS["lora_B"]
        if down not in own or up not in own:
            return None
        own[up] = own[up] * (alpha / own[down].shape[0])
    return own


def _rename(names: set[str], modules: Collection[str]) -> dict[str, str] | None:
    """The module that each name means; None if one of them means none."""
    known = set(modules)
    for prefix in (OWN_PREFIX, *PREFIXES):
        if all(name.startswith(prefix) and name.removeprefix(prefix) in known for name in names):
            return {name: name.removeprefix(prefix) for name in names}
    in_one_word = {module.replace(".", "_"): module for module in known}
    for prefix in KOHYA_PREFIXES:
        words = {name: name.removeprefix(prefix) for name in names if name.startswith(prefix)}
        if len(words) == len(names) and all(word in in_one_word for word in words.values()):
            return {name: in_one_word[word] for name, word in words.items()}
    return None
