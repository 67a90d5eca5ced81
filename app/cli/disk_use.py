"""`longreel usage`, `rm` and `clean`: what is in the store, and removing what is not needed."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli import options
from app.cli.confirm import Yes, confirm
from app.cli.farm_access import acting
from app.cli.log_options import with_log_options
from app.cli.output import print_json, print_line, print_table, reporting_errors
from app.cli.units import size
from film.types import counted


def usage(json: options.Json = False) -> None:
    """Show how much of the store each campaign takes up, newest first.

    A take that several campaigns share counts in each of them.

    Example: longreel usage
    """
    from rich.markup import escape

    with reporting_errors(), acting() as farm:
        report = farm.usage()
    rows, all_takes = report.campaigns, report.takes_bytes
    films = sum(row.films_bytes for row in rows)
    if json:
        print_json({"campaigns": rows, "films_bytes": films, "takes_bytes": all_takes})
        return
    print_table(
        ("campaign", "films", "size", "takes", "size of takes", "name"),
        [
            [
                row.campaign,
                str(row.films),
                size(row.films_bytes),
                str(row.takes),
                size(row.takes_bytes),
                escape(row.name),
            ]
            for row in rows
        ],
        right="films size takes size_of_takes",
        cut="name",
    )
    print_line(f"\nFilms: {size(films)}. Takes: {size(all_takes)}, each counted once.")


@with_log_options()
def rm(
    film_or_campaign: options.Id,
    yes: Yes = False,
    json: options.Json = False,
) -> None:
    """Remove a finished film, or the films of a campaign, from the list and the store.

    Rendered segments stay for other films; `longreel clean` removes those that none needs.

    Example: longreel rm k3f9x2
    """
    with reporting_errors(), acting() as farm:
        found = farm.campaign_of(film_or_campaign)
        if film_or_campaign == found.campaign.id and found.films.total > 1:
            confirm(f"Remove {counted(found.films.total, 'film')} of {film_or_campaign}?", yes)
        removed = farm.remove(film_or_campaign)
    if json:
        print_json(removed)
    else:
        print_line(f"Removed {counted(len(removed.film_ids), 'film')}.")


@with_log_options()
def clean(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")
    ] = False,
    finished: Annotated[
        bool,
        typer.Option(
            "--finished",
            help="Also the segments of finished films. These stay, but a changed one is rendered "
            "from the beginning.",
        ),
    ] = False,
    json: options.Json = False,
) -> None:
    """Remove from the store what no film needs.

    That is segments that no film has, films that were removed, and pictures and LoRAs that no film
    refers to. What was written within a day stays, since its film may not be recorded yet.

    Example: longreel clean --dry-run
    """
    with reporting_errors() as command, acting() as farm:
        farm.check()
        command.started = True
        found = farm.clean(finished=finished, dry_run=dry_run)
    if json:
        print_json(found)
        return
    done = "Would remove" if dry_run else "Removed"
    old = counted(found.expired_films, "film")
    expired = f"{old} kept for longer than LONGREEL_KEEP_FILMS, " if found.expired_films else ""
    print_line(
        f"{done} {expired}{counted(found.takes, 'file')} of takes, {counted(found.films, 'film')}, "
        f"{counted(found.uploads, 'upload')}: {size(found.size_bytes)}."
    )
