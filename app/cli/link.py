"""`longreel link`: addresses from which delivered films can be fetched without an account."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from app.cli import options
from app.cli.output import DONE, FAILED, SOME_FAILED, print_json, reporting_errors, say

_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 24 * 3600.0}
_DURATION = re.compile(rf"(\d+(?:\.\d+)?)\s*({'|'.join(_UNITS)})")


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
    from flows.deliveries import named_films
    from flows.farm import open_farm

    links: list[dict[str, str]] = []
    with reporting_errors():
        seconds = read_duration(expires)
        farm = open_farm()
        with farm.database.read() as connection:
            found = named_films(connection, film_or_campaign)
        for film, file_name in found:
            if film.delivery is None:
                say(f"longreel: {film.id} is {film.status}: there is nothing to link to.")
                continue
            url = farm.store.link(film.delivery.key, seconds, file_name)
            links.append({"id": film.id, "url": url})
            if not json:
                typer.echo(url)
        if farm.store.url.startswith("file:") and links:
            say("These links open on this machine only, and do not expire.")
    if json:
        print_json(links)
    raise typer.Exit(DONE if len(links) == len(found) else SOME_FAILED if links else FAILED)


def read_duration(text: str) -> float:
    """Seconds of a duration such as `90s`, `10min`, `12h` or `7d`. Raises `InputError`."""
    from film.errors import InputError

    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise InputError(f"--expires is {text!r}; give a time such as 90s, 10min, 12h or 7d.")
    return float(match[1]) * _UNITS[match[2]]
