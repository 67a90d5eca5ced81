"""The options of a film on the command line, by the keys that files have for them."""

from __future__ import annotations

from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from app.cli.film_options import PromptOrFile, with_film_options
from film.reading.film import film_from_prompt
from film.types import FilmRequest

NOTHING_SAID = film_from_prompt("A red ball.", {})


def asked(*arguments: str) -> FilmRequest:
    """The film that a command with a film's options is asked for."""
    films: list[FilmRequest] = []

    @with_film_options
    def command(prompt_or_file: PromptOrFile, chosen: dict[str, Any], twice: bool = False) -> None:
        films.extend([film_from_prompt(prompt_or_file, chosen)] * (2 if twice else 1))

    cli = typer.Typer()
    cli.command()(command)
    result = CliRunner().invoke(cli, [*arguments, "--twice"])
    assert result.exit_code == 0, result.output
    first, second = films
    assert first == second
    return first


def test_options_that_say_nothing_leave_the_film_as_it_is() -> None:
    assert asked("A red ball.") == NOTHING_SAID


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--seconds", ["6"]),
        ("--size", ["128x96"]),
        ("--fps", ["12"]),
        ("--model", ["mochi"]),
        ("--seed", ["9"]),
        ("--negative-prompt", ["dark"]),
        ("--steps", ["3"]),
        ("--guidance-scale", ["2.5"]),
        ("--continuity", ["cut"]),
        ("--image", ["a.png"]),
        ("--last-image", ["b.png"]),
        ("--flag", ["tiling", "cache=first_block"]),
        ("--lora", ["a.safetensors:0.5", "b.safetensors"]),
    ],
)
def test_each_option_changes_the_film_as_its_key_does(option: str, values: list[str]) -> None:
    key = option.removeprefix("--").replace("-", "_")
    film = asked("A red ball.", *(word for value in values for word in (option, value)))
    keys: dict[str, Any] = {
        "flag": {"flags": " ".join(values)},
        "lora": {"loras": values},
    }
    assert film == film_from_prompt("A red ball.", keys.get(key, {key: values[0]}))
    assert film != NOTHING_SAID


def test_no_sound_leaves_it_out() -> None:
    assert NOTHING_SAID.sound
    assert not asked("A red ball.", "--no-sound").sound
