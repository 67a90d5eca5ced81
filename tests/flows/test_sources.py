"""Models as users name them: folders, files and names, seen from the place at which they are
written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from film.errors import InputError
from film.families import MODELS
from flows.model_catalog.resolve_name import naming

WAN = "wan2.1-t2v-1.3b"


def pipeline(folder: Path, kind: str) -> Path:
    """A folder with a pipeline of that class and nothing in it."""
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": kind}))
    return folder


def test_rows_and_the_hub_need_no_folder(tmp_path: Path) -> None:
    name_of = naming(tmp_path)
    assert name_of("demo").name == "demo"
    assert name_of(MODELS[WAN].source).name == WAN
    assert name_of(f"{WAN}=someone/tuned").name == f"{WAN}=someone/tuned"
    assert name_of(f"{MODELS[WAN].source}=someone/tuned").name == f"{WAN}=someone/tuned"
    assert name_of(f"{WAN}={MODELS[WAN].source}").name == WAN


def test_paths_count_from_the_folder_and_a_name_that_was_made_out_stays(tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "my tuned" / "wan", "WanPipeline")
    name_of = naming(tmp_path)
    canonical = f"{WAN}={folder}"
    for text in (f"{WAN}=my tuned/wan", f"{WAN}=./x/../my tuned/wan", canonical):
        assert name_of(text).name == canonical
        assert name_of(text).notice == ""
    assert naming(Path("/"))(canonical).name == canonical


def test_a_folder_alone_is_made_out_by_its_class_and_the_plan_says_so(tmp_path: Path) -> None:
    name_of = naming(tmp_path)
    folder = pipeline(tmp_path / "wan", "WanPipeline")
    found = name_of("wan")
    assert found.name == f"{WAN}={folder}"
    assert found.notice.startswith(f"{folder} holds a WanPipeline, and is rendered as {WAN} is;")
    assert f"as in wan2.1-t2v-14b={folder}" in found.notice
    pipeline(tmp_path / "vace", "WanVACEPipeline")
    assert name_of("./vace").name.startswith("wan2.1-vace-1.3b=")
    pipeline(tmp_path / "ltx", "LTXPipeline")  # of the package, and not a row's own
    assert name_of("ltx") == naming(tmp_path)("ltx")
    assert name_of("./ltx").name == f"ltx={tmp_path / 'ltx'}"
    pipeline(tmp_path / "mochi-2", "MochiPipeline")
    assert name_of("mochi-2").notice.endswith("rendered as mochi is.")


def test_the_name_of_a_row_wins_over_a_folder(tmp_path: Path) -> None:
    pipeline(tmp_path / "demo", "MochiPipeline")
    assert naming(tmp_path)("demo").name == "demo"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sora", "no model 'sora'; the models are: "),
        ("someone/tuned", "name one, as in ROW=someone/tuned"),
        ("one.safetensors", "name it, as in ROW="),
        ("gone.safetensors", "is not a diffusers pipeline|There is no"),
        ("./gone", "There is no folder"),
        ("flux", "No model is rendered with a FluxPipeline"),
        ("strange", "names no pipeline of diffusers"),
        ("empty", "has no model_index.json"),
        ("model.gguf", "is a GGUF file"),
        (f"{WAN}=model.gguf", "is a GGUF file"),
        (f"{WAN}=gone.gguf", "is a GGUF file"),
        (f"{WAN}=./gone", "There is no folder or file"),
        (f"{WAN}=gone/one.safetensors", "There is no folder or file"),
        (f"{WAN}=flux", "holds a FluxPipeline, and wan2.1-t2v-1.3b is rendered with WanPipeline"),
        (f"{WAN}=notes.txt", "should be a folder, or a file whose name ends in .safetensors"),
        (f"{WAN}=odd.safetensors", "should be a folder, or a file"),
        (f"{WAN}=gone", "is not a source of weights"),
        ("wan2.2-t2v-14b=one.safetensors", "has two transformers"),
    ],
)
def test_what_cannot_be_is_one_sentence(text: str, says: str, tmp_path: Path) -> None:
    import re

    for name in ("one.safetensors", "model.gguf", "notes.txt"):
        (tmp_path / name).write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd.safetensors").mkdir()
    pipeline(tmp_path / "flux", "FluxPipeline")
    pipeline(tmp_path / "strange", "MyPipeline")
    with pytest.raises(InputError) as raised:
        naming(tmp_path)(text)
    assert re.search(says, str(raised.value))
    assert "\n" not in str(raised.value)
