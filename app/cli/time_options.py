"""The options `--since` and `--until`, and durations."""

from __future__ import annotations

from typing import Annotated

import typer

from app.times import read_moment

Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help='Submitted from then: "2026-11-30 18:00", 2026-11-30, or 12h or 7d ago. [all]',
        show_default=False,
    ),
]
Until = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Submitted until then, likewise. [all]", show_default=False),
]


def between(since: str | None, until: str | None) -> tuple[float | None, float | None]:
    """The two times in seconds since 1970, None for one that is not given. Raises `InputError`."""
    return (
        read_moment("--since", since) if since else None,
        read_moment("--until", until, whole_day=True) if until else None,
    )
