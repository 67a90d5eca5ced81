"""`longreel keys`: who may use the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import options
from app.cli.link import read_duration
from app.cli.output import print_json, print_line, print_table, reporting_errors, say
from film.errors import InputError

if TYPE_CHECKING:
    from db.api_keys import Scope

KeyId = Annotated[str, typer.Argument(help="Id of a key, as `longreel keys` lists it.")]


def keys(context: typer.Context, json: options.Json = False) -> None:
    """List the keys of the service, or create, revoke and rotate them.

    Example: longreel keys create studio --scopes read,submit
    """
    from rich.markup import escape

    from db import api_keys
    from flows.farm import open_farm

    if context.invoked_subcommand:
        return
    with reporting_errors(), open_farm().database.read() as connection:
        rows = api_keys.listing(connection)
    if json:
        print_json(rows)
        return
    if not rows:
        print_line(
            "No keys: requests to the service need none. Make one with: longreel keys create"
        )
        return
    print_table(
        ("id", "name", "scopes", "created", "used", "ends", "revoked"),
        [
            [
                row.id,
                escape(row.name),
                ",".join(row.scopes),
                options.local_time(row.created_at),
                _time(row.used_at),
                _time(row.expires_at),
                _time(row.revoked_at),
            ]
            for row in rows
        ],
    )


def create(
    name: Annotated[str, typer.Argument(help="What or whom it is for.")],
    scopes: Annotated[
        str,
        typer.Option(
            metavar="SCOPES",
            help="Comma-separated: read, submit, steer (pause, cancel, remove), admin (all).",
        ),
    ] = "read,submit",
    expires: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="How long it works: 12h, 30d. [until it is revoked]"),
    ] = None,
    json: options.Json = False,
) -> None:
    """Make a key and print it; it cannot be printed again.

    Once there is a key, every request to the service needs one.
    """
    from db import api_keys
    from flows.farm import open_farm

    with reporting_errors():
        wanted = _scopes(scopes)
        seconds = None if expires is None else read_duration(expires)
        with open_farm().database.write() as connection:
            text = api_keys.create(connection, name, wanted, seconds)
    _print_key(text, json)


def revoke(key: KeyId) -> None:
    """End a key at once."""
    from db import api_keys
    from flows.farm import open_farm

    with reporting_errors(), open_farm().database.write() as connection:
        row = api_keys.revoke(connection, key)
    say(f"The key {row.name!r} does not work any more.")


def rotate(key: KeyId, json: options.Json = False) -> None:
    """Give a key another secret and print it; the old one ends at once."""
    from db import api_keys
    from flows.farm import open_farm

    with reporting_errors(), open_farm().database.write() as connection:
        text = api_keys.rotate(connection, key)
    _print_key(text, json)


def _scopes(text: str) -> list[Scope]:
    from db.api_keys import Scope

    words = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word not in list(Scope)]
    if unknown or not words:
        said = f"There is no scope {unknown[0]!r}" if unknown else "A key needs a scope"
        raise InputError(f"{said}; choose from {', '.join(Scope)}.")
    return [Scope(word) for word in words]


def _print_key(text: str, json: bool) -> None:
    if json:
        print_json({"key": text})
    else:
        typer.echo(text)
        say("Keep it: it is not stored, and cannot be printed again.")


def _time(at: float | None) -> str:
    return "" if at is None else options.local_time(at)
