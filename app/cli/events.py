"""`longreel events`: the history of films."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from app.cli import options
from app.cli.farm_access import acting
from app.cli.output import INTERRUPTED, print_json, print_line, reporting_errors, say
from film.errors import LongreelError

if TYPE_CHECKING:
    from app.actions.protocol import Actions
    from app.actions.values import History
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
    with reporting_errors() as command, acting() as farm:
        found = farm.history(film_or_campaign)
        if not follow:
            _print_events(found.events, json)
            return
        command.started = True
        try:
            _follow(farm, film_or_campaign, found, json)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


def _follow(farm: Actions, name: str, found: History, json: bool) -> None:
    """Prints events until the films are finished; a part that is away is waited for."""
    last, said = 0, False
    while True:
        for event in found.events:
            _print_event(event, json)
            last = event.id
        if not (found.open or found.events):
            return
        if not found.events:
            time.sleep(max(FOLLOW_SECONDS, farm.pause))
        try:
            found, said = farm.history(name, last), False
        except LongreelError as error:
            if not error.transient:
                raise
            if not said:
                say(f"The {farm.part} does not answer; waiting for it.")
            found, said = found.replace(events=(), open=True), True


def _print_events(found: Sequence[Event], json: bool) -> None:
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
