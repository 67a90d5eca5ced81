"""LoRAs in a warm pipeline: what they change, that they leave nothing behind, which ones fit."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from film.errors import UnfitWeightsError
from film.families import MODELS
from film.types import Lora, LoraFile
from renderer.protocol import Frames
from tests.renderer import tiny
from tests.renderer.test_families import TINY, Family

pytestmark = [
    pytest.mark.slow,
    # All of them arise in diffusers, or in libraries it calls.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

WITH_LORAS = [name for name in TINY if MODELS[name].loras]


def lora(path: Path, weight: float = 1.0, expert: Any = None) -> LoraFile:
    """A file as a worker has it."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    made = Lora(name=path.name, digest=digest, weight=weight, expert=expert)
    return LoraFile(lora=made, path=str(path))


class Tiny(Family):
    """A tiny model and LoRAs for it."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name, folder)
        self.folder = folder

    @property
    def transformer(self) -> Any:
        return self.renderer._pipelines.main.transformer

    def lora(self, seed: int = 0, weight: float = 1.0, expert: Any = None) -> LoraFile:
        path = self.folder / f"style-{seed}.safetensors"
        if not path.exists():
            self.renderer._loras.use(())
            tiny.lora(self.transformer, path, seed=seed)
        return lora(path, weight, expert)

    def with_loras(self, *files: LoraFile) -> Frames:
        first = self.picture(1) if self.spec.needs_image else None
        return self.render(first, picture=first is not None, loras=files)


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny("wan2.1-t2v-1.3b", tmp_path_factory.mktemp("wan"))


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny("wan2.2-t2v-14b", tmp_path_factory.mktemp("experts"))


def test_a_lora_changes_the_picture_and_leaves_nothing_behind(wan: Tiny) -> None:
    before = wan.with_loras()
    once = wan.with_loras(wan.lora())
    made_by = wan.made_by
    assert made_by["loras"] == [
        {
            "name": "style-0.safetensors",
            "digest": wan.lora().lora.digest,
            "weight": 1.0,
            "expert": None,
            "modules": 16,
        }
    ]
    assert made_by["peft"]
    assert np.abs(once.astype(int) - before).mean() > 0.5
    assert wan.with_loras().tobytes() == before.tobytes()
    assert "loras" not in wan.made_by
    assert wan.with_loras(wan.lora()).tobytes() == once.tobytes()
    assert wan.with_loras(wan.lora()).tobytes() == once.tobytes()


def test_weights_count_and_do_not_add_up_from_job_to_job(wan: Tiny) -> None:
    once = wan.with_loras(wan.lora(weight=0.5))
    assert wan.with_loras(wan.lora(weight=1.0)).tobytes() != once.tobytes()
    assert wan.with_loras(wan.lora(weight=0.5)).tobytes() == once.tobytes()
    plain = wan.with_loras()
    assert wan.with_loras(wan.lora(weight=0.0)).tobytes() == plain.tobytes()


def test_several_are_added_and_others_taken_out(wan: Tiny) -> None:
    one, two = wan.lora(), wan.lora(seed=1)
    alone, both = wan.with_loras(one), wan.with_loras(one, two)
    other = wan.with_loras(two)
    assert len({alone.tobytes(), both.tobytes(), other.tobytes()}) == 3
    assert wan.with_loras(one).tobytes() == alone.tobytes()
    assert wan.with_loras(one, two).tobytes() == both.tobytes()


def test_a_fresh_process_renders_the_same(wan: Tiny, tmp_path: Path) -> None:
    warm = wan.with_loras(wan.lora(seed=1), wan.lora())
    anew = Tiny("wan2.1-t2v-1.3b", tmp_path)
    assert anew.with_loras(wan.lora(seed=1), wan.lora()).tobytes() == warm.tobytes()


def test_each_of_two_transformers_has_its_own(experts: Tiny) -> None:
    plain = experts.with_loras()
    high = experts.with_loras(experts.lora(expert="high"))
    pipeline = experts.renderer._pipelines.main
    assert hooked(pipeline.transformer) == 16
    assert hooked(pipeline.transformer_2) == 0
    low = experts.with_loras(experts.lora(expert="low"))
    assert hooked(pipeline.transformer) == 0
    assert hooked(pipeline.transformer_2) == 16
    both = experts.with_loras(experts.lora(expert="high"), experts.lora(weight=0.5, expert="low"))
    assert hooked(pipeline.transformer) == hooked(pipeline.transformer_2) == 16
    assert len({video.tobytes() for video in (plain, high, low, both)}) == 4
    assert experts.with_loras().tobytes() == plain.tobytes()


def hooked(transformer: Any) -> int:
    """Modules that a LoRA is in."""
    return sum(1 for module in transformer.modules() if hasattr(module, "lora_A"))


def unfit(kind: str, file: Path, folder: Path) -> Path:
    """LoRAs that do not fit, each for another reason."""
    parts = load_file(file)
    changed: dict[str, dict[str, torch.Tensor]] = {
        "wider": {
            name: torch.cat([part, part], dim=int("lora_A" in name)) for name, part in parts.items()
        },
        "of another pipeline": {
            name.replace("transformer.", "unet.", 1): part for name, part in parts.items()
        },
        "of other modules": {
            name.replace("blocks", "layers"): part for name, part in parts.items()
        },
    }
    path = folder / "unfit.safetensors"
    save_file({name: part.contiguous() for name, part in changed[kind].items()}, path)
    return path


@pytest.mark.parametrize("kind", ["wider", "of another pipeline", "of other modules"])
def test_one_that_does_not_fit_is_named_and_leaves_nothing_behind(
    wan: Tiny, kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = wan.with_loras()
    path = unfit(kind, Path(wan.lora().path), tmp_path)
    with pytest.raises(UnfitWeightsError) as raised:
        wan.with_loras(wan.lora(), lora(path))
    said = str(raised.value)
    assert said.startswith("The LoRA unfit.safetensors does not fit the model 'wan2.1-t2v-1.3b': ")
    assert "\n" not in said
    assert len(said) < 400
    assert capfd.readouterr().err == ""
    assert hooked(wan.transformer) == 0
    assert wan.with_loras().tobytes() == before.tobytes()


def in_form(form: str, file: Path, folder: Path) -> Path:
    """A LoRA with the names that another program gives to its tensors."""
    parts: dict[str, torch.Tensor] = {}
    for name, tensor in load_file(file).items():
        module, part = name.removeprefix("transformer.").rsplit(".lora_", 1)
        down_or_up = {"A.weight": "lora_down.weight", "B.weight": "lora_up.weight"}[part]
        if form == "kohya":
            parts[f"lora_unet_{module.replace('.', '_')}.{down_or_up}"] = tensor
            parts[f"lora_unet_{module.replace('.', '_')}.alpha"] = torch.tensor(1.0)
        else:
            parts[f"{form}{module}.lora_{part}"] = tensor
    path = folder / "other program.safetensors"
    save_file(parts, path)
    return path


@pytest.mark.parametrize("form", ["", "base_model.model.", "diffusion_model.", "kohya"])
def test_a_lora_of_another_program_renders_the_same(
    wan: Tiny, form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = wan.lora()
    other = lora(in_form(form, Path(file.path), tmp_path))
    # Its alpha is half of its rank.
    same = file if form != "kohya" else wan.lora(weight=0.5)
    expected, found = wan.with_loras(same).astype(int), wan.with_loras(other).astype(int)
    assert np.abs(expected - found).max() <= (1 if form == "kohya" else 0)
    assert wan.made_by["loras"][0]["modules"] == 16
    assert "in part" not in caplog.text


def test_a_lora_that_fits_in_part_is_said_to(
    wan: Tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = load_file(wan.lora().path)
    parts |= {
        f"transformer.blocks.99.attn1.to_q.lora_{part}.weight": torch.ones(2, 2) for part in "AB"
    }
    path = tmp_path / "larger.safetensors"
    save_file(parts, path)
    wan.with_loras(lora(path))
    assert "The LoRA larger.safetensors fits the model in part: 16 of its 17 layers" in caplog.text


@pytest.fixture(scope="module", params=WITH_LORAS)
def any_family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny(request.param, tmp_path_factory.mktemp(request.param))


def test_every_family_that_says_so_takes_them_and_is_itself_again(any_family: Tiny) -> None:
    before = any_family.with_loras()
    file = any_family.lora(weight=2.0, expert="high" if any_family.spec.experts else None)
    changed = any_family.with_loras(file)
    assert any_family.made_by["loras"][0]["modules"] > 0
    assert changed.tobytes() != before.tobytes()
    assert any_family.with_loras().tobytes() == before.tobytes()


@pytest.mark.parametrize("name", list(MODELS))
def test_rows_say_what_diffusers_can_load(name: str) -> None:
    import diffusers

    kinds = [getattr(diffusers, kind) for kind in MODELS[name].calling.pipelines.values()]
    assert {hasattr(kind, "load_lora_weights") for kind in kinds} == {MODELS[name].loras}
