"""Durations, sizes and places in a film, as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.output import fit_columns
from app.cli.units import age, duration, length, size, timecode


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0 s"), (0.6, "1 s"), (59.4, "59 s"), (59.6, "1 min"), (90, "2 min")),
        *((3569, "59 min"), (3599, "1 h"), (7200, "2 h"), (12_000, "3 h 20 min")),
        *((86_399, "1 d"), (187_200, "2 d 4 h"), (-3, "0 s")),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_an_age_has_one_unit() -> None:
    assert (age(12_000), age(187_200), age(5)) == ("3 h", "2 d", "5 s")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        *((0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (38_647, "39 kB")),
        *((999_499, "999 kB"), (999_600, "1.0 MB"), (1_240_000, "1.2 MB"), (9_960_000, "10 MB")),
        *((340_000_000_000, "340 GB"), (5_000_000_000_000_000_000, "5000 PB")),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_lengths_and_places_in_a_film() -> None:
    assert (length(18), length(725), length(3720)) == ("0:18", "12:05", "1:02:00")
    assert [timecode(s) for s in (16.94, 59.96, 3600.25)] == ["0:16.9", "1:00.0", "1:00:00.2"]


CELLS = st.lists(st.text("ab ", max_size=30), min_size=1, max_size=4)


@given(columns=st.lists(CELLS, min_size=1, max_size=6), width=st.integers(1, 120), data=st.data())
def test_columns_fit_the_window_or_nothing_is_printed_side_by_side(
    columns: list[list[str]], width: int, data: st.DataObject
) -> None:
    cut = data.draw(st.none() | st.integers(1, max(1, len(columns) - 1)))
    cut = cut if cut is not None and cut < len(columns) else None
    widths = fit_columns(columns, width, cut)
    full = [max(len(cell) for cell in cells) for cells in columns]
    if widths is None:
        assert sum(full) + 2 * (len(columns) - 1) > width
        return
    assert sum(widths) + 2 * (len(columns) - 1) <= width
    assert widths[0] == full[0]
    for number, cells in enumerate(columns):
        assert widths[number] <= full[number]
        if number != cut:
            words = [word for cell in cells for word in cell.split()]
            assert widths[number] >= max(map(len, words), default=0)
    if sum(full) + 2 * (len(columns) - 1) <= width:
        assert widths == full


def test_the_column_that_may_be_cut_gives_way_first() -> None:
    columns = [["id", "k3f9x2-1"], ["why", "two words"], ["title", "a long title " * 9]]
    assert fit_columns(columns, 40, 2) == [8, 9, 19]
    assert fit_columns(columns, 31, 2) == [8, 7, 12]
    assert fit_columns(columns, 20, 2) is None
