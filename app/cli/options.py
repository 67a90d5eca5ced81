"""Options that several commands share, and how times and files are read."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from film.errors import InputError

Id = Annotated[str, typer.Argument(help="Id of a film, or of a campaign.", metavar="ID")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Priority = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="Higher is rendered sooner. [the file's, or 0]",
        show_default=False,
    ),
]
Deadline = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help='As "2026-11-30 18:00"; among equals the nearest is rendered first. [the file\'s]',
        show_default=False,
    ),
]
MaxWorkers = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="Most segments rendered at the same time. [the file's]",
        show_default=False,
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="GPU time that it may use in all, such as 90min or 10h. [the file's, or no limit]",
        show_default=False,
    ),
]
OverBudget = Annotated[
    str | None,
    typer.Option(
        metavar="ACTION",
        help="What happens when the budget is used: warn, stop or cancel. [the file's, or stop]",
        show_default=False,
    ),
]
Tags = Annotated[
    str | None,
    typer.Option(
        metavar="TAGS",
        help="Comma-separated tags that a worker must offer. [the file's]",
        show_default=False,
    ),
]


def local_time(at: float) -> str:
    """Seconds since 1970 as people read them, in local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def read_file(path: Path) -> str:
    """The text of a file. Raises `InputError` if it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
