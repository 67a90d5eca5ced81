"""The headers of safetensors files: what is in them, without loading it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from film.errors import InputError

_PAIRS = (("lora_A", "lora_B"), ("lora_down", "lora_up"), ("lora.down", "lora.up"))


def tensors_in(path: Path) -> dict[str, str]:
    """Names of the tensors of a safetensors file, with their types (`F32`, `BF16`).

    Raises `InputError` if it cannot be read as one.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if not path.is_file():
            raise InputError(f"There is no file {path}.")
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a safetensors file: {error}.") from None


def require_lora(path: Path, name: str) -> None:
    """Raises `InputError` if the file does not look like a LoRA that diffusers can load."""
    names = tensors_in(path)
    if any("dora_scale" in tensor for tensor in names):
        raise InputError(
            f"{name} is a DoRA, whose scales diffusers would leave out: it needs a plain LoRA."
        )
    if not _pairs(names):
        raise InputError(
            f"{name} is not a LoRA: of its {len(names)} tensors none are named lora_A and lora_B, "
            f"or lora_down and lora_up."
        )


def require_transformer(path: Path) -> None:
    """Raises `InputError` if the file cannot hold the weights of a transformer."""
    names = tensors_in(path)
    if _pairs(names):
        raise InputError(f"{path} is a LoRA: name it with --lora, and a model with --model.")
    if any(kind.startswith("F8") for kind in names.values()):
        raise InputError(
            f"{path} holds 8-bit weights, which need more than their numbers: give them in 16 or "
            f"32 bits."
        )
    if not names:
        raise InputError(f"{path} holds no weights.")


def _pairs(names: Iterable[str]) -> bool:
    """True if the two factors of a LoRA are among the tensors."""
    text = "\n".join(names)
    return any(down in text and up in text for down, up in _PAIRS)
