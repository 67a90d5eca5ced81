"""`--no-sound` leaves the sound out of a film, and renders nothing else for it."""

from __future__ import annotations

import pytest

from db import model_pins
from flows.farm import open_farm
from tests.conftest import Installation

pytestmark = pytest.mark.slow


def test_a_film_has_its_models_sound_unless_it_is_left_out(installation: Installation) -> None:
    farm = open_farm()
    with farm.database.write() as connection:
        model_pins.pin(connection, "ltx2", "c" * 40)
    farm.close()
    asked = ("plan", "Rain falls.", "--model", "ltx2", "--seconds", "3")
    (loud,), (silent,) = installation.json(*asked), installation.json(*asked, "--no-sound")
    assert (loud.pop("sound"), silent.pop("sound")) == (True, False)
    assert loud == silent, "addresses and all"
    assert ", ltx2, with sound\n" in installation.run(*asked).stdout
    assert "with sound" not in installation.run(*asked, "--no-sound").stdout
    assert not installation.json("plan", "A red ball.")[0]["sound"], "the demo model makes none"
