"""`longreel submit`: a campaign of many films for the workers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import options
from app.cli.log_options import with_log_options
from app.cli.output import DONE, INTERRUPTED, code_of, print_json, reporting_errors, say
from film.errors import InputError
from film.types import Campaign, counted

if TYPE_CHECKING:
    from flows.farm import Farm

_ENDINGS = {".yaml", ".yml", ".jsonl", ".csv"}


@with_log_options()
def submit(
    campaign: Annotated[Path, typer.Argument(help="A campaign: .yaml, .jsonl or .csv.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and write nothing.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the films are finished.")
    ] = False,
    priority: options.Priority = None,
    deadline: options.Deadline = None,
    max_workers: options.MaxWorkers = None,
    tags: options.Tags = None,
    json: options.Json = False,
) -> None:
    """Submit a campaign of many films; workers render it.

    Example: longreel submit autumn.yaml --dry-run
    """
    from app.cli.plan import print_plans
    from db.films import listing
    from film.reading.campaign import with_wishes
    from flows.farm import open_farm

    wishes = {
        "priority": priority,
        "deadline": deadline,
        "max_workers": max_workers,
        "tags": tags,
    }
    with reporting_errors() as command:
        read = with_wishes(_read(campaign), wishes)
        farm = open_farm(create=False)
        if dry_run:
            print_plans(farm, read, json)
            return
        from flows.submission.submit import submit as submit_campaign

        ids = submit_campaign(farm, read)
        command.started = True
        campaign_id = ids[0].rpartition("-")[0]
        say(f"{read.name}: {counted(len(ids), 'film')} submitted")
        if wait:
            _wait(farm, campaign_id)
        with farm.database.read() as connection:
            rows = listing.films_of(connection, campaign_id)
    if json:
        print_json({"campaign": campaign_id, "name": read.name, "films": rows})
    elif not wait:
        typer.echo(campaign_id)
        say(f"Follow with `longreel show {campaign_id}`; `longreel worker` renders it.")
    raise typer.Exit(code_of([row.status for row in rows]) if wait else DONE)


def _read(path: Path) -> Campaign:
    from film.reading.campaign import read_campaign
    from flows.model_catalog.resolve_name import naming
    from flows.submission import image_uploads, lora_uploads

    if path.suffix.lower() not in _ENDINGS:
        raise InputError(f"{path} is not a campaign: its name must end in .yaml, .jsonl or .csv.")
    text = options.read_file(path)
    campaign = read_campaign(text, str(path), path.stem, naming(path.parent))
    films = image_uploads.located(campaign.films, path.parent)
    return campaign.replace(films=lora_uploads.located(films, path.parent))


def _wait(farm: Farm, campaign_id: str) -> None:
    from app.cli.film_progress import follow

    say(f"Following {campaign_id}. Ctrl-C stops following; the films continue.")
    try:
        follow(farm, campaign_id, lambda: None)
    except KeyboardInterrupt:
        say("\nStopped following; the films continue.")
        raise typer.Exit(INTERRUPTED) from None
