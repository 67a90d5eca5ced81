"""Errors of the own API: problem documents (RFC 9457)."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse

from film.errors import (
    CampaignFileError,
    InputError,
    LongreelError,
    NotFoundError,
    QuotaError,
)

_FIELD = re.compile(r"(?:\S+?:\d+: |\S+\.\w+: )?(\w+): ")


class Problem(BaseModel):
    """What is wrong, and what to do."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str
    field: str | None = None
    line: int | None = None


def problem(
    request: Request, status: int, detail: str, headers: dict[str, str] | None = None, **more: Any
) -> JSONResponse:
    """The answer; `instance` is the id of the request."""
    found = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=request.state.request_id,
        **more,
    )
    return JSONResponse(
        found.model_dump(exclude_none=True),
        status_code=status,
        media_type="application/problem+json",
        headers=headers,
    )


def of(request: Request, error: LongreelError) -> JSONResponse:
    """Our error as an answer: what the client can correct is 4xx, what is away is 503."""
    detail = str(error)
    if isinstance(error, NotFoundError):
        return problem(request, 404, detail)
    if isinstance(error, QuotaError):
        return problem(request, 429, detail)
    if isinstance(error, InputError):
        field = _FIELD.match(detail)
        line = error.line if isinstance(error, CampaignFileError) else None
        return problem(request, 422, detail, field=field[1] if field else None, line=line)
    if error.transient:
        return problem(request, 503, detail, headers={"retry-after": "5"})
    return problem(request, 500, detail)
