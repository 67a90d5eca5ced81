"""`longreel link`: addresses from which delivered films can be fetched without an account."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli import options
from app.cli.farm_access import acting
from app.cli.output import DONE, FAILED, SOME_FAILED, print_json, reporting_errors, say
from app.times import duration_of
from film.errors import InputError
from film.types import FilmStatus


def link(
    film_or_campaign: options.Id,
    expires: Annotated[
        str, typer.Option(metavar="TIME", help="How long it works: 90s, 10min, 12h or 7d.")
    ] = "1d",
    json: options.Json = False,
) -> None:
    """Print a link to a film, or to each film of a campaign, that needs no account.

    Example: longreel link k3f9x2-1 --expires 12h
    """
    links: list[dict[str, str]] = []
    with reporting_errors(), acting() as farm:
        seconds = read_duration(expires)
        found = farm.deliverables(film_or_campaign)
        for film in found:
            if film.status is not FilmStatus.DELIVERED:
                say(f"longreel: {film.id} is {film.status}: there is nothing to link to.")
                continue
            url = farm.link(film, seconds)
            links.append({"id": film.id, "url": url})
            if not json:
                typer.echo(url)
    if links and links[0]["url"].startswith("file:"):
        say("These links open on this machine only, and do not expire.")
    if json:
        print_json(links)
    raise typer.Exit(DONE if len(links) == len(found) else SOME_FAILED if links else FAILED)


def read_duration(text: str) -> float:
    """Seconds of a duration such as `90s`, `10min`, `12h` or `7d`. Raises `InputError`."""
    seconds = duration_of(text)
    if seconds is None:
        raise InputError(f"--expires is {text!r}; give a time such as 90s, 10min, 12h or 7d.")
    return seconds
