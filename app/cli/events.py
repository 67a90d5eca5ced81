"""`longreel events`: the history of films."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from app.cli import options
from app.cli.output import INTERRUPTED, print_json, print_line, reporting_errors

if TYPE_CHECKING:
    from db.events import Event

FOLLOW_SECONDS = 0.5
"""Pause between two looks for events, in seconds."""


def events(
    film_or_campaign: options.Id,
    follow: Annotated[
        bool, typer.Option("--follow", help="Print events until the films are finished.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Print the events of a film, or of the films of a campaign, with every error in full.

    With --follow, --json prints one object a line.

    Example: longreel events k3f9x2-1 --follow
    """
    from db import events as happened
    from db.films import campaigns
    from flows.farm import open_farm

    with reporting_errors():
        database = open_farm().database
        with database.read() as connection:
            campaign = campaigns.of(connection, film_or_campaign)
            found = happened.of(connection, campaign.id, film_or_campaign)
        if not follow:
            _print_events(found, json)
            return
        try:
            last = 0
            while True:
                for event in found:
                    _print_event(event, json)
                    last = event.id
                with database.read() as connection:
                    # Before the events are read, so that the last ones are not missed.
                    over = not campaigns.is_open(connection, film_or_campaign)
                    found = happened.of(connection, campaign.id, film_or_campaign, last)
                if over and not found:
                    return
                if not found:
                    time.sleep(FOLLOW_SECONDS)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


def _print_events(found: list[Event], json: bool) -> None:
    if json:
        print_json([_event_data(event) for event in found])
        return
    for event in found:
        _print_event(event, json)


def _print_event(event: Event, json: bool) -> None:
    if json:
        typer.echo(msgspec.json.encode(_event_data(event)).decode())
        return
    when = options.local_time(event.at)
    print_line(f"{when}  {event.film_id}  {event.kind:<10} {event.message}")
    if event.detail:
        print_line("    " + event.detail.rstrip().replace("\n", "\n    "))


def _event_data(event: Event) -> dict[str, Any]:
    return {
        "film": event.film_id,
        "at": event.at,
        "kind": event.kind,
        "segment": event.segment,
        "message": event.message,
        "detail": event.detail,
    }
