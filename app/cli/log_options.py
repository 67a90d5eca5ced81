"""The options that choose how much a command logs, and in which format."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from app.cli.log_setup import configure_logging
from app.cli.output import reporting_errors


def log_options(
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            help="Log what happens; -vv logs details and what libraries report.",
            show_default=False,
        ),
    ] = 0,
    log_level: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL",
            help="debug, info, warning or error. [LONGREEL_LOG_LEVEL]",
            show_default=False,
        ),
    ] = None,
    log_format: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="text, or json for one object on a line. [LONGREEL_LOG_FORMAT]",
            show_default=False,
        ),
    ] = None,
) -> dict[str, Any]:
    """The logging options that a command was given."""
    return {"verbose": verbose, "level": log_level, "form": log_format}


def with_log_options(
    default: str = "warning",
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds the logging options to a command, whose level is `default` if none is chosen."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True)
        more = inspect.signature(log_options, eval_str=True).parameters
        parameters = [*own.parameters.values(), *more.values()]

        @functools.wraps(command)
        def with_logging(**values: Any) -> None:
            chosen = log_options(**{name: values.pop(name) for name in more})
            with reporting_errors():
                configure_logging(default, **chosen)
            command(**values)

        # Typer reads both.
        with_logging.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        with_logging.__annotations__ = {each.name: each.annotation for each in parameters}
        return with_logging

    return add
