"""LoRAs between the user's disk, the store and the machines that render."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from film.errors import InputError, ObjectMissingError, UnfitWeightsError
from film.types import Lora
from flows.farm import Farm, open_farm
from flows.submission.lora_uploads import Loras, located
from flows.worker.failure_policy import Verdict, blames_worker, verdict
from flows.worker.inputs import KEPT_LORAS, fetch_loras
from storage import keys
from tests.conftest import Installation
from tests.film.making import a_request


@pytest.fixture
def here(installation: Installation) -> Iterator[Farm]:
    """The parts of an installation that nothing runs in."""
    farm = open_farm()
    yield farm
    farm.close()


def write(path: Path, number: int = 0) -> Path:
    """A file that looks like a LoRA."""
    factor = np.full((2, 2), number, np.float32)
    save_file({"a.lora_A.weight": factor, "a.lora_B.weight": factor}, path)
    return path


def kept(farm: Farm, *paths: Path) -> tuple[Lora, ...]:
    """LoRAs as a film has them, in the store."""
    asked = tuple(Lora(name=str(path)) for path in paths)
    reader = Loras(farm.settings.home)
    named = reader.named(a_request(loras=asked)).settings.loras
    reader.keep(farm.store)
    return named


def test_a_file_is_known_by_its_content_and_kept_in_the_store(here: Farm, tmp_path: Path) -> None:
    path = write(tmp_path / "style.safetensors")
    (lora,) = kept(here, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert lora == Lora(name="style.safetensors", digest=digest)
    path.unlink()
    (file,) = fetch_loras(here, [lora])
    assert hashlib.sha256(Path(file.path).read_bytes()).hexdigest() == digest
    here.store.delete(keys.lora(digest))
    assert fetch_loras(here, [lora]) == (file,), "once fetched, a process keeps it"


def test_one_that_is_gone_from_the_store_fails_its_film_with_what_to_do(
    here: Farm, tmp_path: Path
) -> None:
    (lora,) = kept(here, write(tmp_path / "style.safetensors"))
    here.store.delete(keys.lora(lora.digest))
    with pytest.raises(InputError, match="submit the film again, which uploads it again") as raised:
        fetch_loras(here, [lora])
    assert isinstance(raised.value.__cause__, ObjectMissingError)
    assert verdict(raised.value) is Verdict.FAIL


def test_one_that_changes_between_reading_and_keeping_is_not_kept(
    here: Farm, tmp_path: Path
) -> None:
    path = write(tmp_path / "style.safetensors")
    reader = Loras(here.settings.home)
    (lora,) = reader.named(a_request(loras=(Lora(name=str(path)),))).settings.loras
    write(path, 1)
    with pytest.raises(InputError, match="changed while it was read"):
        reader.keep(here.store)
    assert here.store.head(keys.lora(lora.digest)) is None


def test_a_process_keeps_the_last_few_files(here: Farm, tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{number}.safetensors", number) for number in range(KEPT_LORAS + 3)]
    loras = [kept(here, path)[0] for path in paths]
    for lora in loras:
        fetch_loras(here, [lora])
    names = {path.stem for path in (here.scratch.open() / "loras").iterdir()}
    assert len(names) == KEPT_LORAS
    assert loras[-1].digest in names
    assert len(fetch_loras(here, loras)) == len(loras), "all that a film needs, however many"


def test_paths_count_from_where_they_are_written(tmp_path: Path) -> None:
    write(tmp_path / "here.safetensors")
    (tmp_path / "org").mkdir()
    write(tmp_path / "org" / "here.safetensors")
    names = ("here.safetensors", "gone.safetensors", "/abs/x.safetensors", "org/name", "./org/name")
    (request,) = located([a_request(loras=tuple(Lora(name=name) for name in names))], tmp_path)
    assert [lora.name for lora in request.settings.loras] == [
        str(tmp_path / "here.safetensors"),
        str(tmp_path / "gone.safetensors"),
        "/abs/x.safetensors",
        "org/name",
        str(tmp_path / "org/name"),
    ]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gone.safetensors", "There is no file"),
        ("style.bin", "name a .safetensors file, or org/name of the hub"),
        ("text.safetensors", "cannot be read as a safetensors file"),
    ],
)
def test_files_that_are_no_loras_are_refused(name: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("hello")
    asked = a_request(loras=(Lora(name=str(tmp_path / name)),))
    with pytest.raises(InputError, match=says):
        Loras(tmp_path).named(asked)


def test_nothing_is_read_for_a_model_that_takes_none(tmp_path: Path) -> None:
    asked = a_request(model="mochi", loras=(Lora(name="/gone.safetensors"),))
    with pytest.raises(InputError, match="There is no file"):
        Loras(tmp_path).named(asked)
    asked = a_request(model="svd-xt", loras=(Lora(name="/gone.safetensors"),))
    with pytest.raises(InputError, match="'svd-xt' takes no LoRAs"):
        Loras(tmp_path).named(asked)


def test_weights_that_do_not_fit_are_the_films_fault() -> None:
    assert verdict(UnfitWeightsError("no")) is Verdict.FAIL
    assert not blames_worker(UnfitWeightsError("no"))
