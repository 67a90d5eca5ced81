"""What is said while films are followed."""

from __future__ import annotations

import pytest

from app.cli.film_progress import REASON_SECONDS, Speaker, _state
from db.films.listing import FilmRow
from film.types import FilmStatus


def a_row(status: FilmStatus, waiting: str | None = None, **fields: object) -> FilmRow:
    """A film of four segments, two of them done."""
    row = FilmRow(
        id="abc-1",
        campaign="abc",
        campaign_name="abc",
        title="A ball",
        status=status,
        progress=0.5,
        frames=48,
        seconds=6.0,
        sound=False,
        segments=4,
        done=2,
        reused=0,
        seconds_left=None,
        waiting=waiting,
        error=None,
        created_at=0.0,
        finished_at=None,
    )
    return row.replace(**fields)


class Heard:
    """A speaker, its clock, and what it said."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lines: list[str] = []
        self.speaker = Speaker(self.lines.append, clock=lambda: self.now)

    def after(self, seconds: float, *rows: FilmRow) -> list[str]:
        """What is said if the films are still like this after `seconds`."""
        self.now += seconds
        self.lines.clear()
        self.speaker.hear(rows)
        return list(self.lines)


WAITING = a_row(FilmStatus.WAITING, "No worker is running; start `longreel worker`")


def test_a_reason_is_said_once_and_only_if_it_lasts() -> None:
    heard = Heard()
    assert heard.after(0, WAITING) == []
    assert heard.after(REASON_SECONDS / 2, WAITING) == []
    said = heard.after(REASON_SECONDS, WAITING, WAITING.replace(id="abc-2"))
    assert said == ["No worker is running; start `longreel worker`."]
    assert heard.after(3600, WAITING) == []


def test_a_reason_that_comes_back_is_said_again() -> None:
    heard = Heard()
    heard.after(0, WAITING)
    assert heard.after(REASON_SECONDS, WAITING)
    assert heard.after(1, a_row(FilmStatus.RENDERING)) == []
    assert heard.after(1, WAITING) == []
    assert heard.after(REASON_SECONDS, WAITING)


def test_reasons_that_pass_by_themselves_are_not_said() -> None:
    heard = Heard()
    later = a_row(FilmStatus.QUEUED, "Its turn comes after other work of gpu-01")
    heard.after(0, later)
    assert heard.after(3600, later) == []


def test_a_database_that_does_not_answer_is_said() -> None:
    heard = Heard()
    heard.after(0)
    assert heard.after(REASON_SECONDS) == ["The database does not answer; waiting for it."]


@pytest.mark.parametrize(
    ("row", "state"),
    [
        (WAITING, "waiting 2/4"),
        (a_row(FilmStatus.RENDERING, "gpu-01 is loading the model"), "loading the model"),
        (a_row(FilmStatus.RENDERING), "rendering 2/4"),
        (a_row(FilmStatus.QUEUED), "rendering 2/4"),
        (a_row(FilmStatus.QUEUED, progress=0.0, done=0), "queued"),
        (a_row(FilmStatus.STITCHING, done=4), "stitching"),
        (a_row(FilmStatus.DELIVERED, done=4), "delivered"),
    ],
)
def test_the_state_beside_a_bar(row: FilmRow, state: str) -> None:
    assert _state(row) == state
