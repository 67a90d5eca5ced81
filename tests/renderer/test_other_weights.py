"""Weights from a folder or a file of the user's: what they are known by, what is refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.loaders.single_file_model import _get_single_file_loadable_mapping_class
from safetensors.torch import load_file, save_file

from film.errors import InputError, UnfitWeightsError, WeightsMissingError
from film.families import MODELS
from film.families.lookup import with_weights
from film.models import ModelSpec
from renderer.pipeline import loading
from renderer.pipeline.diffusers_renderer import DiffusersRenderer
from renderer.protocol import Setup
from renderer.weights import file_hashes, local_weights, safetensors_headers, weight_store
from renderer.weights.pipeline_packages import package_of
from tests.jobs import changed
from tests.renderer import tiny
from tests.renderer.test_families import JOB, TINY, small

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

WAN = MODELS["wan2.1-t2v-1.3b"]
TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Wan pipeline, saved as diffusers does."""
    return tiny.build("wan-t2v", tmp_path_factory.mktemp("made") / "wan")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "wan"))


def at(path: Path, row: ModelSpec = WAN) -> ModelSpec:
    return with_weights(row, str(path))


def render(spec: ModelSpec, folder: Path) -> bytes:
    """The pictures of a short segment."""
    renderer = DiffusersRenderer(spec, Setup(folder=folder, threads=1))
    job = changed(JOB, model=spec.name, width=32, height=32, num_frames=5, keep_frames=5)
    return renderer.render(job, None, lambda step, steps: None).frames.tobytes()


# -- what they are known by --------------------------------------------------------------------


def test_a_revision_follows_what_is_loaded_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    before = local_weights.revision(at(folder), tmp_path)
    assert before is not None
    assert len(before) == 40
    (folder / "README.md").write_text("read me")
    (folder / "transformer" / "old.bin").write_bytes(b"a pickle")
    copy = Path(shutil.copytree(folder, tmp_path / "elsewhere" / "copy"))
    for same in (folder, copy):
        assert local_weights.revision(at(same), tmp_path) == before
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace("3.0", "4.0"))
    assert local_weights.revision(at(folder), tmp_path) != before


def test_a_large_file_is_read_once_and_again_when_it_changed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_hashes, "KEPT_FROM", 1000)
    home = tmp_path / "home"
    assert local_weights.revision(at(folder), home, reading=False) is None
    known = local_weights.revision(at(folder), home)
    assert local_weights.revision(at(folder), home, reading=False) == known
    path = folder / TRANSFORMER
    changed = path.read_bytes()[:-1] + b"\1"
    path.write_bytes(changed)
    os.utime(path, ns=(1, 1))
    assert local_weights.revision(at(folder), home, reading=False) is None
    assert local_weights.revision(at(folder), home) != known


def test_weights_are_rendered_with_only_while_they_are_what_was_planned(
    folder: Path, tmp_path: Path
) -> None:
    spec = at(folder)
    planned = weight_store.local_revision(spec, "", tmp_path)
    assert weight_store.folder_of(spec, planned, tmp_path) == folder
    assert weight_store.revisions_here(spec, tmp_path) == [planned]
    (folder / "model_index.json").write_text(
        json.dumps(json.loads((folder / "model_index.json").read_text()) | {"boundary_ratio": 0.5})
    )
    with pytest.raises(WeightsMissingError, match="is not what the film was planned with"):
        weight_store.folder_of(spec, planned, tmp_path)
    shutil.rmtree(folder)
    with pytest.raises(WeightsMissingError, match=r"There is no folder .* put it back"):
        weight_store.folder_of(spec, planned, tmp_path)
    assert weight_store.revisions_here(spec, tmp_path) == []


def test_a_single_file_is_known_with_the_weights_around_it(made: Path, tmp_path: Path) -> None:
    demo = MODELS["demo"]
    own = weight_store.folder_of(demo, "", tmp_path)
    spec = at(own / TRANSFORMER, demo)
    base = weight_store.bundled_revision(demo)
    (revision,) = weight_store.revisions_here(spec, tmp_path)
    assert revision == weight_store.local_revision(spec, base, tmp_path)
    assert revision.endswith(f"+{base}")
    assert weight_store.folder_of(spec, revision, tmp_path) == own
    wan = at(made / TRANSFORMER)
    missing = weight_store.local_revision(wan, "c" * 40, tmp_path)
    with pytest.raises(WeightsMissingError, match=r"pull wan2\.1-t2v-1\.3b --revision cccc"):
        weight_store.folder_of(wan, missing, tmp_path)


# -- what is refused ---------------------------------------------------------------------------


def no_index(folder: Path) -> None:
    (folder / "model_index.json").unlink()


def broken_index(folder: Path) -> None:
    (folder / "model_index.json").write_text("{")


def foreign_code(folder: Path) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    index["_class_name"] = ["pipeline", "MyPipeline"]
    (folder / "model_index.json").write_text(json.dumps(index))


def only_bin(folder: Path) -> None:
    (folder / TRANSFORMER).rename((folder / TRANSFORMER).with_suffix(".bin"))


def only_rounded(folder: Path) -> None:
    path = folder / TRANSFORMER
    path.rename(path.with_name("diffusion_pytorch_model.fp16.safetensors"))


def no_vae(folder: Path) -> None:
    shutil.rmtree(folder / "vae")


def half_of_the_shards(folder: Path) -> None:
    path = folder / TRANSFORMER
    path.rename(path.with_name("a-00001-of-00002.safetensors"))
    shards = {"x": "a-00001-of-00002.safetensors", "y": "a-00002-of-00002.safetensors"}
    listing = path.with_name("diffusion_pytorch_model.safetensors.index.json")
    listing.write_text(json.dumps({"weight_map": shards}))


def gone(folder: Path) -> None:
    shutil.rmtree(folder)


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "no index": (no_index, "is not a diffusers pipeline: it has no model_index.json"),
    "broken index": (broken_index, "cannot be read"),
    "code": (foreign_code, "code of others is not run"),
    "bin": (only_bin, "only in a format that may hold code: save them as .safetensors"),
    "fp16": (only_rounded, "has no .safetensors file of its weights"),
    "no vae": (no_vae, "has no vae, which its model_index.json names"),
    "shards": (half_of_the_shards, "transformer/a-00002-of-00002.safetensors is missing"),
    "gone": (gone, "There is no folder"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_folder_that_cannot_be_rendered_with_is_refused(kind: str, folder: Path) -> None:
    change, says = REFUSED[kind]
    change(folder)
    with pytest.raises(InputError, match=says) as raised:
        local_weights.require_fit(at(folder))
    assert "\n" not in str(raised.value)


def test_a_folder_with_another_pipeline_is_refused(folder: Path) -> None:
    local_weights.require_fit(at(folder))
    with pytest.raises(InputError, match="holds a WanPipeline, and mochi is rendered with Mochi"):
        local_weights.require_fit(at(folder, MODELS["mochi"]))


def test_files_that_are_no_weights_are_refused(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(InputError, match="There is no file"):
        safetensors_headers.require_transformer(path)
    path.write_bytes(b"\xff" * 100)
    for require in (
        safetensors_headers.require_transformer,
        lambda p: safetensors_headers.require_lora(p, "x"),
    ):
        with pytest.raises(InputError, match="cannot be read as a safetensors file"):
            require(path)
    save_file({"a.lora_A.weight": torch.ones(2, 2), "a.lora_B.weight": torch.ones(2, 2)}, path)
    safetensors_headers.require_lora(path, "x")
    with pytest.raises(InputError, match="is a LoRA: name it with --lora"):
        safetensors_headers.require_transformer(path)
    save_file({"a.lora_down.weight": torch.ones(1), "a.lora_up.weight": torch.ones(1)}, path)
    safetensors_headers.require_lora(path, "x")
    save_file({"a": torch.ones(2).to(torch.float8_e4m3fn)}, path)
    with pytest.raises(InputError, match="8-bit weights"):
        safetensors_headers.require_transformer(path)
    with pytest.raises(InputError, match="x is not a LoRA: of its 1 tensors none are named"):
        safetensors_headers.require_lora(path, "x")
    with pytest.raises(InputError, match="is not a LoRA"):
        safetensors_headers.require_lora(made / TRANSFORMER, "wan")
    parts = {name: torch.ones(2) for name in ("a.lora_A", "a.lora_B", "a.dora_scale")}
    save_file(parts, path)
    with pytest.raises(InputError, match="is a DoRA"):
        safetensors_headers.require_lora(path, "x")


# -- what is rendered with them ----------------------------------------------------------------


def original(name: str) -> str:
    """A tensor of a Wan transformer as its authors name it."""
    for ours, theirs in {
        "condition_embedder.time_embedder.linear_1": "time_embedding.0",
        "condition_embedder.time_embedder.linear_2": "time_embedding.2",
        "condition_embedder.text_embedder.linear_1": "text_embedding.0",
        "condition_embedder.text_embedder.linear_2": "text_embedding.2",
        "condition_embedder.time_proj": "time_projection.1",
        "attn1": "self_attn",
        "attn2": "cross_attn",
        ".to_out.0.": ".o.",
        ".to_q.": ".q.",
        ".to_k.": ".k.",
        ".to_v.": ".v.",
        "ffn.net.0.proj": "ffn.0",
        "ffn.net.2": "ffn.2",
        "norm2": "norm3",
        "proj_out": "head.head",
    }.items():
        name = name.replace(ours, theirs)
    if name.endswith("scale_shift_table"):
        return name.replace(
            "scale_shift_table", "modulation" if "blocks" in name else "head.modulation"
        )
    return name


@pytest.mark.slow
@pytest.mark.parametrize("form", ["diffusers", "original"])
def test_the_rows_own_transformer_in_one_file_renders_the_same(
    form: str, made: Path, tmp_path: Path
) -> None:
    parts = load_file(made / TRANSFORMER)
    if form == "original":
        parts = {f"model.diffusion_model.{original(name)}": part for name, part in parts.items()}
        assert not parts.keys() & load_file(made / TRANSFORMER).keys()
    path = tmp_path / "one.safetensors"
    save_file(parts, path)
    assert render(at(path, small(WAN)), made) == render(small(WAN), made)
    save_file({name: part + 0.1 for name, part in parts.items()}, path)
    assert render(at(path, small(WAN)), made) != render(small(WAN), made)


@pytest.mark.slow
@pytest.mark.parametrize("change", ["missing", "shape"])
def test_a_file_that_does_not_fit_is_named(change: str, made: Path, tmp_path: Path) -> None:
    parts = load_file(made / TRANSFORMER)
    name = next(name for name in parts if "attn1.to_q.weight" in name)
    part = parts.pop(name)
    if change == "shape":
        parts[name] = part[:, :2].contiguous()
    path = tmp_path / "one.safetensors"
    save_file(parts, path)
    with pytest.raises(UnfitWeightsError, match=r"cannot be rendered with as wan2\.1-t2v-1\.3b is"):
        render(at(path, small(WAN)), made)


@pytest.mark.slow
def test_a_single_file_has_the_precision_that_a_folder_has(made: Path) -> None:
    saved = diffusers.WanTransformer3DModel.from_pretrained(
        made / "transformer", dtype=torch.bfloat16
    )
    single = loading._transformer(at(made / TRANSFORMER), made, torch.bfloat16)
    wanted = {name: tensor.dtype for name, tensor in saved.named_parameters()}
    assert {name: tensor.dtype for name, tensor in single.named_parameters()} == wanted
    assert set(wanted.values()) == {torch.float32, torch.bfloat16}


# -- the values of rows ------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_rows_say_how_many_transformers_there_are_and_whether_they_load_from_a_file(
    name: str,
) -> None:
    row = MODELS[name]
    pipeline: Any = tiny.KINDS[TINY[name]]()
    transformer = type(getattr(pipeline, "transformer", None))
    loads = hasattr(transformer, "from_single_file") and bool(
        _get_single_file_loadable_mapping_class(transformer)
    )
    assert row.experts == (getattr(pipeline, "transformer_2", None) is not None)
    assert row.single_file == (loads and not row.experts)


def test_packages_of_pipelines_are_those_that_diffusers_has() -> None:
    names = {name for row in MODELS.values() for name in row.calling.pipelines.values()}
    assert len(names) >= 15
    for name in names | {"WanVACEPipeline", "LTX2Pipeline", "StableDiffusionPipeline"}:
        module = getattr(diffusers, name).__module__.split(".")
        assert package_of(name) == module[module.index("pipelines") + 1]
    assert package_of("MyPipeline") is None
