"""`longreel retake`: scenes of a film rendered again with other seeds."""

from __future__ import annotations

import secrets
from typing import Annotated

import typer

from app.cli.farm_access import acting
from app.cli.log_options import with_log_options
from app.cli.output import print_json, reporting_errors, say
from app.cli.submit import say_what_was_submitted

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
    with reporting_errors() as command, acting() as farm:
        chosen = secrets.randbelow(MOST_SEED) if seed is None else seed
        submitted = farm.retake(film, dict.fromkeys(scene, chosen))
        command.started = True
    rows = submitted.films
    film_id = rows[0].id
    say_what_was_submitted(rows[0].campaign_name, rows, submitted.notices)
    if json:
        print_json({"film": film_id, "seed": chosen, "films": rows})
    else:
        typer.echo(film_id)
        say(f"Seed {chosen}. Follow with `longreel show {film_id}`.")
