"""Which farm a command is about: that of this machine, or one behind a service (`--server`)."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.output import reporting_errors
from film.errors import InputError

if TYPE_CHECKING:
    from app.actions.protocol import Actions

Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="URL",
        help="Address of a farm's service. [LONGREEL_SERVER, else this machine]",
        show_default=False,
    ),
]
_chosen: ContextVar[str | None] = ContextVar("server", default=None)


def choose_server(url: str | None) -> None:
    """Remembers the server that the user named; None: LONGREEL_SERVER decides."""
    _chosen.set(url)


@contextmanager
def acting(*, create: bool = True) -> Iterator[Actions]:
    """The farm that the command is about. Raises `InputError` for what is not an address.

    Unless `create`, an embedded database that does not exist yet is not created.
    """
    actions = _actions(create=create)
    try:
        yield actions
    finally:
        actions.close()


def _actions(*, create: bool) -> Actions:
    url = server_url()
    if url is None:
        from app.actions.local import LocalActions

        return LocalActions(create=create)
    from app.actions.remote import RemoteActions
    from app.actions.server import Server as Service
    from film.settings import settings

    return RemoteActions(Service(url, settings().key))


def server_url() -> str | None:
    """The address of the farm's service; None for the farm of this machine."""
    from film.settings import settings

    chosen = _chosen.get()
    return settings().server or None if chosen is None else chosen


def takes_server(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with the option `--server`."""
    return _with_server(command, lambda: None)


def of_this_machine(name: str, *, strictly: bool = False) -> Callable[..., Callable[..., None]]:
    """Has a command refuse `--server`, and if `strictly` LONGREEL_SERVER, too: without that, the
    variable is not for this command."""

    def refuse() -> None:
        with reporting_errors():
            if _chosen.get() is not None:
                raise InputError(
                    f"`longreel {name}` works on this machine only: leave --server out."
                )
            if strictly and server_url():
                raise InputError(
                    f"`longreel {name}` works on the machine of the farm's database only: run it "
                    f"there, or unset LONGREEL_SERVER for the farm of this machine."
                )

    return lambda command: _with_server(command, refuse, hidden=True)


def _with_server(
    command: Callable[..., None], check: Callable[[], None], *, hidden: bool = False
) -> Callable[..., None]:
    own = inspect.signature(command, eval_str=True)
    annotation = Annotated[str | None, typer.Option("--server", hidden=True)] if hidden else Server
    added = inspect.Parameter(
        "server", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )
    parameters = [*own.parameters.values(), added]

    @functools.wraps(command)
    def given(**values: object) -> None:
        server = values.pop("server")
        if server is not None:
            choose_server(str(server))
        context = values.get("context")
        # A group passes the option on to its commands.
        if not (isinstance(context, typer.Context) and context.invoked_subcommand):
            check()
        command(**values)

    # Typer reads both.
    given.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    given.__annotations__ = {each.name: each.annotation for each in parameters}
    return given
