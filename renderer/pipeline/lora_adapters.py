"""LoRAs in the transformers of a warm pipeline: loaded, weighted, and removed again.

They stay separate from the weights and are added in each step, never merged. So a segment that is
rendered without them afterwards is the same to the bit as before.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors.torch import load_file

from film.errors import OutOfMemoryError, UnfitWeightsError
from film.models import ModelSpec
from film.types import LoraFile, to_json
from renderer.out_of_memory import is_out_of_memory
from renderer.pipeline.lora_names import own_names, to_own_names
from renderer.weights.safetensors_headers import tensors_in

logger = logging.getLogger(__name__)

LONGEST_WHY = 200
"""Largest number of characters of diffusers' message, which may name every module."""
_SILENT = 100
"""Above every level of diffusers' logging: what it logs here is raised as well."""


class Loras:
    """The LoRAs of the job at hand; the pipelines of all modes share what they change."""

    def __init__(self, spec: ModelSpec, pipeline: Any) -> None:
        """`pipeline` is the one that was loaded."""
        self._spec = spec
        self._pipeline = pipeline
        self._loaded: dict[str, int] = {}
        self._files: tuple[LoraFile, ...] = ()

    def use(self, files: Sequence[LoraFile]) -> None:
        """Makes the pipelines render with these LoRAs, and no others.

        Raises `UnfitWeightsError` if one does not fit the model, `OutOfMemoryError`.
        """
        wanted = {_adapter(file): file for file in files}
        if list(wanted) != list(self._loaded):
            self._clear()
            try:
                for name, file in wanted.items():
                    self._loaded[name] = self._load(name, file)
            except Exception:
                self._clear()
                raise
        if wanted:
            weights = [file.lora.weight for file in files]
            self._pipeline.set_adapters(list(wanted), weights)
        self._files = tuple(files)

    def made_by(self) -> dict[str, Any]:
        """For `Renderer.made_by`: the LoRAs, and how many modules each changes."""
        if not self._files:
            return {}
        found = [
            {**to_json(file.lora), "modules": self._loaded[_adapter(file)]} for file in self._files
        ]
        return {"loras": found, "peft": version("peft")}

    def _load(self, name: str, file: LoraFile) -> int:
        """Loads a LoRA; how many modules it changes."""
        path = Path(file.path)
        low = {"load_into_transformer_2": True} if file.lora.expert == "low" else {}
        with self._explaining(file), _silent():
            own = self._with_own_names(path, file.lora.expert == "low")
            source: dict[str, Any] = {} if own else {"weight_name": path.name}
            self._pipeline.load_lora_weights(
                own or path.parent,
                **source,
                adapter_name=name,
                local_files_only=True,
                use_safetensors=True,
                # Copied rather than memory-mapped: what is not aligned changes the last bits.
                low_cpu_mem_usage=False,
                **low,
            )
        changed = sum(1 for _ in self._changed_by(name))
        if not changed:
            raise self._unfit(
                file,
                "it changes nothing in it; if it was made for this model, its tensors have "
                "names of a form that is not known: save it as diffusers does",
            )
        layers = len(_layers(path))
        if changed < layers:
            message = "The LoRA %s fits the model in part: %d of its %d layers"
            logger.warning(message, file.lora.name, changed, layers)
        return changed

    def _with_own_names(self, path: Path, low: bool) -> dict[str, torch.Tensor] | None:
        """The tensors of a file that has the names of another program; None for all others."""
        name = "transformer_2" if low else "transformer"
        transformer = getattr(self._pipeline, name, None)
        if transformer is None:
            return None
        modules = [
            module.replace(".base_layer", "") for module, _ in transformer.named_modules() if module
        ]
        if own_names(tensors_in(path), modules) is None:  # most files: read once, by diffusers
            return None
        # Copied, as in `_load`.
        tensors = {key: tensor.clone() for key, tensor in load_file(path).items()}
        return to_own_names(tensors, modules)

    def _clear(self) -> None:
        if self._loaded or any(True for _ in self._changed_by(None)):
            self._pipeline.unload_lora_weights()
        self._loaded, self._files = {}, ()

    def _changed_by(self, name: str | None) -> Iterator[Any]:
        """The modules that the LoRA called `name` (None: that any LoRA) is hooked into."""
        for component in getattr(self._pipeline, "_lora_loadable_modules", ()):
            model = getattr(self._pipeline, component, None)
            for module in () if model is None else model.modules():
                adapters = getattr(module, "lora_A", None)
                if adapters is not None and (name is None or name in adapters):
                    yield module

    @contextmanager
    def _explaining(self, file: LoraFile) -> Iterator[None]:
        """Whatever diffusers and peft raise on a LoRA that does not fit becomes one sentence."""
        try:
            yield
        except Exception as error:
            if is_out_of_memory(error):
                raise OutOfMemoryError(
                    f"There is too little memory for the LoRA {file.lora.name}; a worker with more "
                    f"is needed, or fewer LoRAs."
                ) from error
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise self._unfit(file, (lines[-1] if lines else type(error).__name__)) from error

    def _unfit(self, file: LoraFile, why: str) -> UnfitWeightsError:
        return UnfitWeightsError(
            f"The LoRA {file.lora.name} does not fit the model {self._spec.name!r}: leave it out, "
            f"or name the model that it was made for ({why.rstrip('.')[:LONGEST_WHY]})."
        )


def _layers(path: Path) -> set[str]:
    """The layers that the tensors of a file belong to."""
    return {re.split(r"\.lora[._]", name)[0] for name in tensors_in(path) if ".lora" in name}


def _adapter(file: LoraFile) -> str:
    """What peft calls it; no two of a job have the same digest and expert."""
    return f"{file.lora.expert or 'only'}_{file.lora.digest}"


@contextmanager
def _silent() -> Iterator[None]:
    library = diffusers.utils.logging
    before = library.get_verbosity()
    library.set_verbosity(_SILENT)
    try:
        yield
    finally:
        library.set_verbosity(before)
