"""Who may do what, and a record of what was done."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

from sqlalchemy.engine import Connection
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from app.api.identity import AccessError, Identity, address_of
from app.api.openai.batch_results import batch_of
from app.api.parts import key_of
from app.api.rate_limits import WRONG_KEYS_A_MINUTE, RateLimits
from db import api_keys, batches, files
from db.api_keys import KeyRow, Scope
from db.films.campaigns import require_own_film
from film.errors import LongreelError, NotFoundError
from flows.farm import Farm

logger = logging.getLogger(__name__)

MCP_PATH = "/mcp"
MOST_METHOD, MOST_PATH = 8, 2000
"""Letters that the record of a request keeps."""
OPEN_PATHS = ("/healthz", "/readyz")
"""What needs no key: it shows nothing of films."""
_READING = ("GET", "HEAD", "OPTIONS")
_SUBMITTING = (
    *("/api/v1/campaigns", "/v1/videos", "/v1/videos/edits", "/v1/videos/extensions"),
    *("/api/v1/estimates", "/v1/videos/sync", "/v1/videos/characters", "/v1/files", "/v1/batches"),
)
_SUBMITTING_ENDS = ("/remix", "/retake")
_FOR_OWN = re.compile(
    r"/(?:api/v1/(?:films|campaigns|models|estimates|presets)|v1/(?:videos|models|files|batches)"
    r"|docs|mcp|openapi\.json)(?:/.*)?"
)
"""Paths for keys that see only what was submitted with them."""
_FILM = re.compile(r"/(?:api/v1/(?:films|campaigns)|v1/videos)/(?:video_)?([^/]+)(?:/.*)?")
_FILE = re.compile(r"/v1/files/([^/]+)(?:/.*)?")
_BATCH = re.compile(r"/v1/batches/([^/]+)(?:/.*)?")
_NOT_FILMS = ("edits", "extensions", "characters", "sync", "models")


def require_same_site(request: Request) -> None:
    """Raises `AccessError` for a request that a page of another site makes a browser send, which
    adds what signs its user in, or reaches a service that needs no key.

    A page cannot add a key that it does not know: requests with a good one are not looked at.
    """
    key = key_of(request)
    if key is not None and key.user is None:
        return
    host = request.headers.get("host", "")
    signed_in = key is not None
    if not signed_in and not _is_loopback(host):
        raise AccessError(
            403,
            "This service has no keys, so that it answers only requests to localhost and 127.0.0.1;"
            " `longreel keys create NAME` makes a key.",
        )
    origin = request.headers.get("origin")
    cross = request.headers.get("sec-fetch-site") == "cross-site"
    own = {host}
    if signed_in:  # by a proxy, which may be known by another name; a page cannot claim it
        own.add(request.headers.get("x-forwarded-host", host))
    same = origin is None or origin.partition("://")[2] in own
    if request.method not in _READING and (cross or not same):
        raise AccessError(403, "A page of another site may not do this without a key.")


def _is_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def scope_of(method: str, path: str) -> Scope:
    """What a key must be allowed for a request."""
    if method in _READING:
        return Scope.READ
    if path.startswith("/api/v1/presets"):
        return Scope.ADMIN
    if path == MCP_PATH:
        return Scope.READ  # each tool makes a request of its own
    if method == "POST" and (path in _SUBMITTING or path.endswith(_SUBMITTING_ENDS)):
        return Scope.SUBMIT
    return Scope.STEER


def require_allowed(farm: Farm, key: KeyRow, method: str, path: str) -> None:
    """Raises `AccessError` if the key may not make this request; `NotFoundError` if it is about a
    film or a campaign that the key may not know of."""
    wanted = scope_of(method, path)
    if not key.may(wanted):
        raise AccessError(403, f"The key {key.name!r} lacks the scope `{wanted}`.")
    if not key.own_only:
        return
    workers = path == "/api/v1/workers" and method in _READING
    if not (_FOR_OWN.fullmatch(path) or workers):
        raise AccessError(
            403, f"The key {key.name!r} is for its own films only; this is about the whole farm."
        )
    with farm.database.read() as connection:
        _require_own(connection, key.id, path)


def _require_own(connection: Connection, key_id: str, path: str) -> None:
    """Raises `NotFoundError` for a path of what was not made with the key."""
    if (found := _FILM.fullmatch(path)) and found[1] not in _NOT_FILMS:
        require_own_film(connection, key_id, found[1])
    elif found := _BATCH.fullmatch(path):
        if batches.get(connection, found[1]).key_id != key_id:
            raise NotFoundError(f"There is no batch {found[1]!r}.")
    elif found := _FILE.fullmatch(path):
        batch = batch_of(found[1])
        row = batches.get(connection, batch) if batch else files.get(connection, found[1])
        if row.key_id != key_id:
            raise NotFoundError(f"There is no file {found[1]!r}.")


class Guard:
    """Answers only requests that may be answered, and notes those that change something."""

    def __init__(
        self, app: ASGIApp, farm: Farm, refuse: Callable[[Request, LongreelError], Response]
    ) -> None:
        """`refuse` makes the answer to a request that is not passed on."""
        self._app, self._farm, self._refuse = app, farm, refuse
        self._identity = Identity(farm)
        self._limits = RateLimits()

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

        request.state.key = None
        try:
            if request.url.path not in OPEN_PATHS:
                if self._identity.is_known(request):
                    self._admit(request)
                else:
                    await run_in_threadpool(self._admit, request)
                require_same_site(request)
        except LongreelError as error:
            await self._refuse(request, error)(scope, receive, send_noting)
        else:
            await self._app(scope, receive, send_noting)
        finally:
            key = key_of(request)
            if request.method not in _READING or (key and _long_ago(key)):
                await run_in_threadpool(self._note, key, request, status)

    def _admit(self, request: Request) -> None:
        """Notes the key of a request that may be answered. Raises `AccessError`,
        `RateLimitError`, `NotFoundError`, `DatabaseError`."""
        settings = self._farm.settings
        address = address_of(request, settings.proxy_networks)
        wrong = f"wrong {address}"
        if not self._identity.was_good(request):
            # Many may share the address of a proxy: a key that was good is not held up by others.
            self._limits.require(wrong, WRONG_KEYS_A_MINUTE, "An address without a good key")
        try:
            key = self._identity.of(request)
        except AccessError:
            self._limits.count(wrong, WRONG_KEYS_A_MINUTE, "An address without a good key")
            raise
        if key is None:
            self._limits.count(f"of {address}", settings.requests_a_minute, "An address")
            return
        request.state.key = key
        most = key.requests_a_minute or settings.requests_a_minute
        self._limits.count(f"key {key.id}", most, f"The key {key.name!r}")
        require_allowed(self._farm, key, request.method, request.url.path)

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
                        request.method[:MOST_METHOD],
                        request.url.path.replace("\0", "\\0")[:MOST_PATH],
                        status,
                    )
        except LongreelError as error:
            logger.warning("A request was answered, but not noted: %s", error)


def _long_ago(key: KeyRow) -> bool:
    return key.used_at is None or time.time() - key.used_at > api_keys.USED_SECONDS
