"""The step from latents to pictures: checked, kept, and repeated if it failed.

A pipeline calls its VAE itself, and its work before and after differs between families. So the
VAE's `decode` is replaced: its input is checked and kept, and a job that finds it there runs the
pipeline with as few denoising steps as possible, whose result is replaced here. It is also the
moment at which the denoiser becomes free for the next job.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from film.errors import BadPictureError, StoreFullError
from renderer.out_of_memory import is_out_of_memory
from renderer.pipeline import tensor_files
from renderer.pipeline.memory_savings import Savings
from renderer.pipeline.render_state import CURRENT, Run

logger = logging.getLogger(__name__)

VAES = ("vae", "audio_vae")
REPLAY_STEPS = 2
"""Denoising steps on the way to latents that are kept: the fewest that every family can make."""


class NotKept(Exception):  # noqa: N818  (not an error: the job is then rendered as any other)
    """The latents that are kept are not all that the pipeline decodes."""


class Undecoded(Exception):  # noqa: N818  (not an error: who raises it was asked to)
    """The latents are complete, and are not to be decoded."""


class _Exhausted(Exception):  # noqa: N818
    """Memory ran out."""


class Decoding:
    """Stands in for the `decode` of a pipeline's VAEs, for whichever run its thread is about.

    It raises `BadPictureError` on latents that are not finite.
    """

    def __init__(self, pipeline: Any, savings: Savings, denoiser: threading.Lock) -> None:
        """`denoiser` is held by the run that denoises."""
        self._savings, self._denoiser = savings, denoiser
        self._vae = threading.Lock()  # a VAE keeps notes of its work, also from encoding
        for name in VAES:
            vae = getattr(pipeline, name, None)
            if vae is not None:
                vae.decode = self._standing_in(name, vae.decode)
                vae.encode = self._one_at_a_time(vae.encode)

    def _one_at_a_time(self, encode: Callable[..., Any]) -> Callable[..., Any]:
        def stand_in(*values: Any, **named: Any) -> Any:
            with self._vae:
                return encode(*values, **named)

        return stand_in

    def _standing_in(self, name: str, decode: Callable[..., Any]) -> Callable[..., Any]:
        def stand_in(latents: torch.Tensor, *more: Any, **named: Any) -> Any:
            run = CURRENT.get()
            if run.replaying:
                latents, more, named = _kept(run, name, latents.device)
            elif not bool(torch.isfinite(latents).all()):
                raise BadPictureError("latents that are not finite")
            else:
                _keep(run, (name, latents, more, named))
            run.decodings += 1
            run.denoised.set()
            began = time.perf_counter()
            try:
                return self._decode_saving(lambda: decode(latents, *more, **named))
            finally:
                run.decode_seconds += time.perf_counter() - began

        return stand_in

    def _decode_saving(self, decode: Callable[[], Any]) -> Any:
        with suppress(_Exhausted):
            return self._decoded(decode)
        # Another run that denoises takes memory as well: first without it, then with less.
        in_parallel = self._denoiser.locked()
        with self._denoiser:
            while in_parallel or self._savings.take_next():
                in_parallel = False
                with suppress(_Exhausted):
                    return self._decoded(decode)
        raise torch.OutOfMemoryError("out of memory in decoding")

    def _decoded(self, decode: Callable[[], Any]) -> Any:
        """Raises `_Exhausted` if memory ran out, with nothing of the attempt alive."""
        try:
            with self._vae:
                return decode()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        raise _Exhausted


def leave_undecoded(pipeline: Any) -> None:
    """Ends each run of `pipeline` with `Undecoded` instead of decoding it."""

    def leave(*_values: Any, **_named: Any) -> Any:
        raise Undecoded

    for name in VAES:
        if hasattr(pipeline, name):
            getattr(pipeline, name).decode = leave


def are_kept(run: Run) -> bool:
    """True if there are latents of an earlier attempt."""
    return run.latents is not None and _path(run.latents, 0).exists()


def _path(folder: Path, call: int) -> Path:
    return folder / f"{call}.safetensors"


def _kept(run: Run, name: str, device: torch.device) -> tuple[torch.Tensor, Any, Any]:
    assert run.latents is not None
    kept = tensor_files.read(_path(run.latents, run.decodings), device)
    if kept is None or kept[0] != name:
        raise NotKept
    _, latents, more, named = kept
    return latents, more, named


def _keep(run: Run, call: tuple[Any, ...]) -> None:
    if run.latents is not None:
        try:
            tensor_files.write(_path(run.latents, run.decodings), call)
        except (OSError, StoreFullError, tensor_files.Unsuitable) as error:
            # They are decoded all the same; only a later attempt must denoise again.
            logger.warning("The latents could not be kept: %s", error)
