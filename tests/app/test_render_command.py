"""`longreel render`, as a user runs it: prompts in, films out, whatever happens in between."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from benchmarks.frames import read_frames
from media.verify import verify_film
from tests.conftest import Installation

PROMPT = "A red ball rolls to the right over green grass. A blue square grows on yellow sand."
QUICK = ["--steps", "2", "--seconds", "6"]

pytestmark = pytest.mark.slow


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_prompt_becomes_a_film_of_the_asked_length_size_and_rate(served: Installation) -> None:
    result = served.json("render", PROMPT, *QUICK, "--size", "96x64", "--fps", "8", "-o", "a.mp4")

    assert (result["status"], result["frames"], result["seconds"]) == ("delivered", 48, 6.0)
    film = served.home / "a.mp4"
    verify_film(film, num_frames=48, width=96, height=64, fps=Fraction(8))
    assert read_frames(film).shape == (48, 64, 96, 3)
    assert result["sha256"] == sha256(film)


def test_a_film_of_another_size_is_scaled_begins_with_a_picture_and_has_its_seams_measured(
    served: Installation,
) -> None:
    drawn = read_frames(
        Path(served.json("render", "A green box under a pink sky over sand.", "--seconds", "2",
                         "-o", served.home / "first.mp4")["output"])
    )  # fmt: skip
    (served.home / "sub").mkdir()
    Image.fromarray(drawn[0]).resize((960, 640)).save(served.home / "sub" / "box.jpg")
    (served.home / "sub" / "film.yaml").write_text(
        "size: 192x108\nimage: box.jpg\n"
        "scenes: [{prompt: A green box under a pink sky over sand., seconds: 4}]\n"
    )
    result = served.json("render", "sub/film.yaml", "-o", "a.mp4")
    film = served.home / "a.mp4"
    verify_film(film, num_frames=32, width=192, height=108, fps=Fraction(8))
    assert "renders 96x64, which is scaled 2 times" in result["notices"][0]
    wanted = np.asarray(Image.fromarray(drawn[0]).resize((192, 128)))[10:-10]
    assert np.abs(read_frames(film)[0].astype(int) - wanted).mean() < 12

    (seam, *others) = served.json("show", result["id"])["delivery"]["seams"]
    assert seam["frame"] == 14
    assert len(others) == 1
    assert seam["colour_shift"] < 5
    assert "Seams: 2; jump " in served.run("show", result["id"]).stdout
    refused = served.run("render", "A ball.", "--image", "gone.png")
    assert refused.returncode == 2
    assert "There is no picture" in refused.stderr


def test_the_same_film_again_renders_nothing_and_a_changed_scene_renders_itself_only(
    served: Installation,
) -> None:
    first = served.json("render", PROMPT, *QUICK, "-o", "a.mp4")
    again = served.json("render", PROMPT, *QUICK, "-o", "b.mp4")
    changed = served.json("render", PROMPT.replace("grows", "shrinks"), *QUICK, "-o", "c.mp4")

    assert (first["segments"], first["rendered"], again["rendered"]) == (4, 4, 0)
    assert changed["rendered"] == 2
    a, b, c = (served.home / name for name in ("a.mp4", "b.mp4", "c.mp4"))
    assert a.read_bytes() == b.read_bytes()
    assert (read_frames(a)[:24] == read_frames(c)[:24]).all()
    assert (read_frames(a)[24:] != read_frames(c)[24:]).any()


def test_killed_at_any_moment_the_same_command_goes_on_to_the_same_film(
    served: Installation, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Installation(tmp_path_factory.mktemp("other"), dict(served.environment))
    other.environment["LONGREEL_HOME"] = str(other.home)
    undisturbed = other.json("render", PROMPT, *QUICK, "-o", "a.mp4")

    moments = random.Random(3)
    for how in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        process = served.start("render", PROMPT, *QUICK, "-o", "a.mp4", "--json")
        wait_for_segment(served, moments.randrange(0, 3), process)
        process.send_signal(how)
        process.communicate(timeout=60)
        assert process.returncode == (130 if how == signal.SIGINT else -how)
    result = served.json("render", PROMPT, *QUICK, "-o", "a.mp4")

    assert result["sha256"] == undisturbed["sha256"] == sha256(served.home / "a.mp4")
    assert result["rendered"] < 4 or result["segments"] == 4
    assert leftovers(served) == []


def wait_for_segment(served: Installation, done: int, process: subprocess.Popen[str]) -> None:
    """Waits until that number of segments is stored, or the film is finished."""
    store = served.home / "store"
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        if len(list(store.glob("takes/*/*/video-*.mp4"))) >= done:
            time.sleep(0.3)
            return
        time.sleep(0.05)


def leftovers(served: Installation) -> list[Path]:
    """Temporary files, and rendering processes of this installation, without an owner."""
    files = list(served.home.rglob("*.part"))
    scratch = list((served.home / "scratch").glob("*"))
    mine = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if environment.get("LONGREEL_HOME") == str(served.home):
                mine.append(Path(f"/proc/{process.pid}"))
        except psutil.Error:
            continue
    return files + scratch + mine


def test_a_script_says_scenes_lengths_and_seams(
    served: Installation, write: Callable[[str, str], Path]
) -> None:
    write(
        "film.yaml",
        """\
title: Two balls
num_inference_steps: 2
scenes:
  - prompt: A red ball rolls to the right over green grass.
    seconds: 2
  - prompt: A red ball stays on green grass.
    seconds: 1.5
    seam: continue
""",
    )
    result = served.json("render", "film.yaml")
    assert (result["frames"], result["segments"], result["output"]) == (28, 2, "film.mp4")
    verify_film(served.home / "film.mp4", num_frames=28, width=96, height=64, fps=Fraction(8))


def test_a_chinese_prompt_at_another_rate_is_rendered_and_the_rate_is_noted(
    served: Installation,
) -> None:
    result = served.json(
        "render", "红色的球向右滚动。天空变黑了！", "--steps", "2", "--seconds", "2",
        "--fps", "24000/1001",
    )  # fmt: skip
    assert result["frames"] == 48
    assert "3 times as fast" in result["notices"][0]
    verify_film(
        served.home / "film.mp4", num_frames=48, width=96, height=64, fps=Fraction(24000, 1001)
    )


def test_a_damaged_film_and_a_lost_take_are_made_again(served: Installation) -> None:
    first = served.json("render", PROMPT, *QUICK)
    for path in served.home.glob("store/films/**/film.mp4"):
        path.write_bytes(b"rot")
    take = sorted(served.home.glob("store/takes/*/*/video-*.mp4"))[0]
    take.unlink()
    again = served.json("render", PROMPT, *QUICK)
    assert again["status"] == "delivered"
    assert again["sha256"] == first["sha256"]
    assert take.exists()


def test_without_a_server_of_ones_own_one_is_started_and_found_again(
    installation: Installation,
) -> None:
    try:
        result = installation.json("render", "A red ball.", "--steps", "1", "--seconds", "2")
        assert result["status"] == "delivered"
        url = installation.json("dashboard")["url"]
        state = json.loads((installation.home / "prefect" / "server.json").read_text())
        assert state["url"] == f"{url}/api"
        assert psutil.pid_exists(state["pid"])
    finally:
        stopped = installation.run("dashboard", "--stop")
    assert "Stopped" in stopped.stderr
    assert not psutil.pid_exists(state["pid"]) or os.name != "posix"


def test_a_film_is_delivered_although_the_prefect_server_is_killed_in_the_middle(
    installation: Installation,
) -> None:
    installation.json("dashboard")
    note = installation.home / "prefect" / "server.json"
    process = installation.start("render", PROMPT, "--steps", "8", "--seconds", "10", "--json")
    wait_for_segment(installation, 1, process)
    psutil.Process(json.loads(note.read_text())["pid"]).kill()
    output, errors = process.communicate(timeout=120)
    try:
        assert process.returncode == 0, errors
        assert json.loads(output)["status"] == "delivered"
        assert "Traceback" not in errors
        verify_film(
            installation.home / "film.mp4", num_frames=80, width=96, height=64, fps=Fraction(8)
        )
        assert installation.json("dashboard")["url"], "it is started again"
    finally:
        installation.run("dashboard", "--stop")
    assert leftovers(installation) == []
