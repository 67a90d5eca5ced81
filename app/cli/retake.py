"""`longreel retake`: scenes of a film rendered again with other seeds."""

from __future__ import annotations

import secrets
from typing import Annotated

import typer

from app.cli.log_options import with_log_options
from app.cli.output import print_json, reporting_errors, say
from app.cli.submit import say_what_was_submitted
from film.types import Campaign

MOST_SEED = 2**31


@with_log_options()
def retake(
    film: Annotated[str, typer.Argument(help="Id of a film.", metavar="ID")],
    scene: Annotated[
        list[int],
        typer.Option(metavar="NUMBER", help="Scene to render again; may be repeated.", min=1),
    ],
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER", help="Seed for these scenes. [random]", min=0, max=MOST_SEED - 1
        ),
    ] = None,
    json: bool = typer.Option(False, "--json", help="Print JSON instead of text."),
) -> None:
    """Submit a film again with another seed for some of its scenes.

    Only these scenes, and those that continue them, are rendered; the first film stays.

    Example: longreel retake k3f9x2-1 --scene 7
    """
    from db.films import campaigns, films, listing
    from film.errors import InputError
    from flows.farm import open_farm
    from flows.submission.retake import retaken
    from flows.submission.submit import submit as submit_campaign

    with reporting_errors() as command:
        farm = open_farm()
        with farm.database.read() as connection:
            campaign = campaigns.of(connection, film)
            if campaign.id == film:
                raise InputError(f"{film} is a campaign; give the id of one of its films.")
            found = films.get(connection, film)
        chosen = secrets.randbelow(MOST_SEED) if seed is None else seed
        request = retaken(found.request, found.plan, dict.fromkeys(scene, chosen))
        again = Campaign(
            name=f"Retake of {film}",
            films=(request,),
            priority=campaign.priority,
            deadline=campaign.deadline,
            max_workers=campaign.max_workers,
        )
        (film_id,) = submit_campaign(farm, again)
        command.started = True
        with farm.database.read() as connection:
            rows = listing.films_of(connection, film_id)
            notices = films.notices(connection, rows[0].campaign)
    say_what_was_submitted(again.name, rows, notices)
    if json:
        print_json({"film": film_id, "seed": chosen, "films": rows})
    else:
        typer.echo(film_id)
        say(f"Seed {chosen}. Follow with `longreel show {film_id}`.")
