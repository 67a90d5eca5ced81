"""`longreel submit`: a campaign of many films for the workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import options
from app.cli.campaign_files import read_films
from app.cli.farm_access import acting
from app.cli.film_options import FilmsOrPrompt, with_film_options
from app.cli.log_options import with_log_options
from app.cli.output import DONE, INTERRUPTED, code_of, print_json, reporting_errors, say
from film.types import FilmStatus, counted

if TYPE_CHECKING:
    from app.actions.protocol import Actions
    from db.films.listing import FilmRow

SHOWN_NOTICES = 10


@with_log_options()
@with_film_options
def submit(
    films_or_prompt: FilmsOrPrompt,
    chosen: dict[str, Any],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and write nothing.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the films are finished.")
    ] = False,
    priority: options.Priority = None,
    deadline: options.Deadline = None,
    max_workers: options.MaxWorkers = None,
    budget: options.Budget = None,
    over_budget: options.OverBudget = None,
    tags: options.Tags = None,
    json: options.Json = False,
) -> None:
    """Submit a campaign of many films, or one film; workers render it.

    Example: longreel submit autumn.yaml --dry-run
    """
    from app.cli.plan import print_plans
    from film.reading.campaign import with_wishes

    wishes = {
        "priority": priority,
        "deadline": deadline,
        "max_workers": max_workers,
        "budget": budget,
        "over_budget": over_budget,
        "tags": tags,
    }
    with reporting_errors() as command:
        read = with_wishes(read_films(films_or_prompt, chosen), wishes)
        with acting(create=False) as farm:
            if dry_run:
                print_plans(farm, read, json)
                return
            submitted = farm.submit(read)
            command.started = True
            campaign_id, rows = submitted.campaign_id, submitted.films
            say_what_was_submitted(read.name, rows, submitted.notices)
            if wait:
                rows = tuple(_wait(farm, campaign_id))
                _say_how_it_ended(campaign_id, rows)
    if json:
        print_json({"campaign": campaign_id, "name": read.name, "films": rows})
    elif not wait:
        typer.echo(campaign_id)
        say(f"Follow with `longreel show {campaign_id}`; `longreel worker` renders it.")
    raise typer.Exit(code_of([row.status for row in rows]) if wait else DONE)


def say_what_was_submitted(name: str, rows: Sequence[FilmRow], notices: Mapping[str, int]) -> None:
    """Prints how much there is to render, and what users should know before it is."""
    segments, done = sum(row.segments for row in rows), sum(row.done for row in rows)
    there = f", {done} of them rendered before" if done else ""
    say(f"{name}: {counted(len(rows), 'film')} submitted, {counted(segments, 'segment')}{there}")
    for notice, count in list(notices.items())[:SHOWN_NOTICES]:
        of_films = f" ({count} of {len(rows)} films)" if len(rows) > 1 else ""
        say(f"Note{of_films}: {notice}")
    if len(notices) > SHOWN_NOTICES:
        say(f"… {len(notices)} notes in all; `longreel show FILM` has those of each film.")


def _say_how_it_ended(campaign_id: str, rows: Sequence[FilmRow]) -> None:
    delivered = sum(row.status is FilmStatus.DELIVERED for row in rows)
    say(f"{campaign_id}: {delivered} of {counted(len(rows), 'film')} delivered")
    if delivered:
        say(f"`longreel download {campaign_id}` fetches them.")


def _wait(farm: Actions, campaign_id: str) -> list[FilmRow]:
    from app.cli.film_progress import follow

    say(f"Following {campaign_id}. Ctrl-C stops following; the films continue.")
    try:
        return follow(lambda: farm.films_of(campaign_id), lambda: None, farm.part, farm.pause)
    except KeyboardInterrupt:
        say("\nStopped following; the films continue.")
        raise typer.Exit(INTERRUPTED) from None
