"""Requests to the service of a farm, and what its answers mean."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from film.errors import (
    InputError,
    KeyRefusedError,
    NotFoundError,
    QuotaError,
    Refusal,
    RefusedFilmsError,
    ServerAwayError,
    ServerError,
)

ANSWER_SECONDS = 60.0
"""How long an answer may take to begin."""
SLOW_SECONDS = 3600.0
"""The same for what looks at all objects of a store, and for plans of large campaigns."""
CONNECT_SECONDS = 10.0
PAGE = 200
"""Entries of a page; the most that services give."""
KNOWN = 64
"""Answers that are remembered, in case they did not change."""
_NO_ROUTE = re.compile(
    r"Not Found$|Method Not Allowed$|There is nothing at |/\S* is not answered for "
)
"""How services answer for routes that they do not have."""
AWAY = (429, 502, 503, 504)
"""Status of answers after which the same request may work later."""


@dataclass(frozen=True)
class Problem:
    """What is wrong, by an answer."""

    status: int
    detail: str
    field: str | None = None
    line: int | None = None
    request_id: str | None = None
    refusals: tuple[Refusal, ...] = ()
    again: bool = False
    """True if the answer has a time after which to ask again."""
    known_route: bool = True
    """False if the service has no such route."""


class Fields(dict[str, Any]):
    """A JSON object of an answer, whose missing fields are the service's fault."""

    def __missing__(self, name: str) -> Any:
        raise ServerError(
            f"The service answers without {name!r}, which this version of Longreel needs; use the "
            f"same version on both sides."
        )


class Server:
    """The service of a farm at one address, for threads that share it."""

    def __init__(self, url: str, key: str | None = None) -> None:
        """Connects at the first request. Raises `InputError` for what is not an address or a
        key."""
        self.url = _address(url)
        self.key = _header_text(key or "")
        self._known: dict[tuple[str, str], tuple[str, Any]] = {}
        """Answers to questions, with their tags."""
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        try:
            self.http = httpx.Client(
                base_url=self.url,
                headers=headers,
                timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            )
        except (OSError, ValueError) as error:  # a file of certificates, or a proxy
            raise InputError(f"{self.url} cannot be asked: {error}.") from None

    def close(self) -> None:
        """Ends the connections."""
        self.http.close()
        if "elsewhere" in self.__dict__:
            self.elsewhere.close()

    @cached_property
    def elsewhere(self) -> httpx.Client:
        """For addresses that answers lead to, such as links of a store: it sends no key."""
        return httpx.Client(timeout=self.http.timeout)

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """The answer, whatever its status is. Raises `ServerAwayError`, `ServerError`."""
        try:
            return self.http.request(method, path, **request)
        except httpx.HTTPError as error:
            raise self.unreachable(error) from error
        except httpx.InvalidURL as error:
            raise InputError(f"{self.url} is not an address that can be asked: {error}.") from None

    def ask(self, method: str, path: str, **request: Any) -> Any:
        """The JSON of the answer. Raises `InputError`, `NotFoundError`, `RefusedFilmsError`,
        `ServerAwayError`, `ServerError`."""
        return self._read(self.send(method, path, **request))

    def _read(self, answer: httpx.Response) -> Any:
        problem = self.problem_of(answer)
        if problem is not None:
            raise self.error_of(problem)
        try:
            found = answer.json()
        except ValueError:
            raise self._is_no_service() from None
        return Fields(found) if isinstance(found, dict) else found

    def get(self, path: str, **query: Any) -> Any:
        """The JSON object in the answer to GET; a query without a value is left out.

        What the service said before is not sent again if it did not change.
        """
        asked = (path, str(sorted(filled(query).items())))
        tag, known = self._known.get(asked, ("", None))
        answer = self.send(
            "GET", path, params=filled(query), headers={"if-none-match": tag} if tag else {}
        )
        if answer.status_code == 304 and known is not None:
            return known
        found = self._read(answer)
        if not isinstance(found, Fields):
            raise self._is_no_service()
        if len(self._known) >= KNOWN:
            self._known.clear()
        self._known[asked] = (answer.headers.get("etag", ""), found)
        return found

    def content(self, path: str) -> bytes:
        """A file of the service in memory. Raises as `ask` does."""
        answer = self.send("GET", path)
        if answer.has_redirect_location:  # to a link of the store
            url = answer.url.join(answer.headers["location"])
            try:
                answer = self.elsewhere.get(url)
            except httpx.HTTPError as error:
                raise self.unreachable(error) from error
        problem = self.problem_of(answer)
        if problem is not None:
            raise self.error_of(problem)
        return answer.content

    def pages(self, path: str, limit: int | None = None, **query: Any) -> Iterator[Any]:
        """The entries of a list, asked for a page at a time; at most `limit`."""
        after: str | None = None
        left = limit
        while left is None or left > 0:
            count = PAGE if left is None else min(PAGE, left)
            page = self.get(path, **query, after=after, limit=count)
            yield from page["items"][:left]
            after = page["next"]
            left = None if left is None else left - len(page["items"])
            if after is None:
                return

    def problem_of(self, answer: httpx.Response) -> Problem | None:
        """What is wrong by an answer, which must be read; None if nothing is."""
        if answer.is_success:
            return None
        data = _problem_document(answer)
        detail = data.get("detail")
        says = isinstance(detail, str) and not _NO_ROUTE.match(detail)
        return Problem(
            status=answer.status_code,
            detail=detail if says and detail else f"It answers with {answer.status_code}.",
            field=data.get("field"),
            line=data.get("line"),
            request_id=answer.headers.get("x-request-id"),
            refusals=tuple(_refusals(data.get("errors"))),
            again="retry-after" in answer.headers,
            known_route=says or answer.status_code not in (404, 405),
        )

    def error_of(self, problem: Problem) -> Exception:
        """The error to raise for a problem."""
        status, detail = problem.status, problem.detail
        if not problem.known_route:
            return ServerError(
                f"The service at {self.url} cannot do that: it is an older version of Longreel, or "
                f"something else answers at this address. Update it, or correct the address."
            )
        if status == 401:
            return KeyRefusedError(self._refused_key())
        if status == 403:
            return KeyRefusedError(f"The service at {self.url} refuses that: {detail}")
        if status == 429 and not problem.again:
            return QuotaError(detail)
        if status in AWAY:
            return ServerAwayError(f"The service at {self.url} refuses that for now: {detail}")
        if problem.refusals:
            return RefusedFilmsError(problem.refusals)
        if status == 404:
            return NotFoundError(detail)
        if 400 <= status < 500:
            return InputError(detail)
        if status < 400:
            return ServerError(f"{self.url} leads elsewhere; give the address that it leads to.")
        return ServerError(f"The service at {self.url} failed: {detail}")

    def unreachable(self, error: httpx.HTTPError) -> ServerError:
        """The error for a connection that did not come about, or broke."""
        cause = _tls_cause(error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = cause.verify_message.rstrip(".")
            return ServerError(
                f"The certificate of {self.url} is not trusted here ({why}). Set SSL_CERT_FILE to "
                f"a file with the certificate of the authority that signed it."
            )
        if cause is not None:
            return ServerError(
                f"No TLS connection to {self.url} is possible ({cause.reason or cause}); an "
                f"address without TLS begins with http://."
            )
        if isinstance(error, httpx.TimeoutException):
            return ServerAwayError(f"The farm at {self.url} does not answer in time.")
        why = str(error) or type(error).__name__
        return ServerAwayError(f"The farm at {self.url} does not answer: {why.rstrip('.')}.")

    def _refused_key(self) -> str:
        if self.key:
            return (
                f"The service at {self.url} does not accept the key in LONGREEL_KEY: it is wrong, "
                f"expired or revoked."
            )
        return (
            f"The service at {self.url} needs a key: set LONGREEL_KEY to one that `longreel keys "
            f"create` printed there."
        )

    def _is_no_service(self) -> ServerError:
        return ServerError(
            f"What answers at {self.url} is not the service of a Longreel farm; correct the "
            f"address."
        )


def filled(query: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a query that have a value."""
    return {name: value for name, value in query.items() if value not in (None, "")}


def quoted(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="")


def _address(url: str) -> str:
    text = url.strip().rstrip("/")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    plain = text.isprintable() and not (parts.query or parts.fragment or " " in text)
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or not plain:
        raise InputError(
            f"The server {url!r} is not an address; give one such as https://farm.example.org or "
            f"http://127.0.0.1:8642."
        )
    if parts.username or parts.password:
        raise InputError(
            "The address of the server has a user or a password in it; leave them out, and set "
            "LONGREEL_KEY to a key of `longreel keys create`."
        )
    return text


def _header_text(key: str) -> str:
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise InputError("The key in LONGREEL_KEY has characters that no key has; copy it again.")
    return key


def _problem_document(answer: httpx.Response) -> dict[str, Any]:
    if not answer.headers.get("content-type", "").startswith("application/problem+json"):
        return {}
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _refusals(errors: Any) -> Iterator[Refusal]:
    for each in errors if isinstance(errors, list) else ():
        if isinstance(each, dict) and isinstance(each.get("item"), int):
            yield Refusal(each["item"], str(each.get("detail")), each.get("line"))


def _tls_cause(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__ or error.__context__
    return None
