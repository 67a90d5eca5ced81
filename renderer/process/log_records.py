"""Log records on their way from a rendering process to the process that started it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from film import logs
from renderer.process.messages import JobKey, Logged


class RecordSender(logging.Handler):
    """Sends log records through a pipe, with the job that they belong to."""

    def __init__(self, send: Callable[[Logged], None]) -> None:
        super().__init__()
        self.job: JobKey | None = None
        """The job that is being rendered."""
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Sends a record; one that the pipe does not take is printed as a logging error."""
        message = Logged(
            job=self.job,
            logger=record.name,
            level=record.levelno,
            message=record.getMessage(),
            created=record.created,
            detail=logs.detail_of(record),
        )
        try:
            self._send(message)
        except OSError:
            self.handleError(record)


def handle(message: Logged, ids: Mapping[str, Any]) -> None:
    """Hands a received record to the handlers of this process; `ids` as by `film.logs.ids`."""
    record = logging.makeLogRecord(
        {
            "name": message.logger,
            "levelno": message.level,
            "levelname": logging.getLevelName(message.level),
            "msg": message.message,
            "created": message.created,
            "msecs": message.created % 1 * 1000,
            "exc_text": message.detail or None,
            **ids,
        }
    )
    logging.getLogger(message.logger).handle(record)
