"""`longreel serve`: the HTTP service."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.log_options import with_log_options
from app.cli.output import DONE, reporting_errors, say, stopped_by_signals
from film.errors import InputError

if TYPE_CHECKING:
    from flows.farm import Farm

PORT = 8642
BACKLOG = 2048
"""Connections that may wait to be accepted."""
CLOSING_SECONDS = 5
"""How long answers that are being sent, and open streams, may hold up its end."""


@with_log_options(default="info")
def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond loopback, a key must exist.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port; 0 for any that is free.", min=0, max=65535)
    ] = PORT,
    attached: Annotated[bool, typer.Option("--attached", hidden=True)] = False,
) -> None:
    """Serve the HTTP API, and /v1/videos for clients of OpenAI's API.

    Workers render what it accepts: start `longreel worker` too.

    Example: longreel serve
    """
    from app.api.application import create_application
    from app.api.server import server_of
    from flows.farm import open_farm
    from flows.machine.supervisor import Parent

    with reporting_errors() as command:
        farm = open_farm(create=False)
        farm.store.check()
        farm.prepare_database()
        _require_key(farm, host)
        application = create_application(farm)
        listener = _listener(host, port, or_any=attached)
        command.started = True
        address = f"http://{host}:{listener.getsockname()[1]}"
        how = "" if attached else " Ctrl-C stops it."
        say(f"The service is at {address} (documentation: {address}/docs).{how}")
        try:
            # The server passes on the signals that ended it.
            with stopped_by_signals(quiet=True) as stopping:
                if attached:
                    Parent().end_with(stopping)
                server_of(application, timeout_graceful_shutdown=CLOSING_SECONDS).run(
                    sockets=[listener]
                )
        except KeyboardInterrupt:
            if not attached:
                say("Stopped.")
        finally:
            farm.close()
    raise typer.Exit(DONE)


def _listener(host: str, port: int, *, or_any: bool) -> socket.socket:
    """A socket that listens there; with `or_any`, on another port if that one is taken. Raises
    `InputError`."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(BACKLOG)  # whoever reads the address may ask at once
    except OSError as error:
        if or_any and port:
            return _listener(host, 0, or_any=False)
        raise InputError(
            f"Port {port} of {host} cannot be used ({error.strerror}); give another --port, or 0 "
            f"for any."
        ) from None
    return made


def _require_key(farm: Farm, host: str) -> None:
    """Raises `InputError` for an address that others could reach, if there is no key."""
    from db import api_keys

    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    with farm.database.read() as connection:
        if not loopback and not api_keys.are_needed(connection):
            raise InputError(
                f"--host {host} could be reached by others, and there is no key yet; "
                f"`longreel keys create NAME` makes one."
            )
