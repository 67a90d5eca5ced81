"""What is in the store, and removing what no film needs."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from app.api.own.answers import json_answer
from app.api.parts import actions_of
from film.types import to_json

router = APIRouter(tags=["store"])


@router.get("/usage")
def usage(request: Request) -> Response:
    """How much of the store each campaign takes up, newest first."""
    report = actions_of(request).usage()
    films = sum(row.films_bytes for row in report.campaigns)
    return json_answer({**to_json(report, order=None), "films_bytes": films})


@router.get("/clean")
def preview_cleaning(request: Request, finished: bool = False) -> Response:
    """What `POST` would remove; nothing is removed."""
    actions = actions_of(request)
    return json_answer(actions.clean(finished=finished, dry_run=True))


@router.post("/clean")
def clean(request: Request, finished: bool = False) -> Response:
    """Removes from the store what no film needs; with `finished`, also the segments of finished
    films."""
    return json_answer(actions_of(request).clean(finished=finished))
