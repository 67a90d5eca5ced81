"""`longreel up` and `dashboard`: everything on this machine, and the server of the dashboard."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import options
from app.cli.farm_access import acting, server_url
from app.cli.log_options import with_log_options
from app.cli.log_setup import log_environment
from app.cli.output import (
    DONE,
    FINAL,
    FINAL_AT_FIRST,
    print_json,
    reporting_errors,
    say,
    stopped_by_signals,
)
from app.cli.serve import PORT
from app.cli.worker import Models, Quiet, Tags, assign_devices, create_children, read_options
from film.errors import InputError

if TYPE_CHECKING:
    from flows.machine.supervisor import Child


@with_log_options(default="info")
def up(
    workers: Annotated[
        int | None,
        typer.Option(help="Number of worker processes. [one per GPU, else 1]", min=1),
    ] = None,
    models: Models = None,
    tags: Tags = "",
    quiet: Quiet = None,
    port: Annotated[
        int,
        typer.Option(help="Port of the service, or a free one if it is taken.", min=0, max=65535),
    ] = PORT,
) -> None:
    """Start everything on this machine: database, Prefect server, dashboard, service, workers.

    Ctrl-C stops all of it.

    Example: longreel up
    """
    from flows.farm import open_farm
    from flows.machine.gpus import list_gpus
    from flows.machine.supervisor import supervise
    from flows.prefect_runs import prefect_server

    with reporting_errors() as command:
        used = [] if workers else list_gpus()
        me = read_options(models, tags, quiet=quiet)
        slots = assign_devices(used, workers)
        farm = open_farm(create=False)
        settings = farm.settings
        prefect_server.require(settings)
        farm.store.check()
        farm.prepare_database()
        say(f"Database: {farm.database.url}")
        farm.close()
        command.started = True
        try:
            with stopped_by_signals():
                url = prefect_server.ensure(settings).removesuffix("/api")
                say(f"Dashboard: {url}")
                count = f"{len(slots)} workers" if len(slots) > 1 else "1 worker"
                say(
                    f"Starting {count}. Ctrl-C stops all of it; unfinished segments return to the "
                    f"queue."
                )
                children = [*create_children(me, slots, []), _create_service(port)]
                code = supervise(children, FINAL, say, final_at_first=FINAL_AT_FIRST)
        except KeyboardInterrupt:
            code = DONE
        finally:
            if prefect_server.started():
                prefect_server.stop(settings)
        say("Stopped.")
    raise typer.Exit(code)


def _create_service(port: int) -> Child:
    """The process of the HTTP service, not started yet."""
    from flows.machine.supervisor import Child

    command = [sys.executable, "-P", "-m", "app.cli", "serve", "--attached", "--port", str(port)]
    return Child(f"on port {port}", command, log_environment(), kind="service")


@with_log_options()
def dashboard(
    stop: Annotated[bool, typer.Option("--stop", help="Stop the embedded server.")] = False,
    json: options.Json = False,
) -> None:
    """Start the Prefect dashboard, or print the address of the one that runs.

    Example: longreel dashboard
    """
    from film.settings import settings
    from flows.prefect_runs import prefect_server

    with reporting_errors():
        if server_url() is not None:
            url = _dashboard_of_server(stop)
            _print_url(url, json)
            return
        if stop:
            stopped = prefect_server.stop(settings())
            say("Stopped." if stopped else "No embedded server is running.")
            return
        say("Looking for the Prefect server…")
        url = prefect_server.ensure(settings()).removesuffix("/api")
    _print_url(url, json)


def _dashboard_of_server(stop: bool) -> str:
    """The address of the dashboard of the farm behind a service. Raises `InputError`."""
    if stop:
        raise InputError("--stop is for the Prefect server of this machine: leave --server out.")
    with acting() as farm:
        return farm.dashboard()


def _print_url(url: str, json: bool) -> None:
    if json:
        print_json({"url": url})
    else:
        typer.echo(url)
