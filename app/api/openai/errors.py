"""Errors in the shape of OpenAI's API."""

from __future__ import annotations

import re
from typing import Any

from starlette.responses import JSONResponse

from film.errors import InputError, LongreelError, NotFoundError, QuotaError

_FIELD = re.compile(r"(\w+): ")


class ApiError(Exception):
    """An answer with an error.

    `param`: the field that is wrong; `code`: a word for programs; `retry` is False if the client
    need not try again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry: bool = True,
    ) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.param, self.code, self.retry = param, code, retry


def answer(error: ApiError) -> JSONResponse:
    """What the client gets."""
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    body: dict[str, Any] = {
        "message": error.message,
        "type": kind,
        "param": error.param,
        "code": error.code,
    }
    headers = {} if error.retry else {"x-should-retry": "false"}
    return JSONResponse({"error": body}, status_code=error.status, headers=headers)


def of(error: LongreelError) -> ApiError:
    """Our error as an answer: what the client can correct is 4xx, what is away is 503."""
    message = str(error)
    if isinstance(error, QuotaError):
        return ApiError(429, message, code="insufficient_quota", retry=False)
    if isinstance(error, NotFoundError):
        return ApiError(404, message, code="not_found")
    if isinstance(error, InputError):
        field = _FIELD.match(message)
        return ApiError(400, message, param=field[1] if field else None, code="invalid_value")
    if error.transient:
        return ApiError(503, message, code="unavailable")
    return ApiError(500, message, code="internal_error")
