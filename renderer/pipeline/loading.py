"""The diffusers pipelines of a model: loaded once, one for each mode, sharing their weights."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import diffusers
import torch

from film.errors import FlagError, RenderError, UnfitWeightsError
from film.models import Mode, ModelSpec
from film.types import Offload, RenderFlags
from renderer.out_of_memory import is_out_of_memory
from renderer.pipeline import apply_flags, offload
from renderer.pipeline.prompt_cache import PromptMemory
from renderer.pipeline.shared_prompts import SharedPrompts
from renderer.weights.pipeline_packages import package_of


class Pipelines:
    """The pipelines of one model on one device."""

    def __init__(
        self,
        spec: ModelSpec,
        folder: Path,
        device: str,
        flags: RenderFlags = RenderFlags(),  # noqa: B008  (frozen)
        prompts: Path | None = None,
        shared: SharedPrompts | None = None,
    ) -> None:
        """Loads the weights in `folder`, in bfloat16 on a GPU and float32 on a CPU.

        `flags`: those that apply while loading; `prompts`: folder for encoded prompts; `shared`:
        the prompts of processes that render together, of which one has the text encoders. Raises
        `RenderError` if they are not those of the pipeline that the row names, `UnfitWeightsError`
        if the user chose them and they do not fit, `FlagError` if a flag has no effect.
        """
        self._spec, self._prompts, self._shared = spec, prompts, shared
        left_out = text_encoders(folder) if shared and not shared.encodes else ()
        self._main = _load_any(spec, folder, device, left_out)
        apply_flags.change_weights(self._main, flags)
        sizes, memory = offload.sizes_of(self._main), _memory(device)
        fitting = offload.choose(sizes, memory) if memory else Offload.NONE
        self.offload = flags.offload or fitting
        """Which weights wait in main memory."""
        if flags.context_parallel and self.offload is not Offload.NONE:
            raise FlagError(
                f"The weights of {spec.name} leave too little memory on a GPU of this worker to be "
                f"rendered with by several together; leave context_parallel out."
            )
        self.room_for_two = self.offload is Offload.NONE and offload.has_room_for_two(sizes, memory)
        """True if one segment may be decoded while the next one is denoised."""
        self._leave = offload.place(self._main, device, self.offload)
        if flags.context_parallel:
            apply_flags.share(self._main, flags.context_parallel, device)
        # Blocks whose layers are moved cannot be compiled; room goes before speed.
        self.compiled = bool(flags.compile) and self.offload is not Offload.GROUP
        """True if its blocks are compiled when they are first used."""
        if self.compiled:
            apply_flags.compile_blocks(self._main)
        self._made = {(type(self._main).__name__, 0): self._main}
        self.memories: list[PromptMemory] = []
        """The pipelines that encode prompts, of those that were created."""
        self._remember(self._main)

    @property
    def main(self) -> Any:
        """The one that was loaded."""
        return self._main

    def of(self, mode: Mode, lane: int = 0) -> Any:
        """The pipeline for `mode`; another one for each `lane`, so that two runs do not share what
        a pipeline notes about a run. Raises `RenderError` if the model has none."""
        name = self._spec.calling.pipelines.get(mode)
        if name is None:
            has = ", ".join(self._spec.calling.pipelines)
            raise RenderError(f"The model {self._spec.name!r} renders from {has}, not from {mode}.")
        if (name, lane) not in self._made:
            self._made[name, lane] = self._sharing(name, lane)
        return self._made[name, lane]

    def _sharing(self, name: str, lane: int) -> Any:
        """A pipeline of class `name` with the components that are loaded."""
        kind = getattr(diffusers, name)
        known = inspect.signature(kind.__init__).parameters
        parts = {key: part for key, part in self._main.components.items() if key in known}
        if lane and "scheduler" in parts:  # it notes at which step a run is
            parts["scheduler"] = copy.deepcopy(parts["scheduler"])
        if kind is type(self._main):
            parts |= {key: self._main.config[key] for key in known if key in self._settings(parts)}
        # Not `from_pipe`, which would cast all weights to float32.
        pipeline = kind(**(parts | self._spec.calling.again))
        pipeline.set_progress_bar_config(disable=True)
        self._remember(pipeline)
        return pipeline

    def _settings(self, parts: Collection[str]) -> set[str]:
        """Settings of the main pipeline that are not components."""
        return {key for key in self._main.config if key not in parts and not key.startswith("_")}

    def _remember(self, pipeline: Any) -> None:
        if not hasattr(pipeline, "encode_prompt"):
            return
        if self._shared is None or self._shared.encodes:
            self.memories.append(PromptMemory(pipeline, self._prompts, self._leave))
        if self._shared is not None:
            self._shared.join(pipeline)


def text_encoders(folder: Path) -> list[str]:
    """The components of the pipeline in `folder` that encode prompts."""
    return list(filter(offload.is_text_encoder, _index(folder)))


def _index(folder: Path) -> dict[str, Any]:
    index: dict[str, Any] = json.loads((folder / "model_index.json").read_text())
    return index


def _memory(device: str) -> int:
    """Memory of the GPU, in bytes; 0 for a CPU."""
    return 0 if device == "cpu" else int(torch.cuda.get_device_properties(device).total_memory)


def _load_any(spec: ModelSpec, folder: Path, device: str, left_out: Collection[str]) -> Any:
    if not spec.row:
        return _load(spec, folder, device, left_out)
    try:
        return _load(spec, folder, device, left_out)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        why = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise UnfitWeightsError(
            f"The weights of {spec.name!r} cannot be rendered with as {spec.row} is: give others, "
            f"or name the row that they are for ({why.rstrip('.')})."
        ) from error


def _load(spec: ModelSpec, folder: Path, device: str, left_out: Collection[str]) -> Any:
    usual = torch.bfloat16 if device == "cuda" else torch.float32
    vae = torch.float32 if spec.calling.vae_dtype == "float32" else usual
    classes = spec.calling.pipelines
    # Not the class that the weights were saved from: a family's others have the same components.
    kind: Any = getattr(diffusers, classes.get("text") or next(iter(classes.values())))
    saved = _index(folder)["_class_name"]
    if package_of(saved) != package_of(kind.__name__):
        raise RenderError(f"The model {spec.name!r} is a {saved}, not a {kind.__name__}.")
    given: dict[str, Any] = dict.fromkeys(left_out)
    if spec.in_one_file:
        given["transformer"] = _transformer(spec, folder, usual)
    pipeline = kind.from_pretrained(
        folder,
        **given,
        dtype=usual if vae is usual else {"default": usual, "vae": vae},
        local_files_only=True,
        use_safetensors=True,
        # Memory-mapped weights are not aligned, which changes the last bits of CPU arithmetic.
        disable_mmap=True,
    )
    if spec.calling.scheduler:
        kind, config = type(pipeline.scheduler), pipeline.scheduler.config
        pipeline.scheduler = kind.from_config(config, **spec.calling.scheduler)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _transformer(spec: ModelSpec, folder: Path, dtype: torch.dtype) -> Any:
    """The transformer in the user's file, of the class and configuration of the one in `folder`.

    Raises `RenderError` if the file does not have all of its weights.
    """
    name = _index(folder)["transformer"][1]
    kind: Any = getattr(diffusers, name)
    model = kind.from_single_file(
        spec.source,
        config=str(folder),
        subfolder="transformer",
        dtype=dtype,
        local_files_only=True,
        disable_mmap=True,
    )
    missing = [name for name, tensor in model.named_parameters() if tensor.is_meta]
    if missing:
        raise RenderError(f"{spec.source} has no {missing[0]}, and lacks {len(missing)} in all")
    # As `from_pretrained` has them, which a single file does not get in bfloat16.
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if set(name.split(".")) & set(kind._keep_in_fp32_modules or ()):
            tensor.data = tensor.data.float()
    return model
