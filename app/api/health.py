"""Routes for probes: the service lives, and the parts that it needs answer."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from app.api.parts import farm_of
from db.schema import HEAD, current_revision
from film.errors import DatabaseError, LongreelError

router = APIRouter(tags=["health"])


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz")
async def healthz() -> Response:
    """The process answers, however many requests its threads work at."""
    return JSONResponse({"status": "ok"})


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", responses={503: {"description": "One of them does not answer."}})
def readyz(request: Request) -> Response:
    """Database and store answer. 503 with the reason if one does not."""
    farm = farm_of(request)
    try:
        found = current_revision(farm.database)
        if found != HEAD:
            raise DatabaseError(
                f"The database's tables are of revision {found}, not {HEAD}; run `longreel ls` of "
                f"this version once."
            )
        farm.store.check()
    except LongreelError as error:
        return JSONResponse({"status": "not ready", "reason": str(error)}, status_code=503)
    return JSONResponse({"status": "ok"})
