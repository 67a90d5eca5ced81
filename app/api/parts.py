"""The parts of the service that a request is answered with."""

from __future__ import annotations

from starlette.requests import Request

from flows.farm import Farm


def farm_of(request: Request) -> Farm:
    """The farm that the service is of."""
    return request.app.state.farm  # type: ignore[no-any-return]
