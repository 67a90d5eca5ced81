"""`longreel submit` and `longreel plan` of campaigns, as users see them."""

from __future__ import annotations

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
