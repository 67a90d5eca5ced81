"""Watching films until they are at their end, with a progress bar or lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from film.types import FilmStatus

if TYPE_CHECKING:
    from db.films import FilmRow
    from flows.wiring import Farm

LOOK_SECONDS = 0.2


def follow(farm: Farm, ids: Sequence[str], check: Callable[[], None]) -> list[FilmRow]:
    """Waits until every film of `ids` is at its end, showing how far they are.

    `check` is called at every look and may raise what ended the work.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=len(ids) > 8,
    ) as progress:
        bars: dict[str, int] = {}
        said: dict[str, str] = {}
        while True:
            rows = _look(farm, ids)
            for row in rows:
                if row.id not in bars:
                    bars[row.id] = int(
                        progress.add_task(row.title, total=1.0, state="", visible=len(ids) <= 20)
                    )
                progress.update(bars[row.id], completed=row.progress, state=_state(row))  # type: ignore[arg-type]
                if not console.is_terminal and said.get(row.id) != _state(row):
                    said[row.id] = _state(row)
                    print(f"{row.id}  {_state(row)}", file=sys.stderr, flush=True)
            if all(row.status.final for row in rows):
                return rows
            check()
            time.sleep(LOOK_SECONDS)


def _look(farm: Farm, ids: Sequence[str]) -> list[FilmRow]:
    from db import films

    with farm.database.read() as connection:
        return films.listing(connection, ids)


def _state(row: FilmRow) -> str:
    if row.status is FilmStatus.RENDERING or (row.status is FilmStatus.QUEUED and row.done):
        return f"rendering, {row.done} of {row.segments} segments"
    return row.status.value
