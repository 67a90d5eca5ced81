"""Who may do what: keys of the service, and a record of what was done with them."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from db import api_keys
from db.api_keys import KeyRow, Scope
from film.errors import DatabaseError, LongreelError
from flows.farm import Farm

logger = logging.getLogger(__name__)

OPEN_PATHS = ("/healthz", "/readyz")
"""What needs no key: it says nothing of films."""
NEEDED_SECONDS = 1.0
"""How long requests without a key are still answered after the first key was made."""
_READING = ("GET", "HEAD", "OPTIONS")
_SUBMITTING = ("/api/v1/campaigns", "/v1/videos", "/v1/videos/edits", "/v1/videos/extensions")
_SUBMITTING_ENDS = ("/remix", "/retake")


class AccessError(LongreelError):
    """A request that may not be answered; `status` is 401 or 403."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def scope_of(method: str, path: str) -> Scope:
    """What a key must be allowed for a request."""
    if method in _READING:
        return Scope.READ
    if method == "POST" and (path in _SUBMITTING or path.endswith(_SUBMITTING_ENDS)):
        return Scope.SUBMIT
    return Scope.STEER


def require_access(
    farm: Farm, method: str, path: str, authorization: str, *, needed: Callable[[], bool]
) -> KeyRow | None:
    """The key of a request; None if none is needed, because the farm has no keys.

    Raises `AccessError`.
    """
    if path in OPEN_PATHS or not needed():
        return None
    with farm.database.read() as connection:
        scheme, _, text = authorization.partition(" ")
        key = api_keys.check(connection, text.strip()) if scheme.lower() == "bearer" else None
    if key is None:
        raise AccessError(
            401,
            "This service needs a key: send it as `Authorization: Bearer KEY`; "
            "`longreel keys create NAME` makes one.",
        )
    wanted = scope_of(method, path)
    if not key.may(wanted):
        raise AccessError(403, f"The key {key.name!r} may not {wanted}.")
    return key


class Needed:
    """Whether requests need a key: asked of the database once a second, until the answer is yes; it
    stays yes."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self._known, self._at = False, -math.inf

    def __call__(self) -> bool:
        """True if they do. Raises `DatabaseError`."""
        if not self._known and time.monotonic() - self._at > NEEDED_SECONDS:
            with self._farm.database.read() as connection:
                self._known = api_keys.are_needed(connection)
            self._at = time.monotonic()
        return self._known


class Guard:
    """Answers only requests that may be answered, and notes those that change something."""

    def __init__(
        self, app: ASGIApp, farm: Farm, refuse: Callable[[Request, LongreelError], Response]
    ) -> None:
        """`refuse` makes the answer to a request that is not passed on."""
        self._app, self._farm, self._refuse = app, farm, refuse
        self._needed = Needed(farm)

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """As ASGI calls it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        status = 500

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        key = None
        try:
            key = await run_in_threadpool(
                require_access,
                self._farm,
                request.method,
                request.url.path,
                request.headers.get("authorization", ""),
                needed=self._needed,
            )
        except LongreelError as error:
            await self._refuse(request, error)(scope, receive, send_noting)
        else:
            await self._app(scope, receive, send_noting)
        finally:
            if request.method not in _READING or (key and _long_ago(key)):
                await run_in_threadpool(self._note, key, request, status)

    def _note(self, key: KeyRow | None, request: Request, status: int) -> None:
        try:
            with self._farm.database.write() as connection:
                if key:
                    api_keys.note_use(connection, key)
                if request.method not in _READING:
                    api_keys.record(
                        connection,
                        key.id if key else None,
                        request.state.request_id,
                        request.method,
                        request.url.path,
                        status,
                    )
        except DatabaseError as error:
            logger.warning("A request was answered, but not noted: %s", error)


def _long_ago(key: KeyRow) -> bool:
    return key.used_at is None or time.time() - key.used_at > api_keys.USED_SECONDS
