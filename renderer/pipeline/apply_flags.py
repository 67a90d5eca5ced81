"""A film's flags put into force on a loaded pipeline, each verified to have taken hold.

Weights are changed and blocks compiled once, when the model is loaded; caches, attention and
tiling are set for each job.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from film.errors import FlagError
from film.types import Cache, Quantisation, RenderFlags

DEFAULT_ATTENTION = "native"
"""Torch's own, which chooses among its kernels by device and shape."""
DENOISERS = ("transformer", "transformer_2", "unet")
LAYERS = r"(.*\.)?(\w*blocks|layers)\.\d+\.(attn\w*|\w+_attn|ffn?|ff\w*)"
"""Attention and feed-forward layers in all families. TaylorSeer's own choice of them finds none in
most, and then does nothing without a word."""

FIRST_BLOCK_THRESHOLD = 0.08
TAYLORSEER_INTERVAL = 3
PYRAMID_INTERVAL = 2
"""Defaults of what the flags leave open; benchmarks/render.py measures what they cost."""
LENGTHS_COMPILED = 64
"""Shapes that blocks are compiled for before torch gives up and runs them as they are."""


def denoisers(pipeline: Any) -> list[Any]:
    """The networks of a pipeline that are called at each step."""
    found = (getattr(pipeline, name, None) for name in DENOISERS)
    return [network for network in found if network is not None]


def change_weights(pipeline: Any, flags: RenderFlags) -> None:
    """Quantises or casts the denoisers' weights, before they are on the GPU.

    Raises `FlagError`.
    """
    for network in denoisers(pipeline):
        if flags.quantisation:
            _quantise(network, flags.quantisation)
        if flags.casting:
            before = _hooked(network)
            network.enable_layerwise_casting(
                storage_dtype=torch.float8_e4m3fn, compute_dtype=network.dtype
            )
            _require(_hooked(network) > before, "casting", network)


def compile_blocks(pipeline: Any) -> None:
    """Has the denoisers' repeated blocks compiled when they are first used, for each shape."""
    torch._dynamo.config.recompile_limit = LENGTHS_COMPILED
    for network in denoisers(pipeline):
        network.compile_repeated_blocks(dynamic=False)


def share(pipeline: Any, count: int, device: str) -> None:
    """Has each of the denoisers computed by `count` processes together, of which this is one.

    Raises `FlagError`.
    """
    import diffusers

    for network in denoisers(pipeline):
        before, plan = _hooked(network), _plan(network)
        if not plan:
            raise FlagError(f"diffusers has no plan for several GPUs for {type(network).__name__}.")
        try:
            with _a_device_to_count(device):
                network.enable_parallelism(
                    config=diffusers.ContextParallelConfig(ulysses_degree=count),
                    cp_plan=plan,
                )
        except (AttributeError, ValueError) as error:
            raise FlagError(
                f"{type(network).__name__} cannot be rendered with by several GPUs together: "
                f"{error}"
            ) from error
        _require(_hooked(network) > before, "context_parallel", network)


def _plan(network: Any) -> dict[str, Any]:
    """The plan of how it is split and joined, without blocks that it does not have: the plan of
    Helios names as many as the published checkpoint has."""
    plan = getattr(network, "_cp_plan", None) or {}
    modules = {name for name, _ in network.named_modules()}
    return {name: how for name, how in plan.items() if "*" in name or name in modules}


@contextmanager
def _a_device_to_count(device: str) -> Iterator[None]:
    """diffusers numbers the devices of a machine, and divides by 0 if there are none."""
    counted = torch.accelerator.device_count
    if device == "cpu":
        torch.accelerator.device_count = lambda: 1
    try:
        yield
    finally:
        torch.accelerator.device_count = counted


class Switches:
    """What is set for each job."""

    def __init__(self, pipeline: Any) -> None:
        self._networks = denoisers(pipeline)
        self._vae: Any = getattr(pipeline, "vae", None)
        self._set = RenderFlags()
        self._tiling = False

    def set(self, flags: RenderFlags, running: Any, *, tiled: bool = False) -> None:
        """Applies `flags` to a run of the pipeline `running`; `tiled`: its VAE works in tiles in
        any case, because memory ran out. Raises `FlagError`."""
        if flags.attention != self._set.attention:
            self._attend(flags.attention)
        tiling = flags.tiling or tiled
        if tiling != self._tiling:
            (self._vae.enable_tiling if tiling else self._vae.disable_tiling)()
        self._set, self._tiling = flags, tiling
        self._cache(flags, running)

    def _attend(self, backend: str) -> None:
        # The last one set is also the default of all others, so that it is always set.
        for network in self._networks:
            if not hasattr(network, "set_attention_backend"):
                raise FlagError(f"{type(network).__name__} has one kind of attention only.")
            try:
                network.set_attention_backend(backend or DEFAULT_ATTENTION)
            except (ValueError, RuntimeError, ImportError) as error:
                raise FlagError(
                    f"The attention {backend!r} cannot be had on this worker: {error}"
                ) from error

    def _cache(self, flags: RenderFlags, running: Any) -> None:
        # Made anew for each job: what an interrupted one left in it would be taken for ours.
        for network in self._networks:
            if getattr(network, "is_cache_enabled", False):
                network.disable_cache()
            if flags.cache is None:
                continue
            before = _hooked(network)
            try:
                network.enable_cache(_configuration(flags, lambda: running._current_timestep))
            except (ValueError, AttributeError) as error:
                raise FlagError(f"The cache {flags.cache} cannot be used: {error}") from error
            _require(_hooked(network) > before, f"the cache {flags.cache}", network)


def _configuration(flags: RenderFlags, now: Callable[[], float]) -> Any:
    import diffusers

    if flags.cache is Cache.FIRST_BLOCK:
        return diffusers.FirstBlockCacheConfig(
            threshold=flags.cache_threshold or FIRST_BLOCK_THRESHOLD
        )
    if flags.cache is Cache.TAYLORSEER:
        return diffusers.TaylorSeerCacheConfig(
            cache_interval=flags.cache_interval or TAYLORSEER_INTERVAL,
            cache_identifiers=[LAYERS],
            taylor_factors_dtype=torch.float32,
        )
    interval = flags.cache_interval or PYRAMID_INTERVAL
    return diffusers.PyramidAttentionBroadcastConfig(
        spatial_attention_block_skip_range=interval,
        cross_attention_block_skip_range=2 * interval,
        current_timestep_callback=now,
    )


def _quantise(network: Any, kind: Quantisation) -> None:
    if importlib.util.find_spec("torchao") is None:
        raise FlagError("Quantisation needs torchao on this worker: `pip install torchao`.")
    from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, quantize_

    how = {Quantisation.INT8: Int8WeightOnlyConfig, Quantisation.FLOAT8: Float8WeightOnlyConfig}
    quantize_(network, how[kind]())
    linear = (module for module in network.modules() if isinstance(module, torch.nn.Linear))
    changed = any(type(module.weight.data) is not torch.Tensor for module in linear)
    _require(changed, f"quantisation {kind}", network)


def _hooked(network: Any) -> int:
    """Hooks of diffusers in a network; caches and casting do their work in them."""
    registries = (getattr(module, "_diffusers_hook", None) for module in network.modules())
    return sum(len(registry.hooks) for registry in registries if registry is not None)


def _require(taken: bool, what: str, network: Any) -> None:
    if not taken:
        raise FlagError(f"{type(network).__name__} has nothing that {what} takes hold of.")
