"""What to do if memory runs out: ways to save it, step by step."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import torch

from film.types import Offload

TILING = "VAE tiling"


class Savings:
    """Ways to need less memory, taken one after another; each makes rendering slower."""

    def __init__(self, pipeline: Any, device: str, offload: Offload = Offload.NONE) -> None:
        """`offload`: what is done already."""
        self._device = device
        self._left = list(_ways(pipeline, device, offload))
        self.taken: list[str] = []
        """Those that are in force: they change the last bits, and tiling a little more."""

    @property
    def tiled(self) -> bool:
        """True if the VAE works in tiles because of it."""
        return TILING in self.taken

    def take_next(self) -> bool:
        """Takes the next way; False if none is left."""
        if not self._left:
            return False
        name, begin = self._left.pop(0)
        begin()
        self.taken.append(name)
        gc.collect()
        if self._device == "cuda":
            torch.cuda.empty_cache()
        return True


def _ways(pipeline: Any, device: str, offload: Offload) -> Iterator[tuple[str, Callable[[], Any]]]:
    vae = getattr(pipeline, "vae", None)
    for way in ("tiling", "slicing"):
        if hasattr(vae, f"use_{way}"):  # the method is there in all of them, and fails in some
            yield f"VAE {way}", getattr(vae, f"enable_{way}")
    if device == "cuda" and offload is Offload.NONE:
        yield "offload", pipeline.enable_model_cpu_offload
    if device == "cuda" and offload is not Offload.GROUP:
        yield "offload in parts", pipeline.enable_sequential_cpu_offload
