"""How much a command logs, and how: from its options, the settings and the command's default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from film.logs import LogFormat

_configured: dict[str, str] = {}


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
