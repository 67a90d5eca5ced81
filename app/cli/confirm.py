"""Questions before something that cannot be undone."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from app.cli.output import FAILED, say

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


def confirm(question: str, yes: bool) -> None:
    """Asks on a terminal; ends the command if the answer is no. Programs are not asked."""
    if yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    if not typer.confirm(question, err=True):
        say("Nothing was changed.")
        raise typer.Exit(FAILED)
