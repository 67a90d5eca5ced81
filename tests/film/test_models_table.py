"""docs/models.md agrees with the rows of the models."""

from __future__ import annotations

from film.families import MODELS
from scripts.models_table import PAGE, table, with_table


def test_the_page_has_the_table_of_the_rows() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_table(page), "python -m scripts.models_table writes it anew"


def test_a_line_says_what_its_row_says() -> None:
    heading, _, *lines = table().splitlines()
    assert len(lines) == len(MODELS)
    assert {line.count(" | ") for line in lines} == {heading.count(" | ")}
    (line,) = [line for line in lines if line.startswith("| `skyreels-v2-1.3b` |")]
    assert "960x544 or 544x960; others by 16 | 21 to 97 by 4; long: 817 | 24 |" in line
    assert "| tail_window, last_frame, native_long, cut | no | [Skywork licence](" in line


def test_an_old_table_is_replaced_and_nothing_else() -> None:
    page = "# Models\n\n| model | more |\n|---|---|\n| old | row |\n\nThe end.\n"
    assert with_table(page) == f"# Models\n\n{table()}\nThe end.\n"
