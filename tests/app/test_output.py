"""What commands print: a line for each row, and nothing that a terminal acts on."""

from __future__ import annotations

import pytest

from app.cli.output import print_line, print_table, say


@pytest.mark.parametrize("forced", [True, False])
def test_a_row_is_one_line_without_padding(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, forced: bool
) -> None:
    if forced:
        monkeypatch.setenv("FORCE_COLOR", "1")
    print_table(["id", "title"], [["k-1", "two\nlines"], ["k-2", "\x1b[31mred"]])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].endswith("two lines")
    assert lines[2].endswith("?[31mred")
    assert max(map(len, lines)) < 60


def test_lines_are_printed_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    print_line("A \x1b]0;forged\x07 title")
    say("Note: \x9b2J")
    printed = capsys.readouterr()
    assert printed.out == "A ?]0;forged? title\n"
    assert printed.err == "Note: ?2J\n"
