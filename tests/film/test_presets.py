"""Presets: what they hold, and what takes precedence over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from film.errors import CampaignFileError, InputError
from film.reading.campaign import read_campaign
from film.reading.film import film_from_prompt, read_script
from film.reading.presets import require_preset

KEPT: Mapping[str, Mapping[str, Any]] = {
    "draft": {"size": "48x32", "num_inference_steps": 2, "seconds": 3}
}


def presets(name: str) -> Mapping[str, Any]:
    try:
        return KEPT[name]
    except KeyError:
        raise InputError(f"There is no preset {name!r}.") from None


def test_a_preset_fills_in_what_a_film_does_not_say() -> None:
    film = film_from_prompt("A ball.", {"preset": "draft", "steps": 5}, presets=presets)
    assert (film.width, film.height, film.seconds) == (48, 32, 3)
    assert film.settings.num_inference_steps == 5, "by any of its names"


def test_presets_in_campaigns_and_scripts() -> None:
    text = """
defaults: {preset: draft, seconds: 4}
films:
  - prompt: one
  - {prompt: two, size: 96x64}
"""
    first, second = read_campaign(text, "c.yaml", "c", presets=presets).films
    assert (first.width, first.seconds, second.width) == (48, 4, 96)
    table = "prompt,preset\nthree,draft\n"
    (third,) = read_campaign(table, "c.csv", "c", presets=presets).films
    assert third.height == 32
    script = "preset: draft\nscenes: [one, two]\n"
    assert read_script(script, "s.yaml", {}, presets=presets).width == 48


def test_a_preset_that_is_not_there_is_named_with_its_line() -> None:
    text = "films:\n  - prompt: one\n  - prompt: two\n    preset: none\n"
    with pytest.raises(CampaignFileError, match=r"c.yaml:4: There is no preset 'none'"):
        read_campaign(text, "c.yaml", "c", presets=presets)
    with pytest.raises(InputError, match="no preset 'draft'"):
        film_from_prompt("A ball.", {"preset": "draft"})


@pytest.mark.parametrize("name", ["", "A", "a/b", "../x", "a b", "-a", "x" * 65, "ä"])
def test_names_that_presets_cannot_have(name: str) -> None:
    with pytest.raises(InputError, match="name of a preset"):
        require_preset(name, {"size": "48x32"})


@pytest.mark.parametrize("key", ["prompt", "scenes", "image", "preset", "loras", "colour", "title"])
def test_what_presets_cannot_hold(key: str) -> None:
    with pytest.raises(InputError, match=key):
        require_preset("x", {key: "x"})


def test_options_are_kept_by_the_names_of_files() -> None:
    assert require_preset("x", {"steps": 4, "size": None}) == {"num_inference_steps": 4}
    with pytest.raises(InputError, match="has no options"):
        require_preset("x", {"size": None})
