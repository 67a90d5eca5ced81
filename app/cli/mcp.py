"""`longreel mcp`: the farm as tools of the Model Context Protocol."""

from __future__ import annotations

from app.cli.log_options import with_log_options
from app.cli.output import reporting_errors


@with_log_options()
def mcp() -> None:
    """Give agents tools to submit, watch and steer films, over stdin and stdout.

    They act on the farm of this machine, or on LONGREEL_SERVER with LONGREEL_KEY. A running
    `longreel serve` has the same tools at /mcp.

    Example: longreel mcp
    """
    import anyio

    from app.api.application import create_application
    from app.mcp.api import OwnApi, RemoteApi
    from app.mcp.tools import create_server
    from film.settings import settings
    from flows.farm import open_farm

    with reporting_errors():
        found = settings()
        if found.server:
            api: OwnApi | RemoteApi = RemoteApi(found.server, found.key or None)
            anyio.run(create_server(api).run_stdio_async)
            return
        farm = open_farm(create=False)
        farm.store.check()
        farm.prepare_database()
        try:
            # A user who can read the database needs no key.
            application = create_application(farm, keys=False)
            anyio.run(create_server(OwnApi(application, found.user_header)).run_stdio_async)
        finally:
            farm.close()
