"""The step from latents to pictures: checked, kept, and done again where it failed.

A pipeline calls its VAE itself, and what it does before and after differs between families. So the
VAE's `decode` is stood in for: what it is given is checked and kept, and a job that finds it there
runs the pipeline with as few denoising steps as can be, whose result is replaced here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from film.errors import BadPictureError
from renderer import tensors
from renderer.memory import Savings, is_out_of_memory

VAES = ("vae", "audio_vae")
REPLAY_STEPS = 2
"""Denoising steps on the way to latents that are kept: the fewest that every family can make."""


class NotKept(Exception):  # noqa: N818  (not an error: the job is then rendered as any other)
    """The latents that are kept are not all that the pipeline decodes."""


class Decoding:
    """Stands in for the `decode` of a pipeline's VAEs.

    It raises `BadPictureError` on latents that are not finite.
    """

    def __init__(self, pipeline: Any, savings: Savings) -> None:
        self.seconds = 0.0
        """Spent in decoding since the job began."""
        self._savings = savings
        self._folder: Path | None = None
        self._replaying = False
        self._calls = 0
        for name in VAES:
            vae = getattr(pipeline, name, None)
            if vae is not None:
                vae.decode = self._standing_in(name, vae.decode)

    def begin(self, folder: Path | None) -> bool:
        """A job begins whose latents are kept in `folder`; whether there are any already."""
        self.seconds, self._calls = 0.0, 0
        self._folder = folder
        self._replaying = folder is not None and self._path(0).exists()
        return self._replaying

    def _path(self, call: int) -> Path:
        assert self._folder is not None
        return self._folder / f"{call}.safetensors"

    def _standing_in(self, name: str, decode: Callable[..., Any]) -> Callable[..., Any]:
        def stand_in(latents: torch.Tensor, *more: Any, **named: Any) -> Any:
            if self._replaying:
                latents, more, named = self._kept(name, latents.device)
            elif not bool(torch.isfinite(latents).all()):
                raise BadPictureError("latents that are not finite")
            else:
                self._keep((name, latents, more, named))
            self._calls += 1
            began = time.perf_counter()
            try:
                return self._decode_saving(decode, latents, *more, **named)
            finally:
                self.seconds += time.perf_counter() - began

        return stand_in

    def _kept(self, name: str, device: torch.device) -> tuple[torch.Tensor, Any, Any]:
        kept = tensors.read(self._path(self._calls), device)
        if kept is None or kept[0] != name:
            raise NotKept
        _, latents, more, named = kept
        return latents, more, named

    def _keep(self, call: tuple[Any, ...]) -> None:
        if self._folder is not None:
            # What cannot be kept is decoded all the same.
            with suppress(OSError, tensors.Unsuitable):
                tensors.write(self._path(self._calls), call)

    def _decode_saving(
        self, decode: Callable[..., Any], latents: torch.Tensor, *more: Any, **named: Any
    ) -> Any:
        while True:
            try:
                return decode(latents, *more, **named)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # Here the traceback, and with it all that the attempt held, is gone.
            if not self._savings.take_next():
                raise torch.OutOfMemoryError("out of memory in decoding")
