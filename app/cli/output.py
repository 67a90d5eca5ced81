"""What the commands print: JSON, tables, errors; and the exit codes."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import typer
from rich.cells import cell_len

from app.cli.log_setup import ensure_logging
from film.errors import (
    DatabaseError,
    InputError,
    KeyRefusedError,
    LongreelError,
    OrchestrationError,
    ServerError,
    StoreError,
)
from film.plain_text import one_line, printable
from film.types import FilmStatus, to_json

DONE, FAILED, USAGE, SOME_FAILED, DRAINED, INTERRUPTED = 0, 1, 2, 3, 4, 130
FINAL = (DONE, DRAINED)
"""A worker process that ends with one of these is not started again."""
FINAL_AT_FIRST = (USAGE,)
"""Nor is one that ends with this when it is started first. Later, the store or the database may be
what is missing: it comes back."""

SHOWN = 50
"""Number of films that a command lists if the user does not choose one."""

MARKS = {
    FilmStatus.DELIVERED: "green",
    FilmStatus.FAILED: "red",
    FilmStatus.CANCELLED: "yellow",
    FilmStatus.PAUSED: "yellow",
    FilmStatus.RENDERING: "cyan",
    FilmStatus.STITCHING: "cyan",
    FilmStatus.QUEUED: "default",
    FilmStatus.WAITING: "yellow",
}


def print_json(value: Any) -> None:
    """Prints a value as indented JSON on standard output."""
    data = msgspec.json.format(msgspec.json.encode(to_json(value, order=None)), indent=2)
    typer.echo(data.decode())


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], right: str = "", cut: str = ""
) -> None:
    """Prints rows under headings, their cells in rich's markup.

    Columns named in `right` (space between, `_` in a name with blanks) align right. On a terminal,
    columns without any content are left out, cells wrap at words, and the column `cut` is cut to
    what is left; rows whose words do not fit the window become paragraphs. For programs nothing is
    cut or left out.
    """
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    lines = [[Text.from_markup(one_line(cell)) for cell in row] for row in rows]
    aligned = [name.replace("_", " ") for name in right.split()]
    if not sys.stdout.isatty():
        widths = [_longest(column, lines, n) for n, column in enumerate(columns)]
        console = Console(width=sum(widths) + _GAP * len(widths))
        with console.capture() as captured:
            console.print(_table(columns, lines, widths, aligned, cut))
        for line in captured.get().splitlines():
            typer.echo(line.rstrip())
        return
    filled = [n for n in range(len(columns)) if not n or any(row[n].plain for row in lines)]
    columns = [columns[n] for n in filled]
    lines = [[row[n] for n in filled] for row in lines]
    console = Console()
    fitted = fit_columns(
        [[column, *(row[n].plain for row in lines)] for n, column in enumerate(columns)],
        console.width,
        columns.index(cut) if cut in columns else None,
    )
    if fitted is not None:
        console.print(_table(columns, lines, fitted, aligned, cut))
        return
    for first, *others in lines:
        first.stylize("bold")
        named = zip(columns[1:], others, strict=True)
        rest = [Text(f"{column} ", "dim") + cell for column, cell in named if cell.plain]
        console.print(first)
        console.print(Padding(Text(" · ").join(rest), (0, 0, 0, 2)))


_GAP = 2
"""Blanks between columns."""
_LEAST_CUT = 12
"""Narrowest width of a column that is cut."""


def _longest(column: str, lines: Sequence[Sequence[Any]], number: int) -> int:
    return max([cell_len(column), *(int(row[number].cell_len) for row in lines)])


def fit_columns(
    columns: Sequence[Sequence[str]], width: int, cut: int | None = None
) -> list[int] | None:
    """The widths of columns, given by all of their cells, in a window of `width` cells; None if
    they do not fit.

    The first column is never narrowed, and no column below its longest word, except the one whose
    number is `cut`: it gives way first.
    """
    full = [max(cell_len(cell) for cell in cells) for cells in columns]
    least = [
        max((cell_len(word) for cell in cells for word in cell.split()), default=0)
        for cells in columns
    ]
    least[0] = full[0]
    if cut is not None:
        least[cut] = min(full[cut], _LEAST_CUT)
    room = width - _GAP * (len(columns) - 1)
    if sum(least) > room:
        return None
    widths = full
    if cut is not None:
        widths[cut] = max(least[cut], min(widths[cut], room - sum(widths) + widths[cut]))
    while sum(widths) > room:
        widest = max(range(len(widths)), key=lambda n: (widths[n] > least[n], widths[n]))
        widths[widest] -= 1
    return widths


def _table(
    columns: Sequence[str],
    lines: Sequence[Sequence[Any]],
    widths: Sequence[int],
    right: Sequence[str],
    cut: str,
) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for column, width in zip(columns, widths, strict=True):
        table.add_column(
            column,
            justify="right" if column in right else "left",
            width=width,
            no_wrap=column == cut,
            overflow="ellipsis" if column == cut else "fold",
        )
    for line in lines:
        table.add_row(*line)
    return table


def coloured(status: FilmStatus) -> str:
    """A status in rich's markup."""
    return f"[{MARKS[status]}]{status}[/]"


def say(text: str) -> None:
    """Prints a line for people on standard error, so that output stays clean for programs."""
    typer.echo(printable(text), err=True)


def print_line(text: str = "") -> None:
    """Prints what a command was asked for on standard output, harmless for a terminal."""
    typer.echo(printable(text))


@dataclass
class Command:
    """A command that is running."""

    started: bool = False
    """True once an error does not mean wrong usage any more."""
    report: Callable[[str], None] = lambda _: None
    """Called with the error that ends the command, if another process started it."""


_BEFORE_STARTING = (InputError, StoreError, DatabaseError, OrchestrationError, ServerError)
"""Errors that the user can correct, unless something has started."""


@contextmanager
def reporting_errors() -> Iterator[Command]:
    """Turns our errors into one sentence on standard error and the exit code.

    2 for errors that the user can correct before anything starts, 1 for failures after that.
    """
    command = Command()
    try:
        ensure_logging()
        yield command
    except LongreelError as error:
        usage = isinstance(error, _BEFORE_STARTING)
        say(f"longreel: {error}")
        command.report(str(error))
        early = usage and not command.started
        raise typer.Exit(USAGE if early or isinstance(error, KeyRefusedError) else FAILED) from None
    except BrokenPipeError:
        raise typer.Exit(DONE) from None


@contextmanager
def stopped_by_signals(*, quiet: bool = False) -> Iterator[threading.Event]:
    """The first Ctrl-C (or SIGTERM) raises `KeyboardInterrupt` and sets the event.

    It is confirmed in a line, unless `quiet`: the process that started this one does so. A second
    one ends the process at once, which loses no more than a kill.
    """
    asked = threading.Event()

    def stop(number: int, frame: Any) -> None:
        if asked.is_set():
            os._exit(INTERRUPTED)
        asked.set()
        if not quiet:
            say("\nStopping… (again to stop at once)")
        raise KeyboardInterrupt

    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    # One that is ignored stays ignored: nohup relies on it, and scripts that start commands in the
    # background.
    caught = [number for number in wanted if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in caught}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def say_what_stays_on() -> None:
    """Names the Prefect server that keeps running, if this command started it."""
    from flows.prefect_runs import prefect_server

    url = prefect_server.started_here()
    if url:
        say(f"The Prefect dashboard keeps running at {url}; `longreel dashboard --stop` stops it.")


def code_of(statuses: Sequence[FilmStatus]) -> int:
    """The exit code for finished films: all, some or none delivered."""
    delivered = [status is FilmStatus.DELIVERED for status in statuses]
    if all(delivered):
        return DONE
    return SOME_FAILED if any(delivered) else FAILED
