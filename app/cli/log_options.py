"""How much a command logs, and in which format: options, settings, and what children inherit."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from film.logs import LogFormat

_configured: dict[str, str] = {}


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
            from app.cli.output import reporting_errors

            chosen = log_options(**{name: values.pop(name) for name in more})
            with reporting_errors():
                configure_logging(default, **chosen)
            command(**values)

        # Typer reads both.
        with_logging.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        with_logging.__annotations__ = {each.name: each.annotation for each in parameters}
        return with_logging

    return add


def configure_logging(
    default: str = "warning", *, verbose: int = 0, level: str | None = None, form: str | None = None
) -> None:
    """Sets up this process's log records. Raises `InputError` if a value is not one of the choices.

    An option counts more than a setting, and a setting more than the command's `default`.
    """
    from film import logs
    from film.settings import settings

    by_flag = ("", "info", "debug")[min(verbose, 2)]
    level = _choice("--log-level", level, logs.LEVELS) or by_flag or settings().log_level
    chosen = _choice("--log-format", form, [*logs.LogFormat]) or settings().log_format
    level = level or default
    logs.configure(level, _format(chosen))
    _configured.update(LONGREEL_LOG_LEVEL=level, LONGREEL_LOG_FORMAT=str(chosen))


def ensure_logging() -> None:
    """Sets up log records by settings alone, unless the command's options did. Raises as above."""
    if not _configured:
        configure_logging()


def log_environment() -> Mapping[str, str]:
    """Variables that let a child process log as this one does."""
    return dict(_configured)


def _format(text: str) -> LogFormat:
    from film.logs import LogFormat

    return LogFormat(text)


def _choice(option: str, text: str | None, choices: Any) -> str:
    from film.errors import InputError

    if text is None:
        return ""
    if text.lower() not in choices:
        raise InputError(f"{option} is {text!r}; choose from {', '.join(choices)}.")
    return text.lower()
