"""Prompts that one process encodes for all: each receives each result once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed

from renderer.pipeline.shared_prompts import SharedPrompts

distributed: Any = torch.distributed


def a_pipeline(calls: list[tuple[Any, ...]]) -> Any:
    def encode_prompt(prompt: str, **named: Any) -> tuple[torch.Tensor, None]:
        calls.append((prompt, named))
        return torch.full((1, 2), float(len(prompt))), None

    return SimpleNamespace(encode_prompt=encode_prompt, _execution_device="cpu")


def test_the_first_process_encodes_and_all_others_receive_the_same() -> None:
    store = distributed.HashStore()
    calls: list[list[tuple[Any, ...]]] = [[], [], []]
    members = [a_pipeline(of) for of in calls]
    for rank, pipeline in enumerate(members):
        shared = SharedPrompts(store, rank, 3)
        assert shared.encodes == (rank == 0)
        shared.join(pipeline)
    for prompt in ("a fox", "a hare or two", "a fox"):
        results = [pipeline.encode_prompt(prompt, num_videos_per_prompt=1) for pipeline in members]
        for encoded, absent in results:
            assert torch.equal(encoded, torch.full((1, 2), float(len(prompt))))
            assert absent is None
    assert [len(of) for of in calls] == [3, 0, 0]
    assert calls[0][0] == ("a fox", {"num_videos_per_prompt": 1})


def test_a_result_that_was_received_is_not_kept_in_the_store() -> None:
    store = distributed.HashStore()
    sender, receiver = a_pipeline([]), a_pipeline([])
    SharedPrompts(store, 0, 2).join(sender)
    SharedPrompts(store, 1, 2).join(receiver)
    sender.encode_prompt("a fox")
    sender.encode_prompt("a hare")
    assert store.num_keys() == 2
    receiver.encode_prompt("a fox")
    receiver.encode_prompt("a hare")
    assert store.num_keys() == 0


def test_a_prompt_that_cannot_be_encoded_sends_nothing() -> None:
    store = distributed.HashStore()

    def encode_prompt(prompt: str) -> None:
        raise ValueError("too long")

    sender = SimpleNamespace(encode_prompt=encode_prompt)
    SharedPrompts(store, 0, 2).join(sender)
    with pytest.raises(ValueError, match="too long"):
        sender.encode_prompt("a fox")
    assert store.num_keys() == 0
