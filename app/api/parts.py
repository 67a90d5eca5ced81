"""The parts of the service that a request is answered with."""

from __future__ import annotations

from starlette.requests import Request

from app.actions.local import LocalActions
from db.api_keys import KeyRow
from flows.farm import Farm


def farm_of(request: Request) -> Farm:
    """The farm that the service is of."""
    return request.app.state.farm  # type: ignore[no-any-return]


def key_of(request: Request) -> KeyRow | None:
    """The key of a request that was let through; None if none was needed."""
    key: KeyRow | None = getattr(request.state, "key", None)
    return key


def key_id_of(request: Request) -> str | None:
    """The id of the key of a request that was let through."""
    key = key_of(request)
    return key.id if key else None


def seen_by(request: Request) -> str | None:
    """The key whose films alone a request may see; None if it may see all."""
    key = key_of(request)
    return key.id if key and key.own_only else None


def actions_of(request: Request) -> LocalActions:
    """What the user of a request does with the farm."""
    return LocalActions(farm_of(request), key_id=key_id_of(request))
