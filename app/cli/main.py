"""The entry of the `longreel` command."""

from __future__ import annotations

import atexit
import faulthandler
import os
import sys
from contextlib import suppress

import typer

from app.cli import (
    campaigns,
    disk_use,
    downloads,
    estimate,
    events,
    film_actions,
    films,
    keys,
    link,
    mcp,
    models,
    open_film,
    plan,
    presets,
    render,
    retake,
    serve,
    submit,
    up,
    worker,
    workers,
)
from app.cli.farm_access import Server, choose_server, of_this_machine, takes_server
from flows.machine.proxies import bypass_for_this_machine

cli = typer.Typer(
    help="A render farm for text-to-video diffusion transformers: long prompts in, films out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    of_this_machine("render")(render.render),
    takes_server(submit.submit),
    takes_server(plan.plan),
    takes_server(estimate.estimate),
    of_this_machine("up")(up.up),
    of_this_machine("serve")(serve.serve),
):
    cli.command()(command)
for command in (
    workers.workers,
    films.ls,
    films.show,
    campaigns.campaigns,
    events.events,
    campaigns.pause,
    campaigns.resume,
    campaigns.priority,
    campaigns.budget,
    campaigns.deadline,
    campaigns.max_workers,
    film_actions.cancel,
    film_actions.requeue,
    retake.retake,
    downloads.download,
    downloads.sync,
    link.link,
    disk_use.usage,
    disk_use.rm,
    disk_use.clean,
    up.dashboard,
    mcp.mcp,
):
    cli.command()(takes_server(command))

cli.command("open")(takes_server(open_film.open_film))

# Their earlier names.
cli.command("logs", hidden=True)(takes_server(events.events))
cli.command("retry", hidden=True)(takes_server(film_actions.requeue))

catalog = typer.Typer(rich_markup_mode=None, context_settings=cli.info.context_settings)
catalog.callback(invoke_without_command=True)(takes_server(models.models))
catalog.command()(of_this_machine("models pull")(models.pull))
cli.add_typer(catalog, name="models")

keys_cli = typer.Typer(rich_markup_mode=None, context_settings=cli.info.context_settings)
_of_database = of_this_machine("keys", strictly=True)
keys_cli.callback(invoke_without_command=True)(_of_database(keys.keys))
keys_cli.command("list")(_of_database(keys.listed))
for command in (keys.create, keys.revoke, keys.rotate, keys.limit, keys.history):
    keys_cli.command()(_of_database(command))
cli.add_typer(keys_cli, name="keys")

presets_cli = typer.Typer(rich_markup_mode=None, context_settings=cli.info.context_settings)
presets_cli.callback(invoke_without_command=True)(takes_server(presets.presets))
presets_cli.command("set")(takes_server(presets.keep))
presets_cli.command()(takes_server(presets.rm))
cli.add_typer(presets_cli, name="presets")

worker_cli = typer.Typer(rich_markup_mode=None, context_settings=cli.info.context_settings)
worker_cli.callback(invoke_without_command=True)(of_this_machine("worker")(worker.worker))
for order in (workers.drain, workers.stop, workers.resume):
    worker_cli.command()(takes_server(order))
cli.add_typer(worker_cli, name="worker")


@cli.callback(invoke_without_command=True)
def options(
    version: bool = typer.Option(False, "--version", help="Print the version."),
    server: Server = None,
) -> None:
    """A render farm for text-to-video diffusion transformers: long prompts in, films out."""
    choose_server(server)
    if version:
        from importlib.metadata import version as of

        typer.echo(of("longreel"))
        raise typer.Exit


def run() -> None:
    """Runs the command line."""
    _say_where_it_crashes()
    bypass_for_this_machine()
    try:
        cli()
    except SystemExit as end:
        _leave(end.code)
        raise


def _say_where_it_crashes() -> None:
    """Prints the place in our code to stderr if a library in C crashes this process, or one that it
    starts."""
    os.environ.setdefault("PYTHONFAULTHANDLER", "1")
    with suppress(RuntimeError, OSError):  # stderr is closed
        faulthandler.enable()


def _leave(code: str | int | None) -> None:
    """Ends the process at once after a command that used Prefect.

    Python stops the remaining threads wherever they are, and aborts if one of them is in a library
    written in C. Prefect has such threads. It gets the time to send its last records, unless it
    would wait for minutes for a server that is gone, or for a flow that sleeps between two tries.
    """
    if "prefect" not in sys.modules:
        return
    from flows.films import conductor
    from flows.prefect_runs import prefect_server

    if not (conductor.flows_left() or prefect_server.is_away()):
        atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)
