"""Following films until they are finished, with progress bars or lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from app.cli.units import duration
from film.errors import LongreelError
from film.plain_text import one_line
from film.types import FilmStatus

if TYPE_CHECKING:
    from db.films.listing import FilmRow

LOOK_SECONDS = 0.2
REASON_SECONDS = 2.0
"""How long films wait for a reason before it is said; a worker that starts takes less."""


def follow(
    look: Callable[[], list[FilmRow]],
    check: Callable[[], None],
    part: str = "database",
    pause: float = LOOK_SECONDS,
) -> list[FilmRow]:
    """Waits until every film that `look` finds is finished; shows the progress.

    While `look` raises a transient error, the `part` that is away is waited for. `check` is called
    at every look, after `pause` seconds, and may raise the reason to stop.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Column

    console = Console(stderr=True)
    # Colours may be asked for elsewhere too; bars are for a terminal only.
    bars_wanted = console.is_terminal and sys.stderr.isatty()
    with Progress(
        TextColumn(
            "{task.description}",
            markup=False,
            table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
        ),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[state]}", table_column=Column(no_wrap=True, min_width=16)),
        TimeElapsedColumn(table_column=Column(no_wrap=True, min_width=7)),
        console=console,
        expand=True,
        disable=not bars_wanted,
    ) as progress:
        bars: dict[str, int] = {}
        said: dict[str, str] = {}
        rows: list[FilmRow] = []
        speaker = Speaker(lambda line: console.print(line, markup=False, highlight=False), part)
        while True:
            found = _look(look)
            speaker.hear(found)
            rows = found or rows
            for row in rows:
                if row.id not in bars:
                    bars[row.id] = int(
                        progress.add_task(
                            one_line(row.title), total=1.0, state="", visible=len(bars) < 20
                        )
                    )
                progress.update(bars[row.id], completed=row.progress, state=_state_and_left(row))  # type: ignore[arg-type]
                if not bars_wanted and said.get(row.id) != _state(row):
                    said[row.id] = _state(row)
                    print(f"{row.id}  {_state(row)}", file=sys.stderr, flush=True)
            if rows and all(row.status.final for row in rows):
                return rows
            check()
            time.sleep(pause * (1 + len(rows) / 100))


class Speaker:
    """Says why films wait: each reason once, when it has held for a while."""

    def __init__(
        self,
        say: Callable[[str], None],
        part: str = "database",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say = say
        self._part = part
        self._clock = clock
        self._since: dict[str, float] = {}
        self._said: set[str] = set()

    def hear(self, rows: Sequence[FilmRow]) -> None:
        """`rows` are the films as they are now; none if they cannot be asked for."""
        reasons = (
            {row.waiting for row in rows if row.waiting and row.status is FilmStatus.WAITING}
            if rows
            else {f"The {self._part} does not answer; waiting for it"}
        )
        now = self._clock()
        self._since = {reason: self._since.get(reason, now) for reason in sorted(reasons)}
        self._said &= reasons
        for reason, since in self._since.items():
            if now - since >= REASON_SECONDS and reason not in self._said:
                self._said.add(reason)
                self._say(f"{reason}.")


def _look(look: Callable[[], list[FilmRow]]) -> list[FilmRow]:
    """The films; none while an outage lasts, which does not end the wait."""
    try:
        return look()
    except LongreelError as error:
        if not error.transient:
            raise
        return []


def _state_and_left(row: FilmRow) -> str:
    """`rendering 3/8, 4 min`: its state, and about how long it takes."""
    left = "" if row.seconds_left is None else f", {duration(row.seconds_left)}"
    return _state(row) + left


def _state(row: FilmRow) -> str:
    if row.status is FilmStatus.WAITING:
        return f"waiting {row.done}/{row.segments}"
    if row.status is FilmStatus.RENDERING and row.waiting:
        return "loading the model"
    under_way = row.status in (FilmStatus.RENDERING, FilmStatus.QUEUED)
    if under_way and row.done < row.segments and (row.progress or row.status != FilmStatus.QUEUED):
        return f"rendering {row.done}/{row.segments}"
    return row.status.value
