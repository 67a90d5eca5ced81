"""Values with tensors in them as files: results of a text encoder, inputs of a VAE.

A file is a safetensors file; its metadata describes how its tensors are nested. Nothing in it is
code, and its content is equal to the bit.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from media.atomic_files import replacing

PLAIN = (str, int, float, bool, type(None))


class Unsuitable(Exception):  # noqa: N818  (not an error: such a value is simply not kept)
    """The value holds something else than tensors and plain data."""


def write(path: Path, value: Any) -> None:
    """Writes `value` (tensors and plain data in tuples, lists and mappings); whole or not at all.

    Raises `Unsuitable`, `OSError`, `StoreFullError`.
    """
    tensors: dict[str, torch.Tensor] = {}
    form = _form(value, tensors)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as begun:
        save_file(tensors, begun, metadata={"form": json.dumps(form)})


def read(path: Path, device: Any) -> Any:
    """The value that was written to `path`, its tensors on `device`; None if it is missing or
    damaged."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            form = json.loads(file.metadata()["form"])
            tensors = {key: file.get_tensor(key).clone().to(device) for key in file.keys()}  # noqa: SIM118
        return _value(form, tensors)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None


def _form(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().to("cpu").contiguous().clone()
        return {"tensor": name}
    if isinstance(value, PLAIN):
        return {"plain": value}
    if type(value) in (list, tuple):
        return {type(value).__name__: [_form(part, tensors) for part in value]}
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return {"dict": {key: _form(part, tensors) for key, part in value.items()}}
    raise Unsuitable(type(value).__name__)


def _value(form: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Any:
    ((kind, content),) = form.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "plain":
        return content
    if kind == "dict":
        return {key: _value(part, tensors) for key, part in content.items()}
    parts = [_value(part, tensors) for part in content]
    return tuple(parts) if kind == "tuple" else parts
