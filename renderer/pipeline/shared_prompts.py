"""Prompts of processes that render together: one encodes them for all.

Text encoders are large, and a process that only receives their results needs none.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import torch


class SharedPrompts:
    """One process's side of it. All make the same calls, so that a number identifies each of
    them."""

    def __init__(self, store: Any, rank: int, count: int) -> None:
        """`store`: torch's, which all of them reach; `rank`: of this one among `count`."""
        self._store = store
        self._rank = rank
        self._count = count
        self._calls = 0

    @property
    def encodes(self) -> bool:
        """True if this is the process that has the text encoders."""
        return self._rank == 0

    def join(self, pipeline: Any) -> None:
        """From now on `pipeline.encode_prompt` sends its results to the others, or receives
        them."""
        if self.encodes:
            pipeline.encode_prompt = self._telling(pipeline.encode_prompt)
        else:
            pipeline.encode_prompt = self._told(pipeline._execution_device)

    def _telling(self, encode: Callable[..., Any]) -> Callable[..., Any]:
        def encode_prompt(*values: Any, **named: Any) -> Any:
            result = encode(*values, **named)
            written = io.BytesIO()
            torch.save(result, written)
            self._calls += 1
            for rank in range(1, self._count):
                self._store.set(self._key(rank), written.getvalue())
            return result

        return encode_prompt

    def _told(self, device: Any) -> Callable[..., Any]:
        def encode_prompt(*_values: Any, **_named: Any) -> Any:
            self._calls += 1
            key = self._key(self._rank)
            written = io.BytesIO(self._store.get(key))  # waits for it
            self._store.delete_key(key)
            return torch.load(written, map_location=device, weights_only=True)

        return encode_prompt

    def _key(self, rank: int) -> str:
        return f"prompt/{self._calls}/{rank}"
