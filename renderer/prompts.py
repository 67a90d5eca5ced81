"""Prompts encoded once: the segments of a scene have the same, and text encoders are large."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch

KEPT = 8
"""Encoded prompts that are kept; 4 MiB each with the largest encoders, on the GPU."""


class PromptMemory:
    """Stands in for a pipeline's `encode_prompt`, and remembers what it gave.

    That is called within the pipeline's own call, whose arguments decide its result, so what is
    remembered is equal to the bit, in every family.
    """

    def __init__(self, pipeline: Any) -> None:
        self.encoded = 0
        """How often the text encoder was asked."""
        self._encode = pipeline.encode_prompt
        self._known: OrderedDict[str, Any] = OrderedDict()
        pipeline.encode_prompt = self

    def __call__(self, *values: Any, **named: Any) -> Any:
        """As the pipeline's method."""
        key = repr((values, sorted(named.items())))
        if key in self._known:
            self._known.move_to_end(key)
            return _copy(self._known[key])
        result = self._encode(*values, **named)
        self.encoded += 1
        self._known[key] = _copy(result)
        if len(self._known) > KEPT:
            self._known.popitem(last=False)
        return result


def _copy(result: Any) -> Any:
    """Nobody who changes what he gets shall change what is remembered."""
    if isinstance(result, torch.Tensor):
        return result.clone()
    if isinstance(result, tuple | list):
        return type(result)(_copy(part) for part in result)
    return result
