"""`longreel link`: links to delivered films, and how long they work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from app.cli.link import read_duration
from app.cli.main import cli
from db.engine import open_database
from db.schema import migrate
from film.errors import InputError
from tests.conftest import Installation
from tests.db.farm import DELIVERY, Farm, a_film


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10min", 600), ("12h", 43_200), ("7d", 604_800), ("1.5 H", 5_400)],
)
def test_durations(text: str, seconds: float) -> None:
    assert read_duration(text) == seconds


@given(st.text(max_size=8))
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    if _is_duration(text):
        assert read_duration(text) >= 0
    else:
        with pytest.raises(InputError, match="90s, 10min, 12h or 7d"):
            read_duration(text)


def _is_duration(text: str) -> bool:
    number = text.strip().lower()
    for unit in ("min", "s", "h", "d"):
        if number.endswith(unit):
            whole, _, part = number.removesuffix(unit).strip().partition(".")
            digits = [whole, part] if "." in number else [whole]
            return all(one.isdecimal() for one in digits)
    return False


@pytest.fixture
def delivered(installation: Installation) -> str:
    """A campaign of two films, one of them delivered."""
    database = open_database(f"sqlite:///{installation.home / 'longreel.db'}")
    migrate(database)
    farm = Farm(database)
    films = farm.submit(a_film(tag="x"), a_film(tag="y"))
    farm.deliver()
    database.close()
    return films[0].rpartition("-")[0]


def test_a_delivered_film_has_a_link(installation: Installation, delivered: str) -> None:
    result = CliRunner().invoke(cli, ["link", f"{delivered}-1"])
    assert result.exit_code == 0, result.output
    url = (installation.home / "store" / DELIVERY.key).as_uri()
    assert result.stdout == f"{url}\n"
    assert "on this machine only" in result.stderr


def test_a_campaign_has_a_link_for_each_delivered_film(
    installation: Installation, delivered: str
) -> None:
    result = CliRunner().invoke(cli, ["link", delivered, "--json"])
    assert result.exit_code == 3
    assert [row["id"] for row in json.loads(result.stdout)] == [f"{delivered}-1"]
    assert f"{delivered}-2 is queued: there is nothing to link to." in result.stderr


@pytest.mark.parametrize("expires", ["8d", "0s", "soon"])
def test_a_link_lasts_at_most_a_week(
    installation: Installation, delivered: str, expires: str, tmp_path: Path
) -> None:
    result = CliRunner().invoke(cli, ["link", f"{delivered}-1", "--expires", expires])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
