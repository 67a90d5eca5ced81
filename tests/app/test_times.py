"""Moments as users write them."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.times import read_moment
from film.errors import InputError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10min", 600), ("12h", 43_200), ("7d", 604_800), (" 1.5 H", 5_400)],
)
def test_how_long_ago(text: str, seconds: float) -> None:
    assert read_moment("--since", text) == pytest.approx(time.time() - seconds, abs=5)


def test_dates_and_times() -> None:
    assert (
        read_moment("x", "2026-11-30T18:00:00Z")
        == datetime(2026, 11, 30, 18, tzinfo=UTC).timestamp()
    )
    day = read_moment("x", "2026-11-30")
    assert read_moment("x", "2026-11-30", whole_day=True) - day == pytest.approx(24 * 3600, abs=1)
    assert read_moment("x", "2026-11-30 00:00") == day
    assert read_moment("x", "1795914936.5") == 1795914936.5


@given(st.text(max_size=30))
def test_any_other_text_is_refused_in_a_sentence(text: str) -> None:
    said = ""
    found = 0.0
    try:
        found = read_moment("--since", text)
    except InputError as error:
        said = str(error)
    assert found >= 0
    assert not said or said.startswith("--since: expected a time such as 2026-11-30")


def test_nothing_was_submitted_before_1970() -> None:
    assert read_moment("x", "1950-01-01") == read_moment("x", "99999999999999999d") == 0
