"""`longreel models` and `models pull`: the models, and fetching their weights."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any

import typer

from app.cli import options
from app.cli.farm_access import acting
from app.cli.log_options import with_log_options
from app.cli.output import (
    INTERRUPTED,
    print_json,
    print_table,
    reporting_errors,
    say,
    stopped_by_signals,
)
from app.cli.units import size
from app.model_data import model_data
from film.types import counted


def models(context: typer.Context, json: options.Json = False) -> None:
    """List the models: what each can do, and if its weights are on this machine.

    Example: longreel models --json | jq '.[] | select(.here) | .name'
    """
    if context.invoked_subcommand:
        return
    with reporting_errors(), acting(create=False) as farm:
        found = farm.models()
    if json:
        print_json(found)
        return
    print_table(
        ("model", "weights", "size", "seconds", "fps", "from", "continuity", "licence"),
        [_cells(model) for model in found],
        right="seconds fps",
    )


@with_log_options()
def pull(
    name: Annotated[
        str, typer.Argument(help="A model as `longreel models` lists it, or NAME=SOURCE.")
    ],
    revision: Annotated[
        str | None,
        typer.Option(help="Branch, tag or commit. [the one the farm uses, else the newest]"),
    ] = None,
    no_pin: Annotated[
        bool,
        typer.Option("--no-pin", help="Fetch only; the farm keeps the revision that it has."),
    ] = False,
    json: options.Json = False,
) -> None:
    """Fetch the weights of a model to this machine; files that are here are not fetched again.

    The first pull decides which revision the whole farm renders with; --revision changes it.
    A gated model needs your token in HF_TOKEN.

    Example: longreel models pull wan2.1-t2v-1.3b
    """
    from pathlib import Path

    from film.families.lookup import find_model
    from flows.farm import open_farm
    from flows.model_catalog import revisions as of
    from flows.model_catalog.resolve_name import naming

    with reporting_errors():
        spec = find_model(naming(Path())(name).name)
        farm = open_farm()
        try:
            with stopped_by_signals():
                state = of.pull(
                    farm, spec.name, revision, pinning=not no_pin, on_start=_say_how_much
                )
        except KeyboardInterrupt:
            say("Interrupted. Complete files are kept: the same command continues from there.")
            raise typer.Exit(INTERRUPTED) from None
        if not (spec.bundled or spec.local):
            say(f"{spec.title}: {spec.source} ({spec.licence}, {spec.licence_source})")
    if json:
        print_json(model_data(state))
    else:
        typer.echo(f"{state.spec.name} is here, revision {state.revision}.")


def _say_how_much(files: int, size_bytes: int) -> None:
    say(f"Fetching {size(size_bytes)} in {counted(files, 'file')}")


def _cells(model: Mapping[str, Any]) -> list[str]:
    from rich.markup import escape

    width, height = model["sizes"][0]
    free = "" if not model["size_multiple"] else " and others"
    absent = "to pull" if model["to_pull"] else "not here"
    fps = Fraction(model["native_fps"])
    return [
        escape(model["name"]),
        "[green]here[/]" if model["here"] else absent,
        f"{width}x{height}{free}",
        f"{float(model['max_frames'] / fps):.1f}",
        str(fps),
        ", ".join(model["renders_from"]) + (" + sound" if model["sound"] else ""),
        ", ".join(model["continuity"]),
        escape(model["licence"]),
    ]
