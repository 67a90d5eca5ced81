"""Films with LoRAs and with weights of the user's, from the command to the take."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from db.segments import takes as db_takes
from film.families import DEMO, MODELS
from flows.farm import Farm
from renderer.weights import weight_store
from storage import keys
from tests.conftest import Installation
from tests.flows.test_campaign import wait_for
from tests.renderer import tiny
from tests.services.hub import Files, Hub

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

WAN = "wan2.1-t2v-1.3b"
SHORT = ("--seconds", "0.3", "--size", "256x256", "--steps", "2")
BALL = ("A red ball rolls to the right over green grass.", "--seconds", "2", "--steps", "2")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Wan pipeline with two LoRAs for it."""
    folder = tmp_path_factory.mktemp("made")
    tiny.build("wan-t2v", folder / "wan")
    transformer = tiny.wan()
    tiny.lora(transformer, folder / "style.safetensors")
    parts = load_file(folder / "style.safetensors")
    wider = {k: torch.cat([v, v], dim=int("lora_A" in k)) for k, v in parts.items()}
    save_file(wider, folder / "unfit.safetensors")
    return folder


def files_in(folder: Path) -> Files:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def takes(farm: Farm, film: str) -> list[dict[str, Any]]:
    with farm.database.read() as connection:
        return [take.made_by for take in db_takes.of_film(connection, film)]


def test_a_film_is_rendered_with_a_lora_from_the_hub_which_is_asked_no_more(
    served: Installation, hub: Hub, farm: Farm, made: Path
) -> None:
    hub.publish(MODELS[WAN].source, files_in(made / "wan"))
    served.json("models", "pull", WAN)
    style = (made / "style.safetensors").read_bytes()
    commit = hub.publish("someone/styles", {"a/style.safetensors": style, "README.md": b"read me"})
    film = served.json(
        "render", "A fox.", "--model", WAN, *SHORT, "--lora", "someone/styles:0.8", "-o", "a.mp4"
    )
    assert film["status"] == "delivered"
    (lora,) = served.json("show", film["id"])["loras"]
    assert (lora["name"], lora["weight"]) == ("someone/styles/a/style.safetensors", 0.8)
    (made_by,) = takes(farm, film["id"])
    assert made_by["loras"] == [{**lora, "modules": 16}]
    assert farm.store.head(keys.lora(lora["digest"]))
    (rendered,) = served.json("show", film["id"])["segment_list"]

    def plan(*loras: str) -> str:
        """The address of the film's segment with other LoRAs."""
        more = [word for lora in loras for word in ("--lora", lora)]
        planned = served.json("plan", "A fox.", "--model", WAN, *SHORT, *more)[0]
        return str(planned["segments"][0]["address"])

    hub.publish("someone/styles", {"a/style.safetensors": style, "b.safetensors": b"another"})
    said = served.run("plan", "A fox.", "--model", WAN, "--lora", "someone/styles")
    assert said.returncode == 2
    assert "holds 2 .safetensors files, name one as in someone/styles/FILE: a/style" in said.stderr
    place = f"someone/styles@{commit}/a/style.safetensors"
    assert plan(f"{place}:0.8") == rendered["address"]

    hub.close()
    (served.home / "style.safetensors").write_bytes(style)
    assert plan("style.safetensors:0.8") == plan(f"{place}:0.8") == rendered["address"]
    assert rendered["address"] not in (plan(), plan("style.safetensors"))
    said = served.run("plan", "A fox.", "--model", WAN, *SHORT, "--lora", "style.safetensors:0.8")
    assert "  LoRA: style.safetensors (weight 0.8)" in said.stdout.splitlines()


def test_a_lora_that_does_not_fit_fails_its_film_at_once(served: Installation, made: Path) -> None:
    model = f"{WAN}={made / 'wan'}"
    unfit = str(made / "unfit.safetensors")
    failed = served.json(
        "render", "A fox.", "--model", model, *SHORT, "--lora", unfit, "-o", "a.mp4", code=1
    )
    assert "The LoRA unfit.safetensors does not fit the model" in failed["error"]
    (part,) = served.json("show", failed["id"])["segment_list"]
    assert (part["attempt"], part["failures"]) == (1, 1)


def demo_at(folder: Path) -> Path:
    """The demo model's weights in a folder of the user's."""
    return Path(shutil.copytree(weight_store.folder_of(DEMO, "", folder), folder / "my demo"))


@pytest.fixture
def start(installation: Installation) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts commands, which end with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        started.append(installation.start(*arguments))
        return started[-1]

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=90)


def test_a_folder_is_rendered_with_and_a_worker_that_runs_already_takes_it(
    served: Installation, start: Callable[..., subprocess.Popen[str]], farm: Farm
) -> None:
    start("worker", "--name", "mine")
    wait_for(lambda: bool(served.json("workers")), "the worker")
    assert served.json("workers")[0]["models"] == ["demo"]
    demo_at(served.home)
    film = {"prompt": BALL[0], "seconds": 2, "steps": 2, "model": "demo=my demo"}
    (served.home / "c.jsonl").write_text(json.dumps(film))
    (submitted,) = served.json("submit", "c.jsonl")["films"]

    def status() -> str:
        return str(served.json("show", submitted["id"])["status"])

    wait_for(lambda: status() == "delivered", "the film")
    name = f"demo={served.home / 'my demo'}"
    (made_by,) = takes(farm, submitted["id"])
    assert made_by["model"] == name
    row = served.json("models")[-1]
    assert (row["name"], row["here"], row["revision"]) == (name, True, made_by["revision"])
    assert len(row["revision"]) == 40
    (worker,) = served.json("workers")
    assert worker["models"] == ["demo", name]
    assert f"{name}@{row['revision']}" in worker["weights"]
    assert worker["warm"].startswith(f"{name} 96x64x17")


def test_other_weights_at_the_same_place_are_another_film_and_the_first_one_waits(
    served: Installation, start: Callable[..., subprocess.Popen[str]]
) -> None:
    folder = demo_at(served.home)
    film = {"prompt": BALL[0], "seconds": 2, "steps": 2, "model": "demo=my demo"}
    (served.home / "c.jsonl").write_text(json.dumps(film))
    (waiting,) = served.json("submit", "c.jsonl")["films"]
    (first,) = served.json("plan", *BALL, "--model", "demo=my demo")
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"shift": 3.0}))
    (other,) = served.json("submit", "c.jsonl")["films"]

    start("worker", "--name", "mine")
    wait_for(lambda: served.json("show", other["id"])["status"] == "delivered", "the other film")
    shown = served.json("show", waiting["id"])
    assert f"at revision {first['revision']}" in shown["blocked"][0]
    assert [(part["status"], part["failures"]) for part in shown["segment_list"]] == [("ready", 0)]


def test_one_file_in_the_place_of_a_rows_transformer(served: Installation) -> None:
    folder = weight_store.folder_of(DEMO, "", served.home)
    file = served.home / "mine.safetensors"
    parts = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    save_file(parts, file)
    film = served.json("render", *BALL, "--model", "demo=mine.safetensors", "-o", "a.mp4")
    assert (film["status"], film["rendered"]) == ("delivered", 1)
    base, *_, mine = served.json("models")
    assert mine["name"] == f"demo={file}"
    assert mine["revision"].endswith(f"+{base['revision']}")
