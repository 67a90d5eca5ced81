"""`longreel submit` and `longreel plan` of campaigns, as users see them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Installation

Write = Callable[[str, str], Path]
FILMS = """\
name: Two
defaults: {seconds: 4, steps: 1}
films:
  - A red ball rolls over green grass.
  - 海边的故事。
"""


@pytest.mark.parametrize("name", ["c.yaml", "C.YAML"])
def test_a_campaign_is_planned_without_submitting(
    installation: Installation, write: Write, name: str
) -> None:
    write(name, FILMS)
    done = installation.run("plan", name)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("2 films, ")
    assert not (installation.home / "longreel.db").exists()


def test_a_film_of_a_script_is_planned_as_before(installation: Installation, write: Write) -> None:
    write("film.yaml", "title: One\nprompt: A red ball rolls.\nseconds: 2\n")
    done = installation.run("plan", "film.yaml", "--seconds", "4")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("1 film, ")


def test_submitting_says_what_there_is_to_render_and_what_to_know(
    installation: Installation, write: Write
) -> None:
    write("c.yaml", FILMS)
    done = installation.run("submit", "c.yaml")
    assert done.returncode == 0, done.stderr
    first, *notes, last = done.stderr.splitlines()
    assert first == "Two: 2 films submitted, 6 segments"
    assert notes
    assert any(note.startswith("Note (1 of 2 films): ") for note in notes)
    assert any("understood no word of scene 1" in note for note in notes)
    campaign = done.stdout.strip()
    assert last == f"Follow with `longreel show {campaign}`; `longreel worker` renders it."


@pytest.mark.parametrize(
    ("what", "given", "titles"),
    [
        ("A red ball rolls.", None, ["A red ball rolls"]),
        ("text.txt", None, ["A red ball rolls"]),
        ("script.yaml", None, ["Mine"]),
        ("-", "A red ball rolls.", ["A red ball rolls"]),
        ("-", FILMS, ["A red ball rolls over green grass", "海边的故事"]),
        (
            "-",
            '{"prompt": "A cube.", "seconds": 2}\n{"prompt": "A ball.", "seconds": 2}\n',
            ["A cube", "A ball"],
        ),
    ],
)
def test_words_scripts_and_standard_input_are_submitted(
    installation: Installation, write: Write, what: str, given: str | None, titles: list[str]
) -> None:
    write("text.txt", "A red ball rolls.\n")
    write("script.yaml", "title: Mine\nscenes: [{prompt: A red ball., seconds: 2}]\n")
    if given is None:
        done = installation.run("submit", what, "--json")
    else:
        done = installation.run_with_input(given, "submit", what, "--json")
    assert done.returncode == 0, done.stderr
    assert [film["title"] for film in json.loads(done.stdout)["films"]] == titles


def test_options_of_a_film_are_submitted_with_it(installation: Installation) -> None:
    submitted = installation.json(
        "submit", "A red ball.", "--seconds", "3", "--seed", "9", "--tags", "big"
    )
    shown = installation.json("show", submitted["films"][0]["id"])
    assert (shown["seconds"], shown["request"]["settings"]["seed"]) == (3, 9)
    assert shown["request"]["tags"] == ["big"]


def test_a_retake_changes_only_the_scene_that_it_is_for(
    installation: Installation,
) -> None:
    prompt = "A red ball rolls. A blue square grows. A green ball stays."
    (first,) = installation.json("submit", prompt, "--seconds", "12")["films"]
    again = installation.json("retake", first["id"], "--scene", "2", "--seed", "99")
    assert again["seed"] == 99
    old, new = (installation.json("show", name) for name in (first["id"], again["film"]))
    assert [scene["seed"] for scene in new["scenes"]][1] == 99
    assert new["title"] == old["title"]
    for before, after in zip(old["segment_list"], new["segment_list"], strict=True):
        assert (before["address"] == after["address"]) == (before["scene"] != 1)
    (random,) = installation.json("retake", first["id"], "--scene", "1")["films"]
    assert random["segments"] == first["segments"]
    refused = installation.run("retake", first["id"], "--scene", "4")
    assert refused.returncode == 2
    assert "The film has no scene 4; it has 3 scenes." in refused.stderr
    whole = installation.run("retake", first["campaign"], "--scene", "1")
    assert "give the id of one of its films" in whole.stderr


def test_films_are_filtered_and_campaigns_listed(installation: Installation, write: Write) -> None:
    write("c.yaml", FILMS)
    two = installation.json("submit", "c.yaml")["campaign"]
    (one,) = installation.json("submit", "A blue square grows.")["films"]
    installation.json("cancel", one["id"])
    assert [film["id"] for film in installation.json("ls", "--find", "TWO")] == [
        f"{two}-1",
        f"{two}-2",
    ]
    assert [film["id"] for film in installation.json("ls", "--status", "cancelled")] == [one["id"]]
    assert len(installation.json("ls", "--status", "waiting,cancelled")) == 3
    nothing = installation.run("ls", "--find", "nowhere")
    assert "No film is like that" in nothing.stdout
    rows = installation.json("campaigns")
    assert [(row["name"], row["films"]["total"]) for row in rows] == [
        ("A blue square grows", 1),
        ("Two", 2),
    ]
    assert "Two" in installation.run("campaigns").stdout


def test_films_are_removed_and_the_store_cleaned(installation: Installation) -> None:
    (film,) = installation.json("submit", "A red ball.", "--seconds", "2")["films"]
    refused = installation.run("rm", film["id"])
    assert refused.returncode == 2
    assert f"{film['id']} is not finished; `longreel cancel {film['id']}` first." in refused.stderr
    installation.json("cancel", film["id"])
    (usage,) = installation.json("usage")["campaigns"]
    assert usage["campaign"] == film["campaign"]
    assert (usage["films_bytes"], usage["takes_bytes"]) == (0, 0)
    assert installation.json("rm", film["id"])["film_ids"] == [film["id"]]
    assert installation.json("ls") == []
    cleaned = installation.run("clean", "--dry-run")
    assert cleaned.stdout == "Would remove 0 files of takes, 0 films, 0 uploads: 0 bytes.\n"
    assert installation.json("clean")["size_bytes"] == 0
    unknown = installation.run("rm", film["id"])
    assert "There is no film or campaign" in unknown.stderr


def test_nothing_is_opened_that_is_not_there_yet(installation: Installation) -> None:
    (film,) = installation.json("submit", "A red ball.", "--seconds", "2")["films"]
    refused = installation.run("open", film["id"])
    assert refused.returncode == 2
    assert "is queued: there is nothing to open yet." in refused.stderr
