"""`longreel keys`: who may use the service."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from app.cli import options
from app.cli.link import read_duration
from app.cli.output import print_json, print_line, print_table, reporting_errors, say
from app.cli.units import duration, size
from film.errors import InputError

if TYPE_CHECKING:
    from db.api_keys import Scope
    from db.quotas import Limits

T = TypeVar("T")

GpuTime = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="GPU time that it may use in 24 hours: 90min, 20h. [no limit]",
        show_default=False,
    ),
]
Films = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER", help="Films that it may have at once. [no limit]", show_default=False
    ),
]
Stored = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE", help="Bytes of its films: 500MB, 2TB. [no limit]", show_default=False
    ),
]
Requests = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="Requests in a minute. [LONGREEL_REQUESTS_A_MINUTE]",
        show_default=False,
    ),
]
KeyId = Annotated[str, typer.Argument(help="Id of a key, as `longreel keys` lists it.")]


def keys(context: typer.Context, json: options.Json = False) -> None:
    """List the keys of the service, or create, revoke and rotate them.

    Example: longreel keys create studio --scopes read,submit
    """
    if not context.invoked_subcommand:
        _list(json)


def listed(json: options.Json = False) -> None:
    """List the keys of the service, as `longreel keys` does."""
    _list(json)


def _list(json: bool) -> None:
    from rich.markup import escape

    from db import api_keys
    from flows.farm import open_farm

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
        ("id", "name", "user", "scopes", "sees", "created", "used", "ends", "revoked"),
        [
            [
                row.id,
                escape(row.name),
                escape(row.user or ""),
                ",".join(row.scopes),
                "own films" if row.own_only else "all films",
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
    own: Annotated[
        bool, typer.Option("--own", help="It sees and steers only what was submitted with it.")
    ] = False,
    user: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Whom a trusted proxy signs in by this name; the key has no text then.",
            show_default=False,
        ),
    ] = None,
    gpu_time: GpuTime = None,
    films: Films = None,
    stored: Stored = None,
    requests: Requests = None,
    json: options.Json = False,
) -> None:
    """Make a key and print it; it cannot be printed again.

    Once there is a key, every request to the service needs one.

    Example: longreel keys create studio --gpu-time 20h --films 50
    """
    from db import api_keys
    from flows.farm import open_farm

    with reporting_errors():
        if not name.strip():
            raise InputError("A key needs a name: what or whom it is for.")
        limits = _limits(gpu_time, films, stored, requests)
        wanted = _scopes(scopes)
        seconds = None if expires is None else read_duration(expires)
        with open_farm().database.write() as connection:
            text = api_keys.create(
                connection, name, wanted, seconds, limits=limits, own_only=own, user=user
            )
    if user is None:
        _print_key(text, json)
    elif json:
        print_json({"id": text, "user": user})
    else:
        say(f"{user} is let in when a trusted proxy signs them in; the key's id is {text}.")


def limit(
    key: KeyId,
    gpu_time: GpuTime = None,
    films: Films = None,
    stored: Stored = None,
    requests: Requests = None,
    json: options.Json = False,
) -> None:
    """Change what a key may use, or show what it uses. `none` removes a limit.

    Example: longreel keys limit k3f9x2ab --gpu-time 20h --stored none
    """
    from db import api_keys, quotas
    from flows.farm import open_farm

    with reporting_errors():
        changes = {
            "gpu_seconds_a_day": gpu_time,
            "films_at_once": films,
            "stored_bytes": stored,
            "requests_a_minute": requests,
        }
        read = _limits(gpu_time, films, stored, requests)
        with open_farm().database.write() as connection:
            row = api_keys.get(connection, key)
            given = {name for name, text in changes.items() if text is not None}
            if given:
                values = {name: getattr(read if name in given else row, name) for name in changes}
                row = api_keys.set_limits(connection, key, quotas.Limits(**values))
            used = quotas.used_by(connection, key)
    if json:
        print_json({"key": row, "used": used})
        return
    of = _of_limit
    gpu = of(duration(used.gpu_seconds_today), row.gpu_seconds_a_day, duration)
    print_line(f"GPU time in 24 hours  {gpu}")
    print_line(f"films not finished    {of(str(used.open_films), row.films_at_once, str)}")
    print_line(f"films stored          {of(size(used.stored_bytes), row.stored_bytes, size)}")
    if row.requests_a_minute is not None:
        print_line(f"requests in a minute  at most {row.requests_a_minute}")


def history(
    number: Annotated[int, typer.Option("-n", help="Number of requests to list.", min=1)] = 50,
    json: options.Json = False,
) -> None:
    """List the latest requests that changed something, or tried to, with their keys.

    Example: longreel keys history -n 20
    """
    from rich.markup import escape

    from db import api_keys
    from flows.farm import open_farm

    with reporting_errors(), open_farm().database.read() as connection:
        rows = api_keys.history(connection, number)
        names = {row.id: row.name for row in api_keys.listing(connection)}
    if json:
        print_json(rows)
        return
    if not rows:
        print_line("No request to the service has changed anything yet.")
        return
    print_table(
        ("at", "key", "name", "status", "request"),
        [
            [
                options.local_time(row.at),
                row.key_id or "",
                escape(names.get(row.key_id or "", "")),
                str(row.status),
                escape(f"{row.method} {row.path}"),
            ]
            for row in rows
        ],
        cut="request",
    )


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


def _limits(
    gpu_time: str | None, films: str | None, stored: str | None, requests: str | None
) -> Limits:
    """The limits that texts mean, `none` for none of them. Raises `InputError`."""
    from db.quotas import Limits
    from film.reading.values import read_count, read_gpu_time, read_size_bytes

    return Limits(
        gpu_seconds_a_day=_limit("--gpu-time", gpu_time, read_gpu_time),
        films_at_once=_limit("--films", films, read_count),
        stored_bytes=_limit("--stored", stored, read_size_bytes),
        requests_a_minute=_limit("--requests", requests, read_count),
    )


def _limit(option: str, text: str | None, read: Callable[[str], T]) -> T | None:
    if text is None or text == "none":
        return None
    try:
        return read(text)
    except ValueError as error:
        raise InputError(f"{option}: {error}") from None


def _of_limit(used: str, most: T | None, shown: Callable[[T], str]) -> str:
    return f"{used} of {shown(most)}" if most is not None else f"{used}, no limit"


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
        say(f"The key's id is {text.split('_')[1]}.")
        say("Keep it: it is not stored, and cannot be printed again.")


def _time(at: float | None) -> str:
    return "" if at is None else options.local_time(at)
