"""`longreel models` and `models pull`: the models, and fetching their weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import options
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
from film.types import counted

if TYPE_CHECKING:
    from flows.model_catalog.revisions import ModelState


def models(context: typer.Context, json: options.Json = False) -> None:
    """List the models: what each can do, and if its weights are on this machine.

    Example: longreel models --json | jq '.[] | select(.here) | .name'
    """
    from flows.farm import open_farm
    from flows.model_catalog import revisions as of

    if context.invoked_subcommand:
        return
    with reporting_errors():
        states = of.states(open_farm(create=False))
    if json:
        print_json([_data(state) for state in states])
        return
    print_table(
        ("model", "weights", "size", "seconds", "fps", "from", "continuity", "licence"),
        [_cells(state) for state in states],
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
        print_json(_data(state))
    else:
        typer.echo(f"{state.spec.name} is here, revision {state.revision}.")


def _say_how_much(files: int, size_bytes: int) -> None:
    say(f"Fetching {size(size_bytes)} in {counted(files, 'file')}")


def _data(state: ModelState) -> dict[str, Any]:
    from film.types import to_json

    data: dict[str, Any] = to_json(state.spec, order=None)
    del data["calling"]
    return {
        **data,
        "renders_from": list(state.spec.calling.pipelines),
        "revision": state.revision,
        "here": state.here,
    }


def _cells(state: ModelState) -> list[str]:
    from rich.markup import escape

    spec = state.spec
    width, height = spec.sizes[0]
    free = "" if not spec.size_multiple else " and others"
    return [
        escape(spec.name),
        "[green]here[/]" if state.here else "not here" if spec.local else "to pull",
        f"{width}x{height}{free}",
        f"{float(spec.max_frames / spec.native_fps):.1f}",
        str(spec.native_fps),
        ", ".join(spec.calling.pipelines) + (" + sound" if spec.sound else ""),
        ", ".join(spec.continuity),
        spec.licence,
    ]
