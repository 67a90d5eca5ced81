"""`longreel cancel`, `requeue` and `download`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import options
from app.cli.confirm import Yes, confirm
from app.cli.log_options import with_log_options
from app.cli.output import (
    DONE,
    FAILED,
    SHOWN,
    SOME_FAILED,
    print_json,
    print_line,
    reporting_errors,
    say,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


def cancel(film_or_campaign: options.Id, yes: Yes = False, json: options.Json = False) -> None:
    """Cancel a film, or the films of a campaign. Rendered segments are kept.

    Example: longreel cancel k3f9x2
    """
    from db.films import campaigns, user_actions
    from flows.farm import open_farm

    with reporting_errors(), open_farm().database.read() as connection:
        unfinished = campaigns.count_open(connection, film_or_campaign)
    if unfinished > 1:
        confirm(f"Cancel {unfinished} films of {film_or_campaign}?", yes)
    _change(film_or_campaign, user_actions.cancel, "cancelled", json)


def requeue(
    film_or_campaign: options.Id,
    failed: Annotated[
        bool, typer.Option("--failed", help="Failed films only, not cancelled ones.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Queue failed and cancelled films again, and delivered ones whose file is missing or damaged.

    Segments that are rendered are not rendered again.

    Example: longreel requeue k3f9x2 --failed
    """
    from db.films import user_actions

    with reporting_errors():
        lost = [] if failed else _lost(film_or_campaign)

        def again(connection: Connection, name: str) -> list[str]:
            reopened = [film_id for film_id in lost if user_actions.reopen(connection, film_id)]
            return reopened + user_actions.requeue(connection, name, failed_only=failed)

        _change(film_or_campaign, again, "queued again", json)


def _lost(name: str) -> list[str]:
    """The delivered films of `name` whose files are missing from the store or damaged."""
    from db.films import films
    from flows.deliveries import is_whole
    from flows.farm import open_farm

    farm = open_farm()
    with farm.database.read() as connection:
        delivered = films.deliveries(connection, name)
    try:
        scratch = farm.scratch.open()
        return [
            film_id
            for film_id, delivery in delivered
            if not is_whole(farm.store, delivery, scratch)
        ]
    finally:
        farm.scratch.close()


def _change(
    name: str, change: Callable[[Connection, str], list[str]], done: str, json: bool
) -> None:
    from db.films import campaigns, listing
    from flows.farm import open_farm

    with reporting_errors():
        farm = open_farm()
        with farm.database.write() as connection:
            campaigns.of(connection, name)  # raises `NotFoundError` if it does not exist
            changed = set(change(connection, name))
        with farm.database.read() as connection:
            rows = listing.films_of(connection, name)
    if json:
        print_json([{"id": r.id, "status": r.status, "changed": r.id in changed} for r in rows])
        return
    for row in rows[:SHOWN]:
        as_it_was = f"stays {row.status}"
        print_line(f"{row.id}  {done if row.id in changed else as_it_was}")
    if len(rows) > SHOWN:
        print_line(f"… {len(rows)} films in all, {len(changed)} {done}")


@with_log_options()
def download(
    film_or_campaign: options.Id,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder to put the films into.")
    ] = Path(),
    json: options.Json = False,
) -> None:
    """Download a film, or the films of a campaign: one file each.

    Example: longreel download k3f9x2 -o films
    """
    from film.errors import InputError, StoreError, StoreUnreachableError
    from flows.deliveries import fetch_film, named_films
    from flows.farm import open_farm

    written: list[dict[str, str]] = []
    with reporting_errors():
        farm = open_farm()
        with farm.database.read() as connection:
            found = named_films(connection, film_or_campaign)
        if output.exists() and not output.is_dir():
            raise InputError(f"{output} is a file; give -o a folder.")
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"The folder {output} cannot be created: {error.strerror}.") from None
        for film, file_name in found:
            if film.delivery is None:
                say(f"longreel: {film.id} is {film.status}: there is nothing to download.")
                continue
            path = output / file_name
            try:
                fetch_film(farm.store, film.delivery, path)
            except StoreUnreachableError:
                raise
            except StoreError as error:
                say(f"longreel: {film.id}: {error} `longreel requeue {film.id}` makes it again.")
                continue
            written.append({"id": film.id, "path": str(path), "sha256": film.delivery.sha256})
            if not json:
                print_line(str(path))
    if json:
        print_json(written)
    all_there = len(written) == len(found)
    raise typer.Exit(DONE if all_there else SOME_FAILED if written else FAILED)
