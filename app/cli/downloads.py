"""`longreel download` and `sync`: the files of delivered films on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import options
from app.cli.farm_access import acting
from app.cli.log_options import with_log_options
from app.cli.output import (
    DONE,
    FAILED,
    INTERRUPTED,
    SOME_FAILED,
    print_json,
    print_line,
    reporting_errors,
    say,
    stopped_by_signals,
)
from film.types import FilmStatus, counted

if TYPE_CHECKING:
    from app.actions.folders import Synced

Names = Annotated[
    str | None,
    typer.Option(
        "--names",
        metavar="PATTERN",
        help="Names of the files, such as {campaign}/{number:03}-{title}. [id, title, seed, size]",
        show_default=False,
    ),
]


@with_log_options()
def download(
    film_or_campaign: options.Id,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder to put the films into.")
    ] = Path(),
    names: Names = None,
    json: options.Json = False,
) -> None:
    """Download a film, or the films of a campaign: one file each.

    Example: longreel download k3f9x2 -o films
    """
    from app.actions.folders import create_folder, place_in
    from film.errors import StoreError, StoreUnreachableError

    written: list[dict[str, str | None]] = []
    with reporting_errors(), acting() as farm:
        found = farm.deliverables(film_or_campaign, names)
        create_folder(output)
        for film in found:
            if film.status is not FilmStatus.DELIVERED:
                say(f"longreel: {film.id} is {film.status}: there is nothing to download.")
                continue
            path = place_in(output, film.file_name)
            try:
                farm.fetch(film, path)
            except StoreUnreachableError:
                raise
            except StoreError as error:
                say(f"longreel: {film.id}: {error} `longreel requeue {film.id}` makes it again.")
                continue
            written.append({"id": film.id, "path": str(path), "sha256": film.sha256})
            if not json:
                print_line(str(path))
    if json:
        print_json(written)
    all_there = len(written) == len(found)
    raise typer.Exit(DONE if all_there else SOME_FAILED if written else FAILED)


@with_log_options()
def sync(
    film_or_campaign: options.Id,
    folder: Annotated[Path, typer.Argument(help="Folder to put the films into.", metavar="DIR")],
    follow: Annotated[
        bool, typer.Option("--follow", help="Continue until all films are finished.")
    ] = False,
    names: Names = None,
    json: options.Json = False,
) -> None:
    """Fetch those delivered films of a campaign that a folder does not have yet.

    Files that are there and whole are not fetched again, half a file is continued, and nothing is
    removed or replaced.

    Example: longreel sync k3f9x2 films --follow
    """
    from app.actions.folders import create_folder, sync_folder

    def report(synced: Synced) -> None:
        if not json and synced.problem is None and synced.fetched:
            print_line(synced.path)
        if synced.problem:
            say(f"longreel: {synced.id}: {synced.problem}")

    with reporting_errors() as command, acting() as farm:
        farm.deliverables(film_or_campaign, names)
        create_folder(folder)
        command.started = True
        try:
            with stopped_by_signals():
                found = sync_folder(
                    farm, film_or_campaign, folder, names, follow=follow, report=report, note=say
                )
        except KeyboardInterrupt:
            say("Interrupted. The same command continues.")
            raise typer.Exit(INTERRUPTED) from None
    here = [each for each in found if each.problem is None]
    for each in found:
        if each.sha256 is None and not json:
            say(f"longreel: {each.id} is {each.status}: there is nothing to fetch.")
    if json:
        print_json(found)
    else:
        fetched = sum(each.fetched for each in here)
        say(f"{counted(fetched, 'film')} fetched, {len(here)} of {len(found)} are there.")
    whole = len(here) == len(found)
    raise typer.Exit(DONE if whole else SOME_FAILED if here else FAILED)
