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
    Refusal,
    RefusedFilmsError,
)

_FIELD = re.compile(r"(?:\S+?:\d+: |\S+\.\w+: |Film \d+ of .*?: )?(\w+): ")


class RefusedItem(BaseModel):
    """Why one film of a campaign is refused."""

    item: int
    """Number of the film, counted from 1."""
    detail: str
    field: str | None = None
    line: int | None = None


class Problem(BaseModel):
    """What is wrong, and what to do."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str
    field: str | None = None
    line: int | None = None
    errors: list[RefusedItem] | None = None
    """Of a campaign, each film that is refused, the first hundred of them."""


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
        line = error.line if isinstance(error, CampaignFileError) else None
        errors = None
        if isinstance(error, RefusedFilmsError):
            errors = [_refused(refusal) for refusal in error.refusals]
        return problem(request, 422, detail, field=_field(detail), line=line, errors=errors)
    if error.transient:
        return problem(request, 503, detail, headers={"retry-after": "5"})
    return problem(request, 500, detail)


def _refused(refusal: Refusal) -> RefusedItem:
    detail = refusal.detail
    return RefusedItem(item=refusal.item, detail=detail, field=_field(detail), line=refusal.line)


def _field(detail: str) -> str | None:
    found = _FIELD.match(detail)
    return found[1] if found else None
