"""Log records: the ids they carry, how they are printed, and the secrets that they never hold.

Modules log with `logging.getLogger(__name__)` and `extra=ids(...)`. Commands call `configure` once;
a rendering process sends its records to its worker instead (renderer/process).
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, TextIO

from film.errors import LongreelError

FIELDS = ("film", "segment", "attempt", "worker")
"""What a record may be about. Segments are counted from 1, as in everything that people read."""

PACKAGES = ("film", "media", "renderer", "storage", "db", "flows", "app")
"""Longreel's own loggers; all others belong to libraries."""

LEVELS = ("debug", "info", "warning", "error")


class LogFormat(StrEnum):
    """How records are printed."""

    TEXT = "text"
    """One line for each record, with a traceback below it if there is one."""
    JSON = "json"
    """One JSON object on a line for each record."""


REPEAT_SECONDS = 30.0
"""How long the same warning about the same thing is printed only once."""


def ids(
    *,
    film: str | None = None,
    position: int | None = None,
    attempt: int | None = None,
    worker: str | None = None,
) -> dict[str, Any]:
    """`extra` of a log call. `position` is the segment's in its film, counted from 0."""
    segment = None if position is None else position + 1
    values = {"film": film, "segment": segment, "attempt": attempt, "worker": worker}
    return {name: value for name, value in values.items() if value is not None}


def configure(level: str, form: LogFormat, stream: TextIO | None = None) -> None:
    """Prints records of `level` ("info") and above to `stream`, standard error if None.

    A second call replaces what the first one set up.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    handler = StandardErrorHandler() if stream is None else logging.StreamHandler(stream)
    # A person at a terminal asks for tracebacks with -v.
    text = TextFormatter(tracebacks=number <= logging.INFO)
    handler.setFormatter(JsonFormatter() if form is LogFormat.JSON else text)
    install(handler, number)


def install(handler: logging.Handler, level: int) -> None:
    """Gives `handler` the records of all loggers, in place of a handler installed before.

    Libraries are quieter than Longreel: at the level "warning" they are silent, at "info" their
    warnings pass, at "debug" their information. Their debug records, which may hold whole requests,
    never do.
    """
    root = logging.getLogger()
    for old in [one for one in root.handlers if getattr(one, "longreel", False)]:
        root.removeHandler(old)
    handler.longreel = True  # type: ignore[attr-defined]
    # Some libraries set the level of their own loggers, so that the root's level is not enough.
    handler.addFilter(_passes)
    handler.addFilter(RepeatFilter())
    root.addHandler(handler)
    root.setLevel(logging.CRITICAL if level >= logging.WARNING else level + 10)
    for package in PACKAGES:
        logging.getLogger(package).setLevel(level)
    logging.setLogRecordFactory(_record)
    logging.captureWarnings(capture=True)


def trace(error: BaseException) -> BaseException | None:
    """`exc_info` of a log call about `error`: its traceback, unless it is one of Longreel's errors.

    Those are raised on purpose, and their text explains what happened. With -vv they are traced
    too.
    """
    expected = isinstance(error, LongreelError)
    return (
        None if expected and not logging.getLogger("flows").isEnabledFor(logging.DEBUG) else error
    )


class RepeatFilter(logging.Filter):
    """Drops a warning that repeats another one about the same thing within `REPEAT_SECONDS`.

    An outage would otherwise fill the log with one line. The next one that passes has the number of
    those that were dropped.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[object, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """False for a repetition."""
        if record.levelno < logging.WARNING:
            return True
        key = (record.name, record.levelno, str(record.msg), *fields_of(record).values())
        since, dropped = self._last.get(key, (float("-inf"), 0))
        if record.created - since < REPEAT_SECONDS:
            self._last[key] = (since, dropped + 1)
            return False
        if dropped:
            record.msg, record.args = f"{record.getMessage()} ({dropped} more like this)", ()
        if len(self._last) > _REMEMBERED:
            self._last.clear()
        self._last[key] = (record.created, 0)
        return True


_REMEMBERED = 10_000


def _passes(record: logging.LogRecord) -> bool:
    ours = record.name.partition(".")[0] in PACKAGES
    return ours or record.levelno >= logging.getLogger().level


class TextFormatter(logging.Formatter):
    """`2026-11-27 18:03:11.042 WARNING flows.heart: message  film=k3f9x2-1 segment=3`."""

    def __init__(self, *, tracebacks: bool = True) -> None:
        super().__init__()
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        """The record on one line, with its traceback on the lines below."""
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        message = " ".join(record.getMessage().split())
        line = f"{at}.{record.msecs:03.0f} {record.levelname:<7} {record.name}: {message}"
        fields = " ".join(f"{name}={value}" for name, value in fields_of(record).items())
        detail = detail_of(record) if self._tracebacks else ""
        return (f"{line}  {fields}" if fields else line) + (f"\n{detail}" if detail else "")


class JsonFormatter(logging.Formatter):
    """One object: `time` (UTC, ISO 8601), `level`, `logger`, `message`, ids, `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        values = {
            "time": f"{at}.{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        detail = detail_of(record)
        if detail:
            values["traceback"] = detail
        return json.dumps(values, ensure_ascii=False, default=str)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """The ids that a record carries."""
    return {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}


def detail_of(record: logging.LogRecord) -> str:
    """The traceback of a record, without secrets; empty if it has none."""
    if not record.exc_text and record.exc_info:
        record.exc_text = _traceback(record.exc_info)
    return record.exc_text or ""


def redact(text: str) -> str:
    """`text` with passwords, keys, tokens and signatures replaced by `***`."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    for secret in _secrets():
        text = text.replace(secret, "***")
    return text


_HIDDEN = r"\g<1>***"
_PATTERNS = (
    # scheme://user:password@host; the last @ before the path ends the password.
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@'\"]*:)[^\s'\"]*(?=@)", re.I), _HIDDEN),
    (
        re.compile(
            r"(\b(?:password|passwd|secret|sslpassword)['\"]?\s*[=:]\s*['\"]?)[^\s&'\",}]+", re.I
        ),
        _HIDDEN,
    ),
    (
        re.compile(
            r"((?:X-Amz-)?(?:Signature|Credential|Security-Token)['\"]?\s*[=:]\s*b?['\"]?)[^\s&'\"]+",
            re.I,
        ),
        _HIDDEN,
    ),
    (re.compile(r"([?&](?:Signature|AWSAccessKeyId|token|key|sig)=)[^\s&'\"]+", re.I), _HIDDEN),
    (re.compile(r"(Authorization['\"]?\s*[=:]\s*b?['\"]?)[^'\"\r\n}]+", re.I), _HIDDEN),
    (re.compile(r"(\b(?:Bearer|Basic)\s+)[A-Za-z0-9+/=._~-]{8,}"), _HIDDEN),
    (re.compile(r"\bhf_[A-Za-z0-9]{8,}"), "***"),
)
_SECRET_NAMES = re.compile(r"(SECRET|TOKEN|PASSWORD|PASSWD|API_KEY|ACCESS_KEY|AUTH_STRING)", re.I)


def _secrets() -> Iterable[str]:
    """Values of this process's variables that are secrets by their names, the longest first."""
    named = (value for name, value in os.environ.items() if _SECRET_NAMES.search(name))
    # A short value is more likely a flag than a secret, and may be part of any word.
    return sorted((value for value in named if len(value) >= 8), key=len, reverse=True)


_plain_record = logging.getLogRecordFactory()


def _record(*args: Any, **kwargs: Any) -> logging.LogRecord:
    """A record without secrets: whichever handler prints it, there are none to print."""
    record = _plain_record(*args, **kwargs)
    try:
        message = record.getMessage()
    except (TypeError, ValueError, KeyError):  # wrong arguments: the handler reports them
        return record
    clean = redact(message)
    if clean != message:
        record.msg, record.args = clean, ()
    if record.exc_info:
        detail = "".join(traceback.format_exception(*record.exc_info)).rstrip()
        clean = redact(detail)
        if clean != detail:
            # The error itself still holds the secret, so that only its text is kept.
            record.exc_text, record.exc_info = clean, None
    return record


def _traceback(exc_info: Any) -> str:
    return redact("".join(traceback.format_exception(*exc_info)).rstrip())


class StandardErrorHandler(logging.StreamHandler[TextIO]):
    """Writes to whatever `sys.stderr` is at the time, so that progress bars can stay below."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """Standard error."""
        return sys.stderr
