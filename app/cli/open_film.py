"""`longreel open`: a delivered film in the player of this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.farm_access import acting
from app.cli.output import FAILED, print_line, reporting_errors, say
from film.errors import InputError
from film.types import FilmStatus

if TYPE_CHECKING:
    from app.actions.protocol import Actions
    from app.actions.values import Deliverable


def open_film(
    film: Annotated[str, typer.Argument(help="Id of a film.", metavar="ID")],
) -> None:
    """Open a delivered film in the player or browser of this machine.

    Example: longreel open k3f9x2-1
    """
    with reporting_errors(), acting() as farm:
        found = farm.deliverables(film)
        if len(found) > 1:
            raise InputError(f"{film} is a campaign; give the id of one of its films.")
        if found[0].status is not FilmStatus.DELIVERED:
            raise InputError(f"{found[0].id} is {found[0].status}: there is nothing to open yet.")
        url = farm.address_of(found[0]) or _fetched(farm, found[0])
    print_line(url)
    if typer.launch(url) != 0:
        say("No player could be started here; open the address in one.")
        raise typer.Exit(FAILED)


def _fetched(farm: Actions, film: Deliverable) -> str:
    """The address of its file in a temporary folder, which stays for the player."""
    path = Path(tempfile.mkdtemp(prefix="longreel-")) / Path(film.file_name).name
    farm.fetch(film, path)
    return path.as_uri()
