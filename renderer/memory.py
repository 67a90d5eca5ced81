"""Memory that runs out: noticed in every form it takes, and saved step by step."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from film.errors import BadPictureError


def is_out_of_memory(error: Exception) -> bool:
    """On a CPU torch raises a plain `RuntimeError`, which only its text tells apart."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return any(sign in text for sign in ("out of memory", "allocate memory", "not enough memory"))


class Savings:
    """Ways to need less memory, taken one after another; each makes rendering slower."""

    def __init__(self, pipeline: Any, device: str) -> None:
        self._device = device
        self._left = list(_ways(pipeline, device))
        self.taken: list[str] = []
        """Those that are in force: they change the last bits, and tiling a little more."""

    def take_next(self) -> bool:
        """Takes the next way; False where there is none left."""
        if not self._left:
            return False
        name, begin = self._left.pop(0)
        begin()
        self.taken.append(name)
        gc.collect()
        if self._device == "cuda":
            torch.cuda.empty_cache()
        return True


def _ways(pipeline: Any, device: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    vae = getattr(pipeline, "vae", None)
    for method, name in (("enable_tiling", "VAE tiling"), ("enable_slicing", "VAE slicing")):
        if hasattr(vae, method):
            yield name, getattr(vae, method)
    if device == "cuda":
        yield "offload", pipeline.enable_model_cpu_offload
        yield "offload in parts", pipeline.enable_sequential_cpu_offload


class GuardedDecoding:
    """Stands in for a VAE's `decode`: the latents are checked, and decoded again where memory runs
    out. So a failure in decoding costs a decoding, and not the denoising before it.

    It raises `BadPictureError` on latents that are not finite.
    """

    def __init__(self, pipeline: Any, savings: Savings) -> None:
        self.seconds = 0.0
        """Spent in decoding since this was last set to 0."""
        self._decode = pipeline.vae.decode
        self._savings = savings
        pipeline.vae.decode = self

    def __call__(self, latents: torch.Tensor, *more: Any, **named: Any) -> Any:
        """As the VAE's method."""
        if not bool(torch.isfinite(latents).all()):
            raise BadPictureError("latents that are not finite")
        began = time.perf_counter()
        try:
            return self._decode_saving(latents, *more, **named)
        finally:
            self.seconds += time.perf_counter() - began

    def _decode_saving(self, latents: torch.Tensor, *more: Any, **named: Any) -> Any:
        while True:
            try:
                return self._decode(latents, *more, **named)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # Here the traceback, and with it all that the attempt held, is gone.
            if not self._savings.take_next():
                raise torch.OutOfMemoryError("out of memory in decoding")
