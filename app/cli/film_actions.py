"""`longreel cancel` and `requeue`."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import options
from app.cli.confirm import Yes, confirm
from app.cli.farm_access import acting
from app.cli.output import SHOWN, print_json, print_line, reporting_errors

if TYPE_CHECKING:
    from app.actions.protocol import Actions


def cancel(film_or_campaign: options.Id, yes: Yes = False, json: options.Json = False) -> None:
    """Cancel a film, or the films of a campaign. Rendered segments are kept.

    Example: longreel cancel k3f9x2
    """
    with reporting_errors(), acting() as farm:
        unfinished = farm.count_open(film_or_campaign)
        if unfinished > 1:
            confirm(f"Cancel {unfinished} films of {film_or_campaign}?", yes)
        _report(farm, film_or_campaign, farm.cancel(film_or_campaign), "cancelled", json)


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
    with reporting_errors(), acting() as farm:
        again = farm.requeue(film_or_campaign, failed_only=failed)
        _report(farm, film_or_campaign, again, "queued again", json)


def _report(farm: Actions, name: str, ids: Collection[str], done: str, json: bool) -> None:
    """Prints what became of each film of `name`."""
    changed, rows = set(ids), farm.films_of(name)
    if json:
        print_json([{"id": r.id, "status": r.status, "changed": r.id in changed} for r in rows])
        return
    for row in rows[:SHOWN]:
        as_it_was = f"stays {row.status}"
        print_line(f"{row.id}  {done if row.id in changed else as_it_was}")
    if len(rows) > SHOWN:
        print_line(f"… {len(rows)} films in all, {len(changed)} {done}")
