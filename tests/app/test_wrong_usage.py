"""Wrong usage gets one clear sentence, exit code 2, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from film.errors import StoreFullError
from flows.farm import require_space
from tests.conftest import Installation

PROMPT = "A red ball rolls over green grass."


def refused(installation: Installation, *arguments: str, **environment: str) -> str:
    """The message with which `longreel` refuses; it must have written nothing."""
    before = sorted(installation.home.rglob("*"))
    done = installation.run_forked(*arguments, **environment)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert sorted(installation.home.rglob("*")) == before
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["render", "   "], "a film needs a prompt with text in it"),
        (["render", PROMPT, "--size", "3840x2160"], "give sides from 32 to 1920"),
        (["render", PROMPT, "--size", "big"], "WIDTHxHEIGHT"),
        (["render", PROMPT, "--model", "sora"], "no model 'sora'; the models are: "),
        (["render", PROMPT, "--seconds", "10000"], "LONGREEL_MAX_FILM_SECONDS"),
        (["render", PROMPT, "--seconds", "-1"], "seconds above 0"),
        (["render", PROMPT, "--seconds", "nan"], "seconds"),
        (["render", PROMPT, "--fps", "0"], "1 to 120 frames a second"),
        (["render", PROMPT, "--seed", "-3"], "seed from 0 to 2147483647"),
        (["render", PROMPT, "--steps", "0"], "1 to 1000 steps"),
        (["render", PROMPT, "--guidance-scale", "x"], "guidance_scale"),
        (["render", PROMPT, "-o", "no/such/folder/film.mp4"], "does not exist"),
        (["render", PROMPT, "-o", "."], "is a folder"),
        (["render", "missing.yaml"], "There is no file missing.yaml"),
        (["render", "films/missing"], "There is no file films/missing"),
        (["render", PROMPT, "-o", "film.mkv"], "ends in .mp4"),
        (["submit", "missing.yaml"], "There is no file missing.yaml"),
        (["submit", "missing.csv"], "There is no file missing.csv"),
        (["submit", "campaign.docx"], "There is no file campaign.docx"),
        (["ls", "--status", "done"], "no status 'done'; choose from queued, "),
        (["plan", PROMPT, "--model", "sora"], "no model 'sora'; the models are: "),
    ],
)
def test_it_is_refused(installation: Installation, arguments: list[str], says: str) -> None:
    assert says in refused(installation, *arguments)


def test_an_unknown_key_is_named_with_its_line(
    installation: Installation, write: Callable[[str, str], Path]
) -> None:
    write("c.yaml", "name: x\nfilms:\n  - prompt: a ball\n    colour: red\n")
    assert "c.yaml:4: unknown key 'colour'" in refused(installation, "submit", "c.yaml")
    write("s.yaml", "scenes:\n  - prompt: a ball\n    lenght: 3\n")
    assert "s.yaml:3: unknown key 'lenght'" in refused(installation, "render", "s.yaml")


def test_a_campaign_and_a_script_are_told_apart(
    installation: Installation, write: Callable[[str, str], Path]
) -> None:
    write("c.yaml", "films: [A ball.]\n")
    write("s.yaml", "scenes: [A ball.]\n")
    assert "longreel submit c.yaml" in refused(installation, "render", "c.yaml")
    says = "c.yaml is a campaign: write options for all of its films under `defaults:` in it."
    assert says in refused(installation, "submit", "c.yaml", "--seconds", "2")


def test_a_home_that_cannot_be_made_is_named(
    installation: Installation, write: Callable[[str, str], Path]
) -> None:
    write("file", "")
    home = str(installation.home / "file" / "home")
    for command in (["ls"], ["dashboard"]):
        done = installation.run(*command, LONGREEL_HOME=home)
        assert done.returncode == 2
        assert "LONGREEL_HOME" in done.stderr


def test_one_impossible_film_refuses_the_whole_campaign(
    installation: Installation, write: Callable[[str, str], Path]
) -> None:
    write("c.csv", "prompt,seconds\na ball,4\na cube,99999\n")
    assert "99999 s long" in refused(installation, "submit", "c.csv")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3://bucket/films", "127.0.0.1:9"),
        ("ftp://somewhere", "LONGREEL_STORE_URL"),
        ("file:///proc/longreel", "/proc/longreel"),
    ],
)
def test_a_store_that_cannot_be_reached_is_named(
    installation: Installation, url: str, says: str
) -> None:
    environment = {
        "LONGREEL_STORE_URL": url,
        "LONGREEL_S3_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    assert says in refused(installation, "render", PROMPT, **environment)


def test_a_database_that_cannot_be_reached_is_named_without_its_password(
    installation: Installation,
) -> None:
    url = "postgresql://farm:hush@127.0.0.1:9/longreel"
    done = installation.run("ls", LONGREEL_DATABASE_URL=url)
    assert done.returncode == 2
    assert "127.0.0.1:9" in done.stderr
    assert "hush" not in done.stderr


def test_a_setting_that_cannot_work_is_named(installation: Installation) -> None:
    assert "LONGREEL_THREADS" in refused(installation, "ls", LONGREEL_THREADS="many")


@pytest.mark.parametrize("command", ["show", "events", "cancel", "requeue", "download"])
def test_an_unknown_id_is_named(installation: Installation, command: str) -> None:
    done = installation.run(command, "nobody")
    assert done.returncode == 2
    assert "no film or campaign 'nobody'" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "render",
        "submit",
        "plan",
        "worker",
        "ls",
        "show",
        "events",
        "cancel",
        "pause",
        "resume",
        "priority",
        "requeue",
        "download",
        "dashboard",
        "models",
    ],
)
def test_help_has_an_example(installation: Installation, command: str) -> None:
    done = installation.run_forked(command, "--help")
    assert done.returncode == 0
    assert f"Example: longreel {command}" in done.stdout


def test_a_full_disk_is_named_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(StoreFullError, match="LONGREEL_HOME"):
        require_space(tmp_path / "not" / "there", needed=2**62)


def test_listing_nothing_is_an_empty_list(installation: Installation) -> None:
    assert installation.json("ls") == []


def test_options_of_a_film_do_not_apply_to_a_campaign(
    installation: Installation, write: Callable[[str, str], Path]
) -> None:
    write("c.yaml", "films: [A red ball.]\n")
    assert "under `defaults:`" in refused(installation, "plan", "c.yaml", "--seconds", "4")
