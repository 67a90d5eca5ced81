"""Whose request it is: that of a key, of a person whom a trusted proxy signed in, or none."""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Collection
from ipaddress import IPv4Network, IPv6Network, ip_address

from starlette.requests import Request

from db import api_keys
from db.api_keys import KeyRow, Scope
from film.errors import LongreelError
from flows.farm import Farm

NEEDED_SECONDS = 1.0
"""How long requests without a key are still answered after the first key was made."""
KNOWN_SECONDS = 1.0
"""How long a key is known without asking the database: one that is revoked ends within it."""
MOST_KNOWN = 10_000
MOST_USER_LETTERS = 200


class AccessError(LongreelError):
    """A request that may not be answered; `status` is 401 or 403."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def address_of(request: Request, proxies: Collection[IPv4Network | IPv6Network]) -> str:
    """The address that a request comes from: of trusted proxies, the one that they name."""
    peer = request.client.host if request.client else ""
    if _is_in(peer, proxies):
        # Some proxies add a line of their own to those of the client.
        named_by_all = ",".join(request.headers.getlist("x-forwarded-for"))
        for named in reversed(named_by_all.split(",")):
            if named.strip() and not _is_in(named.strip(), proxies):
                return named.strip()[:64]
    return peer


def _is_in(address: str, networks: Collection[IPv4Network | IPv6Network]) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None) or found
    return any(mapped in network for network in networks)


class Identity:
    """Finds out the key of each request. Keys are remembered for a second."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self._needed, self._asked_at = False, -math.inf
        self._known: OrderedDict[str, tuple[float, KeyRow]] = OrderedDict()

    def is_known(self, request: Request) -> bool:
        """True if `of` answers at once, without asking the database."""
        if self._farm.settings.proxy_networks:
            return False
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        if self._needed or scheme:
            key = self._recent(_digest(text.strip()))
            return key is not None and not key.own_only
        return time.monotonic() - self._asked_at <= NEEDED_SECONDS

    def was_good(self, request: Request) -> bool:
        """True if the key of a request was good lately; it may have ended since."""
        text = request.headers.get("authorization", "").partition(" ")[2]
        return _digest(text.strip()) in self._known

    def of(self, request: Request) -> KeyRow | None:
        """The key of a request; None if none is needed, because the farm has none.

        Raises `AccessError`, `DatabaseError`.
        """
        user = self._signed_in(request)
        if user is not None:
            return self._of_user(user)
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        # Clients of a farm without keys send any text.
        ours = scheme.lower() == "bearer" and text.strip().startswith(f"{api_keys.PREFIX}_")
        key = self._of_text(text.strip()) if ours else None
        if key is None and self._is_needed():
            raise AccessError(
                401,
                "This service needs a key: send it as `Authorization: Bearer KEY`; "
                "`longreel keys create NAME` makes one.",
            )
        return key

    def _is_needed(self) -> bool:
        """Asked of the database once a second, until the answer is yes; it stays yes."""
        if self._farm.settings.proxy_networks and self._farm.settings.user_header:
            return True
        if not self._needed and time.monotonic() - self._asked_at > NEEDED_SECONDS:
            with self._farm.database.read() as connection:
                self._needed = api_keys.are_needed(connection)
            self._asked_at = time.monotonic()
        return self._needed

    def _signed_in(self, request: Request) -> str | None:
        """The user that a trusted proxy names; clients may send such a header, too."""
        settings = self._farm.settings
        peer = request.client.host if request.client else ""
        if not (settings.user_header and _is_in(peer, settings.proxy_networks)):
            return None
        named = request.headers.getlist(settings.user_header)
        if len(named) > 1:
            raise AccessError(400, f"The header {settings.user_header} is given twice.")
        user = named[0].strip() if named else ""
        if len(user) > MOST_USER_LETTERS or not user.isprintable():
            raise AccessError(400, f"The header {settings.user_header} holds no name of a user.")
        return user or None

    def _of_user(self, user: str) -> KeyRow:
        with self._farm.database.read() as connection:
            key = api_keys.of_user(connection, user)
        if key is None and self._farm.settings.new_user_scopes:
            scopes = [Scope(word) for word in self._farm.settings.new_user_scopes]
            with self._farm.database.write() as connection:
                key = api_keys.of_new_user(connection, user, scopes)
        if key is None:
            raise AccessError(
                403,
                f"The user {user!r} is signed in, but has no key here; "
                f"`longreel keys create NAME --user USER` makes one.",
            )
        return key

    def _of_text(self, text: str) -> KeyRow | None:
        digest = _digest(text)
        key = self._recent(digest)
        if key is not None:
            return key
        with self._farm.database.read() as connection:
            found = api_keys.check(connection, text)
        if found is not None:
            self._known[digest] = time.monotonic(), found
            while len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        return found

    def _recent(self, digest: str) -> KeyRow | None:
        """The key that the database confirmed a moment ago."""
        at, key = self._known.get(digest, (-math.inf, None))
        return key if time.monotonic() - at < KNOWN_SECONDS else None


def _digest(text: str) -> str:
    """By what a key is remembered: its text is not kept in memory longer than needed."""
    return hashlib.sha256(text.encode()).hexdigest()
