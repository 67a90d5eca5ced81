"""`longreel worker` and `longreel dashboard`: what runs in the background of the others."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import options
from app.cli.follow import LOOK_SECONDS
from app.cli.output import (
    print_json,
    reporting_errors,
    say,
    say_what_stays_on,
    stopped_by_signals,
)
from film.errors import DatabaseError

if TYPE_CHECKING:
    from flows.wiring import Farm


def worker(
    models: Annotated[
        str | None, typer.Option(help="Models to render, comma between; all where left out.")
    ] = None,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="Stop when no film is open any more.")
    ] = False,
) -> None:
    """Render what is submitted, until interrupted.

    Example: longreel worker --until-idle
    """
    from db import films
    from film.models import MODELS, find_model
    from flows import prefect_server
    from flows.local import working
    from flows.wiring import open_farm

    with reporting_errors() as command:
        chosen = [find_model(name.strip()).name for name in (models or ",".join(MODELS)).split(",")]
        farm = open_farm()
        prefect_server.require(farm.settings)
        farm.store.check()
        with farm.database.read() as connection:
            if until_idle and not films.any_open(connection):
                say("Nothing is submitted.")
                return
        command.begun = True
        try:
            with stopped_by_signals(), working(farm, models=chosen, tell=say) as work:
                say("Rendering what is submitted. Ctrl-C stops; what is begun is given back.")
                while not (until_idle and _idle(farm)):
                    work.require_working()
                    time.sleep(LOOK_SECONDS)
        except KeyboardInterrupt:
            say("Stopped. What was begun is given back.")
        finally:
            farm.close()
        say_what_stays_on()


def _idle(farm: Farm) -> bool:
    from db import films

    try:
        with farm.database.read() as connection:
            return not films.any_open(connection)
    except DatabaseError:
        return False


def dashboard(
    stop: Annotated[bool, typer.Option("--stop", help="Stop the embedded server.")] = False,
    json: options.Json = False,
) -> None:
    """Start the Prefect dashboard, or point at the one that runs.

    Example: longreel dashboard
    """
    from film.settings import settings
    from flows import prefect_server

    with reporting_errors():
        if stop:
            stopped = prefect_server.stop(settings())
            say("Stopped." if stopped else "No embedded server is running.")
            return
        say("Looking for the Prefect server…")
        url = prefect_server.ensure(settings()).removesuffix("/api")
    if json:
        print_json({"url": url})
    else:
        typer.echo(url)
