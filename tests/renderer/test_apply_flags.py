"""Flags put into force on a pipeline: each takes hold, or is refused by name.

The networks are small modules with the methods of diffusers' ones; the hooks that they count are
counted as in a real network. Real pipelines of every family are in test_switches.py.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from film.errors import FlagError
from film.types import Cache, Quantisation, RenderFlags
from renderer.pipeline import apply_flags
from renderer.pipeline.apply_flags import Switches


class Denoiser(torch.nn.Module):
    """A network with one linear layer; `hooks` is what each flag adds of diffusers' hooks."""

    dtype = torch.bfloat16
    _cp_plan: dict[str, Any] | None = None

    def __init__(self, hooks: int = 1, error: Exception | None = None) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(32, 32, dtype=torch.bfloat16)
        self.calls: list[tuple[str, Any]] = []
        self.is_cache_enabled = False
        self._hooks, self._error = hooks, error
        self._diffusers_hook = SimpleNamespace(hooks={})

    def _change(self, name: str, value: Any) -> None:
        if self._error is not None:
            raise self._error
        self.calls.append((name, value))
        for _ in range(self._hooks):
            self._diffusers_hook.hooks[len(self._diffusers_hook.hooks)] = name

    def enable_layerwise_casting(self, **named: Any) -> None:
        """As diffusers' models."""
        self._change("casting", named)

    def compile_repeated_blocks(self, **named: Any) -> None:
        """As diffusers' models."""
        self._change("compile", named)

    def enable_parallelism(self, **named: Any) -> None:
        """As diffusers' models."""
        self._change("parallel", named)

    def set_attention_backend(self, backend: str) -> None:
        """As diffusers' models."""
        self._change("attention", backend)

    def enable_cache(self, configuration: Any) -> None:
        """As diffusers' models."""
        self._change("cache", configuration)
        self.is_cache_enabled = True

    def disable_cache(self) -> None:
        """As diffusers' models."""
        self.calls.append(("no cache", None))
        self._diffusers_hook.hooks.clear()
        self.is_cache_enabled = False


class TilingVae:
    """A VAE that notes how it is set."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def enable_tiling(self) -> None:
        """As diffusers' VAEs."""
        self.calls.append("tiling")

    def disable_tiling(self) -> None:
        """As diffusers' VAEs."""
        self.calls.append("no tiling")


def a_pipeline(*networks: Any) -> Any:
    names = ("transformer", "transformer_2")
    return SimpleNamespace(
        **dict(zip(names, networks, strict=False)), vae=TilingVae(), _current_timestep=300.0
    )


def test_every_network_that_denoises_is_found() -> None:
    one, two = Denoiser(), Denoiser()
    assert apply_flags.denoisers(a_pipeline(one, two)) == [one, two]
    assert apply_flags.denoisers(SimpleNamespace(unet=one, transformer=None)) == [one]
    assert apply_flags.denoisers(SimpleNamespace()) == []


def test_no_flag_changes_no_weight() -> None:
    network = Denoiser()
    before = network.linear.weight.clone()
    apply_flags.change_weights(a_pipeline(network), RenderFlags())
    assert network.calls == []
    assert torch.equal(network.linear.weight, before)


def test_casting_stores_8_bits_and_computes_as_before() -> None:
    networks = Denoiser(), Denoiser()
    apply_flags.change_weights(a_pipeline(*networks), RenderFlags(casting=True))
    how = {"storage_dtype": torch.float8_e4m3fn, "compute_dtype": torch.bfloat16}
    assert [network.calls for network in networks] == [[("casting", how)]] * 2


def test_casting_that_finds_no_layer_is_refused() -> None:
    with pytest.raises(FlagError, match="Denoiser has nothing that casting takes hold of"):
        apply_flags.change_weights(a_pipeline(Denoiser(hooks=0)), RenderFlags(casting=True))


def test_quantisation_without_torchao_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FlagError, match="pip install torchao"):
        apply_flags.change_weights(
            a_pipeline(Denoiser()), RenderFlags(quantisation=Quantisation.INT8)
        )


def test_blocks_are_compiled_for_each_shape() -> None:
    network = Denoiser()
    apply_flags.compile_blocks(a_pipeline(network))
    assert network.calls == [("compile", {"dynamic": False})]
    assert torch._dynamo.config.recompile_limit == apply_flags.LENGTHS_COMPILED


def test_a_network_is_shared_by_its_plan_without_blocks_that_it_lacks() -> None:
    network = Denoiser()
    network._cp_plan = {"linear": "split", "blocks.40": "split", "blocks.*": "join"}
    apply_flags.share(a_pipeline(network), 2, "cpu")
    ((_, named),) = network.calls
    assert named["cp_plan"] == {"linear": "split", "blocks.*": "join"}
    assert named["config"].ulysses_degree == 2


@pytest.mark.parametrize(
    ("network", "plan", "message"),
    [
        (Denoiser(), None, "diffusers has no plan for several GPUs for Denoiser"),
        (Denoiser(), {"blocks.40": "split"}, "has no plan"),
        (Denoiser(hooks=0), {"linear": "split"}, "nothing that context_parallel takes hold of"),
        (
            Denoiser(error=ValueError("heads must divide")),
            {"linear": "split"},
            "cannot be rendered with by several GPUs together: heads must divide",
        ),
    ],
)
def test_a_network_that_cannot_be_shared_is_refused(
    network: Denoiser, plan: dict[str, Any] | None, message: str
) -> None:
    network._cp_plan = plan
    devices = torch.accelerator.device_count
    with pytest.raises(FlagError, match=message):
        apply_flags.share(a_pipeline(network), 2, "cpu")
    assert torch.accelerator.device_count is devices


def test_attention_is_set_when_it_changes_and_set_back_afterwards() -> None:
    network = Denoiser()
    switches = Switches(a_pipeline(network))
    for backend in ("flash", "flash", ""):
        switches.set(RenderFlags(attention=backend), None)
    assert network.calls == [("attention", "flash"), ("attention", apply_flags.DEFAULT_ATTENTION)]


def test_attention_that_this_worker_lacks_is_named() -> None:
    switches = Switches(a_pipeline(Denoiser(error=ImportError("no module sageattention"))))
    with pytest.raises(FlagError, match="'sage' cannot be had on this worker: no module sage"):
        switches.set(RenderFlags(attention="sage"), None)
    with pytest.raises(FlagError, match="Module has one kind of attention only"):
        Switches(SimpleNamespace(transformer=torch.nn.Module())).set(
            RenderFlags(attention="flash"), None
        )


def test_tiling_is_set_by_a_flag_or_by_too_little_memory() -> None:
    pipeline = a_pipeline(Denoiser())
    switches = Switches(pipeline)
    switches.set(RenderFlags(), None)
    switches.set(RenderFlags(tiling=True), None)
    switches.set(RenderFlags(), None, tiled=True)
    switches.set(RenderFlags(), None)
    assert pipeline.vae.calls == ["tiling", "no tiling"]


@pytest.mark.parametrize(
    ("flags", "values"),
    [
        (RenderFlags(cache=Cache.FIRST_BLOCK), {"threshold": 0.08}),
        (RenderFlags(cache=Cache.FIRST_BLOCK, cache_threshold=0.2), {"threshold": 0.2}),
        (
            RenderFlags(cache=Cache.TAYLORSEER),
            {"cache_interval": 3, "cache_identifiers": [apply_flags.LAYERS]},
        ),
        (RenderFlags(cache=Cache.TAYLORSEER, cache_interval=5), {"cache_interval": 5}),
        (
            RenderFlags(cache=Cache.PYRAMID, cache_interval=4),
            {"spatial_attention_block_skip_range": 4, "cross_attention_block_skip_range": 8},
        ),
    ],
)
def test_a_cache_is_configured_by_its_flags(flags: RenderFlags, values: dict[str, Any]) -> None:
    network = Denoiser()
    pipeline = a_pipeline(network)
    Switches(pipeline).set(flags, pipeline)
    ((_, configuration),) = network.calls
    assert {name: getattr(configuration, name) for name in values} == values


def test_a_cache_of_attention_follows_the_steps_of_the_run() -> None:
    network = Denoiser()
    pipeline = a_pipeline(network)
    Switches(pipeline).set(RenderFlags(cache=Cache.PYRAMID), pipeline)
    ((_, configuration),) = network.calls
    pipeline._current_timestep = 120.0
    assert configuration.current_timestep_callback() == 120.0


def test_each_job_has_a_cache_of_its_own_and_leaves_none_behind() -> None:
    network = Denoiser()
    pipeline = a_pipeline(network)
    switches = Switches(pipeline)
    for cache in (Cache.FIRST_BLOCK, Cache.FIRST_BLOCK, None, None):
        switches.set(RenderFlags(cache=cache), pipeline)
    assert [name for name, _ in network.calls] == ["cache", "no cache", "cache", "no cache"]
    assert not network.is_cache_enabled


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Denoiser(hooks=0), "Denoiser has nothing that the cache first_block takes hold of"),
        (Denoiser(error=ValueError("no blocks")), "cache first_block cannot be used: no blocks"),
        (torch.nn.Module(), "cache first_block cannot be used"),
    ],
)
def test_a_cache_that_does_not_take_hold_is_refused(network: Any, message: str) -> None:
    pipeline = a_pipeline(network)
    with pytest.raises(FlagError, match=message):
        Switches(pipeline).set(RenderFlags(cache=Cache.FIRST_BLOCK), pipeline)
