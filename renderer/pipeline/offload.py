"""Placement of a pipeline's weights: on the GPU, or in main memory until they are used.

Text encoders are large, and idle while the picture is denoised: they always wait in main memory.
The machine decides about the rest by size, unless a flag chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import accelerate
import torch

from film.types import Offload

WORKING_SHARE = 0.3
"""Share of the GPU's memory that is left free for rendering itself. An estimate, not a measurement:
if memory runs out all the same, it is saved step by step (renderer/pipeline/memory_savings.py)."""


def choose(sizes: Mapping[str, int], memory: int) -> Offload:
    """How components of `sizes` bytes fit into `memory` bytes of a GPU, as little as possible of
    them moved."""
    room = memory * (1 - WORKING_SHARE)
    working = [size for name, size in sizes.items() if not is_text_encoder(name)]
    if sum(working) <= room:
        return Offload.NONE
    return Offload.MODEL if max(working) <= room else Offload.GROUP


def has_room_for_two(sizes: Mapping[str, int], memory: int) -> bool:
    """True if one segment may be decoded while the next one is denoised: there is twice the memory
    that rendering needs, in addition to the weights."""
    working = sum(size for name, size in sizes.items() if not is_text_encoder(name))
    return working <= memory * (1 - 2 * WORKING_SHARE)


def sizes_of(pipeline: Any) -> dict[str, int]:
    """Bytes of the weights of each component."""
    return {
        name: sum(part.numel() * part.element_size() for part in module.parameters())
        for name, module in pipeline.components.items()
        if isinstance(module, torch.nn.Module)
    }


def is_text_encoder(name: str) -> bool:
    """True if a component of that name encodes prompts, which happens before all else."""
    return name.startswith("text_encoder")


def place(pipeline: Any, device: str, offload: Offload) -> Callable[[], None]:
    """Moves the weights to their places; returns the function to call after prompts were
    encoded."""
    if device == "cpu":
        pipeline.to(device)
    elif offload is Offload.MODEL:
        pipeline.enable_model_cpu_offload(device=device)
    elif offload is Offload.GROUP:
        pipeline.enable_group_offload(
            onload_device=torch.device(device),
            offload_type="block_level",
            num_blocks_per_group=1,
            use_stream=True,
        )
    else:
        return _beside(pipeline, device)
    return lambda: None


def _beside(pipeline: Any, device: str) -> Callable[[], None]:
    """Everything on the device but the text encoders, which come there when they are called."""
    hooks = []
    for name, module in pipeline.components.items():
        if not isinstance(module, torch.nn.Module):
            continue
        if is_text_encoder(name):
            _, hook = accelerate.cpu_offload_with_hook(module, device)
            hooks.append(hook)
        else:
            module.to(device)

    def leave() -> None:
        for hook in hooks:
            hook.offload()

    return leave
