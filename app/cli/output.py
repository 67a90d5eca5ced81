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

from app.cli.log_setup import ensure_logging
from film.errors import (
    DatabaseError,
    InputError,
    LongreelError,
    OrchestrationError,
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


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], right: str = "") -> None:
    """Prints rows under headings; columns named in `right` (space between) align right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    for_people = sys.stdout.isatty()
    table = Table(box=None, pad_edge=False, header_style="bold", expand=for_people)
    for number, column in enumerate(columns):
        cells = [column, *(row[number] for row in rows)]
        last = number == len(columns) - 1
        table.add_column(
            column,
            justify="right" if column in right.split() else "left",
            overflow="ellipsis",
            no_wrap=True,
            # In a narrow window only the last column gives way.
            width=None if last else max(Text.from_markup(cell).cell_len for cell in cells),
            ratio=1 if last and for_people else None,
        )
    for row in rows:
        table.add_row(*map(one_line, row))
    if for_people:
        Console().print(table)
        return
    # For programs, nothing is cut to the width of a window or padded.
    console = Console(width=1000)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        typer.echo(line.rstrip())


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
        usage = isinstance(error, InputError | StoreError | DatabaseError | OrchestrationError)
        say(f"longreel: {error}")
        command.report(str(error))
        raise typer.Exit(USAGE if usage and not command.started else FAILED) from None
    except BrokenPipeError:
        raise typer.Exit(DONE) from None


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """The first Ctrl-C (or SIGTERM) raises `KeyboardInterrupt` and sets the event.

    A second one ends the process at once, which loses no more than a kill.
    """
    asked = threading.Event()

    def stop(number: int, frame: Any) -> None:
        if asked.is_set():
            os._exit(INTERRUPTED)
        asked.set()
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
