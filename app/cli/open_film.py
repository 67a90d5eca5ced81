"""`longreel open`: a delivered film in the player of this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.output import FAILED, print_line, reporting_errors, say

LINK_SECONDS = 24 * 3600.0


def open_film(
    film: Annotated[str, typer.Argument(help="Id of a film.", metavar="ID")],
) -> None:
    """Open a delivered film in the player or browser of this machine.

    Example: longreel open k3f9x2-1
    """
    from db.films import campaigns, films
    from film.errors import InputError
    from flows.deliveries import film_file_name
    from flows.farm import open_farm

    with reporting_errors():
        farm = open_farm()
        with farm.database.read() as connection:
            ids = campaigns.resolve(connection, film)
            if len(ids) > 1:
                raise InputError(f"{film} is a campaign; give the id of one of its films.")
            found = films.get(connection, ids[0])
        if found.delivery is None:
            raise InputError(f"{found.id} is {found.status}: there is nothing to open yet.")
        url = farm.store.link(found.delivery.key, LINK_SECONDS, film_file_name(found))
    print_line(url)
    if typer.launch(url) != 0:
        say("No player could be started here; open the address in one.")
        raise typer.Exit(FAILED)
