"""`longreel serve`: the HTTP service."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.log_options import with_log_options
from app.cli.output import DONE, reporting_errors, say
from film.errors import InputError

if TYPE_CHECKING:
    from flows.farm import Farm

PORT = 8642


@with_log_options(default="info")
def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond loopback, a key must exist.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port.", min=0, max=65535)] = PORT,
) -> None:
    """Serve the HTTP API, and /v1/videos for clients of OpenAI's API.

    Workers render what it accepts: start `longreel worker` too.

    Example: longreel serve
    """
    import uvicorn

    from app.api.application import create_application
    from flows.farm import open_farm

    with reporting_errors() as command:
        farm = open_farm(create=False)
        farm.store.check()
        farm.prepare_database()
        _require_key(farm, host)
        command.started = True
        config = uvicorn.Config(
            create_application(farm),
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=10,
        )
        server = uvicorn.Server(config)
        try:
            socket = config.bind_socket()
        except SystemExit:
            raise InputError(
                f"Port {port} of {host} cannot be used; give another --port, or 0 for any."
            ) from None
        address = f"http://{host}:{socket.getsockname()[1]}"
        say(f"The service is at {address} (documentation: {address}/docs). Ctrl-C stops it.")
        server.run(sockets=[socket])
        farm.close()
    raise typer.Exit(DONE)


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
