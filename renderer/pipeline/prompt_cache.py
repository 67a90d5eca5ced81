"""Prompts encoded once: the segments of a scene have the same, and text encoders are large.

Encoded prompts are kept in memory, and on disk for the revision of the weights, for the next
process.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from film.errors import StoreFullError
from renderer.pipeline import tensor_files
from renderer.pipeline.render_state import CURRENT

logger = logging.getLogger(__name__)

KEPT = 8
"""Encoded prompts that are kept in memory; 4 MiB each with the largest encoders, on the GPU."""
KEPT_ON_DISK = 1000
"""And in the folder of a revision: 4 GiB with those; the ones not used for longest go."""

_PLAIN = (str, int, float, bool, type(None), torch.device, torch.dtype)


class PromptMemory:
    """Replaces a pipeline's `encode_prompt`, and remembers its results.

    The pipeline calls it with arguments that decide its result, so that a remembered result is
    equal to the bit, in every family. Arguments other than plain values (pictures, for example) are
    not known by their content, and the result is then not remembered.
    """

    def __init__(
        self, pipeline: Any, folder: Path | None = None, leave: Callable[[], None] | None = None
    ) -> None:
        """`folder`: for encoded prompts, of these weights alone; `leave`: called after the text
        encoder was."""
        self.encoded = 0
        """How often the text encoder was asked."""
        self._encode = pipeline.encode_prompt
        self._known: OrderedDict[str, Any] = OrderedDict()
        self._folder, self._leave = folder, leave
        self._made_with = [type(pipeline).__name__, str(pipeline.dtype)]
        self._made_with += [version(name) for name in ("torch", "diffusers", "transformers")]
        self._device = pipeline._execution_device
        pipeline.encode_prompt = self

    def __call__(self, *values: Any, **named: Any) -> Any:
        """As the pipeline's method."""
        began = time.perf_counter()
        try:
            return self._remembered(values, named)
        finally:
            run = CURRENT.get(None)
            if run is not None:
                run.prompt_seconds += time.perf_counter() - began

    def _remembered(self, values: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if not _is_plain([*values, *named.values()]):
            return self._asked(values, named)
        key = repr((values, sorted(named.items())))
        if key in self._known:
            self._known.move_to_end(key)
            return _copy(self._known[key])
        result = self._from_disk(key)
        if result is None:
            result = self._asked(values, named)
            self._to_disk(key, result)
        self._known[key] = _copy(result)
        if len(self._known) > KEPT:
            self._known.popitem(last=False)
        return result

    def _asked(self, values: tuple[Any, ...], named: dict[str, Any]) -> Any:
        result = self._encode(*values, **named)
        self.encoded += 1
        if self._leave:
            self._leave()
        return result

    def _path(self, key: str) -> Path | None:
        if self._folder is None:
            return None
        # The device counts: another one gives other last bits.
        text = repr([*self._made_with, str(self._device), key])
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()}.safetensors"

    def _from_disk(self, key: str) -> Any:
        path = self._path(key)
        if path is None:
            return None
        result = tensor_files.read(path, self._device)
        if result is not None:
            try:
                os.utime(path)  # used now
            except OSError as error:
                logger.debug("%s could not be marked as used: %s", path, error)
        return result

    def _to_disk(self, key: str, result: Any) -> None:
        path = self._path(key)
        if path is None:
            return
        try:
            tensor_files.write(path, result)
            files = sorted(path.parent.iterdir(), key=lambda file: file.stat().st_mtime)
            for old in files[:-KEPT_ON_DISK]:
                old.unlink(missing_ok=True)
        except (OSError, StoreFullError, tensor_files.Unsuitable) as error:
            # The encoded prompt is used all the same; only another process must encode it again.
            logger.warning("An encoded prompt could not be kept: %s", error)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


def _copy(result: Any) -> Any:
    """Returns a copy, so that callers cannot modify the remembered value."""
    if isinstance(result, torch.Tensor):
        return result.clone()
    if isinstance(result, tuple | list):
        return type(result)(_copy(part) for part in result)
    return result
