"""Quiet hours, over midnight and within a day."""

from __future__ import annotations

from datetime import time

import pytest

from film.errors import InputError
from film.quiet import parse_quiet


@pytest.mark.parametrize(
    ("hours", "quiet", "loud"),
    [
        ("22:00-07:00", ["22:00", "23:59", "00:00", "06:59"], ["07:00", "12:00", "21:59"]),
        ("9:30-17:00", ["09:30", "16:59"], ["09:29", "17:00", "00:00"]),
        ("00:00-06:00", ["00:00", "05:59"], ["06:00", "23:59"]),
        ("18:00-00:00", ["18:00", "23:59"], ["00:00", "17:59"]),
    ],
)
def test_they_hold_from_the_first_time_until_the_second(
    hours: str, quiet: list[str], loud: list[str]
) -> None:
    parsed = parse_quiet(hours)
    assert all(parsed.hold(time.fromisoformat(moment)) for moment in quiet)
    assert not any(parsed.hold(time.fromisoformat(moment)) for moment in loud)
    assert parse_quiet(str(parsed)) == parsed


@pytest.mark.parametrize("wrong", ["", "22-7", "25:00-07:00", "22:00", "22:60-07:00", "8:00-8:00"])
def test_anything_else_is_refused(wrong: str) -> None:
    with pytest.raises(InputError, match=r"such as 22:00-07:00"):
        parse_quiet(wrong)
