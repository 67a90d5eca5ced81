"""Placement of weights: chosen by size, and carried out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from film.types import Offload
from renderer.pipeline import offload

GB = 10**9


class Recording(torch.nn.Module):
    """A component that records the devices it is moved to, and does not move."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(4, 2))
        self.places: list[str] = []

    def to(self, device: Any) -> Recording:  # type: ignore[override]
        """As torch's, without a device."""
        self.places.append(str(device))
        return self

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Returns what it is given."""
        return values


@pytest.mark.parametrize(
    ("transformer", "vae", "memory", "expected"),
    [
        (10, 1, 24, Offload.NONE),
        (16, 1, 24, Offload.MODEL),  # 17 of 16.8 GB: each fits alone
        (17, 1, 24, Offload.GROUP),
        (11, 3, 20, Offload.NONE),  # exactly what is free
    ],
)
def test_as_little_as_possible_is_moved(
    transformer: int, vae: int, memory: int, expected: Offload
) -> None:
    sizes = {"transformer": transformer * GB, "vae": vae * GB, "text_encoder": 40 * GB}
    assert offload.choose(sizes, memory * GB) is expected


@pytest.mark.parametrize(
    ("transformer", "memory", "room"), [(8, 20, True), (9, 20, False), (30, 80, True)]
)
def test_two_segments_need_twice_the_free_memory(transformer: int, memory: int, room: bool) -> None:
    sizes = {"transformer": transformer * GB, "text_encoder_2": 40 * GB}
    assert offload.has_room_for_two(sizes, memory * GB) is room


def test_sizes_are_the_bytes_of_each_component_that_has_weights() -> None:
    half = torch.nn.Linear(3, 5, bias=False).to(torch.bfloat16)
    pipeline = SimpleNamespace(
        components={"transformer": half, "vae": torch.nn.Linear(2, 2), "scheduler": object()}
    )
    assert offload.sizes_of(pipeline) == {"transformer": 30, "vae": 24}


@pytest.mark.parametrize(
    ("name", "encodes"),
    [("text_encoder", True), ("text_encoder_3", True), ("image_encoder", False), ("vae", False)],
)
def test_text_encoders_are_known_by_name(name: str, encodes: bool) -> None:
    assert offload.is_text_encoder(name) is encodes


def test_on_a_cpu_everything_is_in_one_place() -> None:
    moved: list[str] = []
    leave = offload.place(SimpleNamespace(to=moved.append), "cpu", Offload.MODEL)
    leave()
    assert moved == ["cpu"]


@pytest.mark.parametrize(
    ("chosen", "method", "options"),
    [
        (Offload.MODEL, "enable_model_cpu_offload", {"device": "cuda"}),
        (
            Offload.GROUP,
            "enable_group_offload",
            {
                "onload_device": torch.device("cuda"),
                "offload_type": "block_level",
                "num_blocks_per_group": 1,
                "use_stream": True,
            },
        ),
    ],
)
def test_diffusers_moves_components_or_blocks(
    chosen: Offload, method: str, options: dict[str, Any]
) -> None:
    called: list[dict[str, Any]] = []
    pipeline = SimpleNamespace(**{method: lambda **named: called.append(named)})
    offload.place(pipeline, "cuda", chosen)()
    assert called == [options]


def test_text_encoders_come_to_the_gpu_when_called_and_leave_afterwards() -> None:
    encoder, transformer = Recording(), Recording()
    components = {"text_encoder": encoder, "transformer": transformer, "scheduler": object()}
    leave = offload.place(SimpleNamespace(components=components), "meta", Offload.NONE)
    assert transformer.places == ["meta"]
    assert encoder.places == ["cpu"]
    encoder(torch.zeros(1))
    assert encoder.places == ["cpu", "meta"]
    leave()
    assert encoder.places == ["cpu", "meta", "cpu"]
    assert transformer.places == ["meta"]
