"""`longreel presets`: named sets of a film's options."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli import options
from app.cli.farm_access import acting
from app.cli.film_options import with_film_options
from app.cli.output import print_json, print_line, print_table, reporting_errors, say
from film.errors import InputError

Name = Annotated[str, typer.Argument(help="Name of a preset.", metavar="NAME")]


def presets(context: typer.Context, json: options.Json = False) -> None:
    """List the presets, or keep and remove them. A film names one by --preset or `preset:`.

    Example: longreel presets set draft --size 48x32 --steps 4
    """
    from rich.markup import escape

    if context.invoked_subcommand:
        return
    with reporting_errors(), acting() as farm:
        rows = farm.presets()
    if json:
        print_json(rows)
    elif not rows:
        print_line("No presets. Keep one with: longreel presets set NAME --size 48x32 --steps 4")
    else:
        print_table(
            ("name", "options", "note"),
            [
                [
                    row.name,
                    escape(", ".join(f"{key} {value}" for key, value in row.options.items())),
                    escape(row.note),
                ]
                for row in rows
            ],
            cut="note",
        )


@with_film_options
def keep(
    name: Name,
    chosen: dict[str, Any],
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="What it is for.")] = "",
    json: options.Json = False,
) -> None:
    """Keep the given options under a name, in place of those that it had.

    Example: longreel presets set draft --size 48x32 --steps 4 --note "to look at once"
    """
    given = {key: value for key, value in chosen.items() if value is not None}
    with reporting_errors():
        for key in ("image", "last_image", "loras", "preset"):
            if key in given:
                raise InputError(f"A preset cannot hold {key}; name it with each film.")
        with acting() as farm:
            row = farm.put_preset(name, given, note)
    if json:
        print_json(row)
    else:
        say(f"Kept. `longreel render PROMPT --preset {row.name}` uses it.")


def rm(name: Name) -> None:
    """Remove a preset. Films that were made with it stay as they are."""
    with reporting_errors(), acting() as farm:
        farm.remove_preset(name)
    say(f"The preset {name!r} is removed.")
