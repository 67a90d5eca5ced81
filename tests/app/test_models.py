"""Models from the command line: what there is, and fetching weights from a hub."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from film.families import MODELS
from film.families.lookup import find_model
from renderer.weights import weight_store
from tests.conftest import Installation
from tests.services.hub import STRANGER, TOKEN, Hub

pytestmark = pytest.mark.slow

MODEL = "wan2.1-t2v-1.3b"
SOURCE = find_model(MODEL).source
BIG = "transformer/diffusion_pytorch_model-00001-of-00002.safetensors"

INDEX = {
    "_class_name": "WanPipeline",
    "boundary_ratio": None,
    "expand_timesteps": False,
    "image_encoder": [None, None],
    "scheduler": ["diffusers", "UniPCMultistepScheduler"],
    "tokenizer": ["transformers", "T5TokenizerFast"],
    "transformer": ["diffusers", "WanTransformer3DModel"],
    "vae": ["diffusers", "AutoencoderKLWan"],
}
WANTED = {
    "model_index.json": json.dumps(INDEX).encode(),
    "scheduler/scheduler_config.json": b"{}",
    "tokenizer/spiece.model": b"pieces",
    "tokenizer/merges.txt": b"a b",
    "tokenizer/chat_template.jinja": b"{{ text }}",
    "transformer/config.json": b"{ }",
    "transformer/diffusion_pytorch_model.safetensors.index.json": b"{  }",
    BIG: b"weights " * 4000,
    "transformer/diffusion_pytorch_model-00002-of-00002.safetensors": b"more weights",
    "vae/config.json": b"{   }",
    "vae/diffusion_pytorch_model.safetensors": b"a decoder",
}
UNWANTED = {
    "README.md": b"read me",
    "pipeline.py": b"raise SystemExit",
    "transformer/model.py": b"raise SystemExit",
    "transformer/diffusion_pytorch_model.bin": b"a pickle",
    "vae/vae.ckpt": b"a pickle",
    "vae/diffusion_pytorch_model.fp16.safetensors": b"half a decoder",
    "vae/diffusion_pytorch_model.fp16-00001-of-00002.safetensors": b"a quarter",
    "image_encoder/model.safetensors": b"not of this pipeline",
    "all_in_one.safetensors": b"for another program",
    "assets/film.json": b"{    }",
}
REPOSITORY = WANTED | UNWANTED


def refused(installation: Installation, *arguments: str, **more: str) -> str:
    """The one sentence with which a command ends with 2; its standard output must be empty."""
    done = installation.run(*arguments, **more)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    lines = [line for line in done.stderr.strip().splitlines() if "Fetching " not in line]
    assert len(lines) == 1, done.stderr
    return lines[0]


def written(installation: Installation) -> list[Path]:
    """All that is in the installation's folder."""
    return sorted(installation.home.rglob("*"))


def state(installation: Installation, name: str = MODEL) -> tuple[bool, str | None]:
    """True if a model is here, and the pinned revision."""
    row = next(row for row in installation.json("models") if row["name"] == name)
    return row["here"], row["revision"]


def test_all_models_are_listed_with_what_is_here(installation: Installation) -> None:
    rows = installation.json("models")
    assert [row["name"] for row in rows] == list(MODELS)
    assert [row["name"] for row in rows if row["here"]] == ["demo"]
    assert [row["name"] for row in rows if row["revision"]] == ["demo"]
    assert rows[0]["renders_from"] == ["text", "window", "first_last"]
    heading, *lines = installation.run("models").stdout.splitlines()
    assert heading.split()[:2] == ["model", "weights"]
    assert [line.split()[0] for line in lines] == list(MODELS)
    assert lines[0].split()[1] == "here"
    assert all(line.split()[1:3] == ["to", "pull"] for line in lines[1:])
    assert written(installation) == []


def test_planning_with_bundled_weights_makes_no_database(installation: Installation) -> None:
    assert installation.json("plan", "A red ball.")[0]["model"] == "demo"
    assert written(installation) == []


def test_weights_are_fetched_once_and_pinned(installation: Installation, hub: Hub) -> None:
    commit = hub.publish(SOURCE, REPOSITORY)
    done = installation.run("models", "pull", MODEL)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{MODEL} is here, revision {commit}.\n"
    # No terminal, so no progress bar.
    fetching, about = done.stderr.splitlines()
    size = sum(map(len, WANTED.values()))
    assert fetching == f"Fetching {size / 1000:.0f} kB in {len(WANTED)} files"
    assert SOURCE in about
    assert "Apache-2.0" in about
    assert state(installation) == (True, commit)
    assert sorted(hub.given) == sorted(WANTED)

    hub.publish(SOURCE, REPOSITORY | {"vae/config.json": b"newer"})
    hub.given.clear()
    row = installation.json("models", "pull", MODEL)
    assert (row["name"], row["here"], row["revision"]) == (MODEL, True, commit)
    assert hub.given == []
    assert installation.json("plan", "A ball.", "--model", MODEL)[0]["revision"] == commit


def test_what_is_here_needs_no_hub(installation: Installation, hub: Hub) -> None:
    commit = hub.publish(SOURCE, REPOSITORY)
    installation.json("models", "pull", MODEL)
    hub.close()
    assert installation.json("models", "pull", MODEL)["revision"] == commit


def test_another_revision_is_pinned_when_asked_for(installation: Installation, hub: Hub) -> None:
    first = hub.publish(SOURCE, REPOSITORY)
    second = hub.publish(SOURCE, REPOSITORY | {"vae/config.json": b"newer"})
    assert installation.json("models", "pull", MODEL, "--revision", first)["revision"] == first
    hub.given.clear()
    assert installation.json("models", "pull", MODEL, "--revision", "main")["revision"] == second
    assert hub.given == ["vae/config.json"]
    assert state(installation) == (True, second)
    hub.given.clear()
    assert installation.json("models", "pull", MODEL, "--revision", first)["revision"] == first
    assert hub.given == []


def test_an_older_revision_is_fetched_without_moving_the_farm(
    installation: Installation, hub: Hub
) -> None:
    first = hub.publish(SOURCE, REPOSITORY)
    second = hub.publish(SOURCE, REPOSITORY | {"vae/config.json": b"newer"})
    installation.json("models", "pull", MODEL)
    row = installation.json("models", "pull", MODEL, "--revision", first, "--no-pin")
    assert (row["revision"], row["here"]) == (first, True)
    assert state(installation) == (True, second)
    spec = find_model(MODEL)
    assert weight_store.revisions_here(spec, installation.home) == sorted((first, second))


def test_other_weights_are_pulled_pinned_and_listed_after_the_rows(
    installation: Installation, hub: Hub
) -> None:
    name = f"{MODEL}=someone/tuned"
    says = f"`longreel models pull {name}` fetches them from someone/tuned"
    assert says in refused(installation, "plan", "A ball.", "--model", name)
    assert "(someone/tuned) is not on the hub" in refused(installation, "models", "pull", name)
    commit = hub.publish("someone/tuned", REPOSITORY)
    assert installation.json("models", "pull", f"{SOURCE}=someone/tuned")["name"] == name
    assert state(installation, name) == (True, commit)
    assert installation.json("models")[-1]["name"] == name
    (planned,) = installation.json("plan", "A ball.", "--model", name)
    assert (planned["model"], planned["revision"]) == (name, commit)
    assert state(installation) == (False, None)


def test_a_row_goes_by_its_id_on_the_hub(installation: Installation, hub: Hub) -> None:
    commit = hub.publish(SOURCE, REPOSITORY)
    assert installation.json("models", "pull", SOURCE)["name"] == MODEL
    (planned,) = installation.json("plan", "A ball.", "--model", SOURCE)
    assert (planned["model"], planned["revision"]) == (MODEL, commit)


def test_a_row_may_name_a_branch(installation: Installation, hub: Hub) -> None:
    spec = find_model("cosmos2.5-2b")
    assert spec.branch
    hub.publish(spec.source, {"model.pt": b"of another program"})
    commit = hub.publish(spec.source, REPOSITORY, branch=spec.branch)
    assert installation.json("models", "pull", spec.name)["revision"] == commit


def test_a_broken_off_download_is_not_here_and_goes_on(
    installation: Installation, hub: Hub
) -> None:
    commit = hub.publish(SOURCE, REPOSITORY)
    hub.breaks = BIG
    assert "try again" in refused(installation, "models", "pull", MODEL)
    assert state(installation) == (False, None)
    assert "longreel models pull" in refused(installation, "plan", "A ball.", "--model", MODEL)

    first, hub.given = hub.given, []
    hub.breaks = None
    assert installation.json("models", "pull", MODEL)["revision"] == commit
    assert BIG in hub.given
    assert sorted(first + hub.given) == sorted(WANTED)
    assert state(installation) == (True, commit)


def test_a_connection_that_breaks_once_is_made_again(installation: Installation, hub: Hub) -> None:
    hub.publish(SOURCE, REPOSITORY)
    hub.breaks_once = BIG
    assert installation.json("models", "pull", MODEL)["here"] is True
    assert sorted(hub.given) == sorted(WANTED)


def test_a_download_in_part_is_not_here_when_the_hub_goes_away(
    installation: Installation, hub: Hub
) -> None:
    commit = hub.publish(SOURCE, REPOSITORY)
    hub.breaks = BIG
    refused(installation, "models", "pull", MODEL, "--revision", commit)
    # As other programs leave it: without the list of what should be there.
    cache = Path(installation.environment["HF_HUB_CACHE"])
    for listing in cache.rglob("trees/*.json"):
        listing.unlink()
    hub.close()
    refused(installation, "models", "pull", MODEL, "--revision", commit)
    assert state(installation) == (False, None)


def test_weights_that_were_removed_are_fetched_again(installation: Installation, hub: Hub) -> None:
    commit = hub.publish(SOURCE, REPOSITORY)
    installation.json("models", "pull", MODEL)
    (gone,) = Path(installation.environment["HF_HUB_CACHE"]).rglob(f"snapshots/*/{BIG}")
    gone.resolve().unlink()
    assert state(installation) == (False, commit)
    hub.given.clear()
    assert installation.json("models", "pull", MODEL)["here"] is True
    assert hub.given == [BIG]


def test_an_unknown_model_is_refused(installation: Installation, hub: Hub) -> None:
    said = refused(installation, "models", "pull", "sora")
    assert "no model 'sora'" in said
    assert MODEL in said
    assert hub.asked == []


def test_a_bundled_model_is_here(installation: Installation, hub: Hub) -> None:
    assert installation.json("models", "pull", "demo")["here"] is True
    assert "no other revisions" in refused(
        installation, "models", "pull", "demo", "--revision", "main"
    )
    assert hub.asked == []


def test_a_gated_model_needs_a_token(installation: Installation, hub: Hub) -> None:
    commit = hub.publish(SOURCE, REPOSITORY)
    hub.repositories[SOURCE].gated = True
    for token in ("", STRANGER):
        said = refused(installation, "models", "pull", MODEL, HF_TOKEN=token)
        assert "is gated: accept its licence" in said
        assert "HF_TOKEN" in said
    assert state(installation) == (False, None)
    assert hub.given == []
    done = installation.run("models", "pull", MODEL, HF_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stderr
    assert state(installation) == (True, commit)


def test_a_wrong_token_is_named(installation: Installation, hub: Hub) -> None:
    hub.publish(SOURCE, REPOSITORY)
    said = refused(installation, "models", "pull", MODEL, HF_TOKEN="hf_mistyped")
    assert "does not accept your HF_TOKEN" in said


@pytest.mark.parametrize("token", ["", TOKEN])
def test_a_missing_repository_is_named(installation: Installation, hub: Hub, token: str) -> None:
    said = refused(installation, "models", "pull", MODEL, HF_TOKEN=token)
    assert f"({SOURCE}) is not on the hub" in said


def test_a_missing_revision_is_named(installation: Installation, hub: Hub) -> None:
    commit = hub.publish(SOURCE, REPOSITORY)
    for revision in ("v9", "0" * 40):
        said = refused(installation, "models", "pull", MODEL, "--revision", revision)
        assert f"has no revision {revision!r}" in said
    assert installation.json("models", "pull", MODEL)["revision"] == commit


def test_a_hub_that_is_away_is_named(installation: Installation, hub: Hub) -> None:
    hub.close()
    said = refused(installation, "models", "pull", MODEL)
    assert "try again when the hub answers" in said
    assert "try again" in refused(installation, "models", "pull", MODEL, HF_HUB_OFFLINE="1")
    assert state(installation) == (False, None)


def test_a_folder_that_cannot_be_written_is_named(installation: Installation, hub: Hub) -> None:
    hub.publish(SOURCE, REPOSITORY)
    said = refused(installation, "models", "pull", MODEL, HF_HUB_CACHE="/proc/longreel")
    assert "give HF_HOME another folder" in said
    assert "/proc/longreel" in said


def test_a_repository_that_is_no_pipeline_is_refused(installation: Installation, hub: Hub) -> None:
    hub.publish(SOURCE, {"config.json": b"{}", "model.safetensors": b"a classifier"})
    said = refused(installation, "models", "pull", MODEL)
    assert "is not a diffusers pipeline" in said
    assert hub.given == []


def test_films_of_a_model_that_was_not_pulled_are_refused(
    installation: Installation, write: Callable[[str, str], Path]
) -> None:
    write("c.yaml", f"defaults: {{model: {MODEL}, seconds: 2}}\nfilms: [A ball., A cube.]\n")
    write("mixed.yaml", f"films: [A ball., {{prompt: A cube., model: {MODEL}}}]\n")
    before = written(installation)
    says = f"`longreel models pull {MODEL}` fetches them from {SOURCE} (Apache-2.0)"
    for command in (
        ("plan", "A ball.", "--model", MODEL),
        ("render", "A ball.", "--model", MODEL),
        ("submit", "c.yaml"),
        ("submit", "mixed.yaml", "--dry-run"),
    ):
        assert says in refused(installation, *command)
        assert written(installation) == before
    assert "Film 2 of 'mixed'" in refused(installation, "submit", "mixed.yaml")
    assert installation.json("ls") == []


def test_a_progress_bar_is_for_terminals(installation: Installation, hub: Hub) -> None:
    hub.publish(SOURCE, REPOSITORY)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    pulling = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "models", "pull", MODEL, "--json"],
        env={**installation.environment, "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # Linux ends a terminal with an error
        while more := os.read(ours, 4096):
            shown += more
    os.close(ours)
    printed, _ = pulling.communicate(timeout=60)
    assert f"{len(WANTED)}/{len(WANTED)}" in shown.decode()
    assert json.loads(printed)["here"] is True


def test_a_download_is_interrupted_and_goes_on(installation: Installation, hub: Hub) -> None:
    commit = hub.publish(SOURCE, REPOSITORY)
    hub.holds = BIG
    pulling = installation.start("models", "pull", MODEL)
    assert hub.holding.wait(30)
    pulling.send_signal(signal.SIGINT)
    time.sleep(0.5)
    hub.let_go()
    printed, said = pulling.communicate(timeout=60)
    assert (pulling.returncode, printed) == (130, ""), said
    assert "Interrupted." in said
    assert "Traceback" not in said
    assert state(installation) == (False, None)
    assert installation.json("models", "pull", MODEL)["revision"] == commit


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_folders_and_loras_count_from_where_they_are_written_and_plans_say_what_was_taken(
    installation: Installation,
) -> None:
    from tests.renderer import tiny

    folder = tiny.build("wan-t2v", installation.home / "mine" / "wan")
    tiny.lora(tiny.wan(), installation.home / "mine" / "ink.safetensors")
    more = ("--lora", "mine/ink.safetensors:-0.5", "--seconds", "1")
    (by_option,) = installation.json("plan", "A ball.", "--model", "mine/wan", *more)
    assert by_option["model"] == f"{MODEL}={folder}"
    assert by_option["notices"][0].startswith(f"{folder} holds a WanPipeline, and is rendered as")
    assert [(lora["name"], lora["weight"]) for lora in by_option["loras"]] == [
        ("ink.safetensors", -0.5)
    ]
    script = "model: wan\nloras: [ink.safetensors:-0.5]\nseconds: 1\nscenes: [A ball.]\n"
    (installation.home / "mine" / "s.yaml").write_text(script)
    (installation.home / "mine" / "c.jsonl").write_text(
        '{"prompt": "A ball.", "model": "wan", "loras": ["ink.safetensors:-0.5"], "seconds": 1}\n'
    )
    for command in (("plan", "mine/s.yaml"), ("submit", "mine/c.jsonl", "--dry-run")):
        (planned,) = installation.json(*command)
        assert planned["notices"] == by_option["notices"]
        assert planned["segments"][0]["address"] == by_option["segments"][0]["address"]
    # Options win over the script, and count from here.
    (other,) = installation.json("plan", "mine/s.yaml", "--lora", "mine/ink.safetensors")
    assert other["loras"][0]["weight"] == 1.0
    said = refused(installation, "plan", "mine/s.yaml", "--lora", "ink.safetensors")
    assert f"There is no file {installation.home}/ink.safetensors" in said
    assert "takes no LoRAs" in refused(
        installation, "plan", "A ball.", "--model", "svd-xt", "--lora", "ink.safetensors"
    )
    assert not (installation.home / "longreel.db").exists()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_is_fetched_is_what_diffusers_loads(
    installation: Installation, hub: Hub, tmp_path: Path
) -> None:
    from renderer.pipeline.loading import Pipelines
    from tests.renderer.tiny import build

    made = build("wan-t2v", tmp_path / "made")
    files = {
        path.relative_to(made).as_posix(): path.read_bytes()
        for path in made.rglob("*")
        if path.is_file()
    }
    commit = hub.publish(SOURCE, files | {"README.md": b"read me"})
    installation.json("models", "pull", MODEL)
    spec = find_model(MODEL)
    folder = weight_store.folder_of(spec, commit, installation.home)
    assert type(Pipelines(spec, folder, "cpu").main).__name__ == "WanPipeline"
