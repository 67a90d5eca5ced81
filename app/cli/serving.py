"""`longreel worker` and `longreel dashboard`: what runs in the background of the others."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import options
from app.cli.output import INTERRUPTED, print_json, reporting_errors, say
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
        chosen = [find_model(m.strip()).name for m in models.split(",")] if models else None
        farm = open_farm()
        prefect_server.require(farm.settings)
        farm.store.check()
        with farm.database.read() as connection:
            if until_idle and not films.any_open(connection):
                say("Nothing is submitted.")
                return
        command.begun = True
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: _stop(stop))
        try:
            with working(farm, models=chosen or tuple(MODELS), tell=say) as work:
                say("Rendering what is submitted. Ctrl-C stops; what is begun is given back.")
                while not stop.wait(0.3):
                    work.require_working()
                    if until_idle and _idle(farm):
                        break
        finally:
            farm.close()


def _stop(stop: threading.Event) -> None:
    """The first time asks the worker to stop, the second time ends it: others find its work."""
    if stop.is_set():
        os._exit(INTERRUPTED)
    say("\nStopping… (again to stop at once)")
    stop.set()


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
