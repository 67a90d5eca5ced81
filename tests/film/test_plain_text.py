"""Text from users cannot move the cursor, colour lines or forge them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from film.plain_text import one_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("A red ball", "A red ball"),
        ("Müller's 红色的球 🎈 e\u0301", "Müller's 红色的球 🎈 e\u0301"),
        ("\x1b[31mred\x1b[0m", "?[31mred?[0m"),
        ("\x9b31mred", "?31mred"),
        ("back\b\b\bspace\x07", "back???space?"),
        ("safe\u202egpj.exe", "safe?gpj.exe"),
        ("two\nlines\tof text", "two\nlines\tof text"),
        ("over\rwritten", "over?written"),
    ],
)
def test_only_what_can_be_printed_is(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_nothing_that_a_terminal_acts_on_is_left(text: str) -> None:
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert not any(unicodedata.category(character) == "Cc" for character in line)
