"""Fetches files from addresses that users give, within limits of size and time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpcore

from app.api.network_guard import AddressError, GuardedBackend, require_url
from film.errors import InputError
from film.plain_text import one_line
from film.settings import Network

MOST_BYTES = 32 * 1024 * 1024
TOTAL_SECONDS = 30.0
"""For everything: looking up names, redirects, the whole body."""
PAUSE_SECONDS = 10.0
"""For one connection, or one piece of the answer."""
MOST_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
# Bodies are not decompressed: a small one cannot become a large one.
HEADERS = [(b"user-agent", b"Longreel"), (b"accept-encoding", b"identity"), (b"accept", b"*/*")]


class _FetchError(Exception):
    """Why a file could not be fetched."""


def fetch_file(
    url: str,
    path: Path,
    allowed: Sequence[Network],
    *,
    field: str,
    most_bytes: int = MOST_BYTES,
    seconds: float = TOTAL_SECONDS,
) -> None:
    """Fetches the file at `url` to `path`; every redirect is checked as `url` is.

    Raises `InputError`, beginning with `field`, if the address is not open, does not answer with a
    file within `seconds`, or the file has more than `most_bytes`; `path` may then hold a part.
    """
    until = time.monotonic() + seconds
    backend = GuardedBackend(allowed, until)
    try:
        with httpcore.ConnectionPool(network_backend=backend) as pool:
            for _ in range(MOST_REDIRECTS + 1):
                require_url(url, allowed, field)
                target = _get(pool, url, path, most_bytes)
                if target is None:
                    return
                url = _joined(url, target)
        raise _FetchError(f"it was redirected more than {MOST_REDIRECTS} times")
    except AddressError as error:
        raise InputError(f"{field}: {error}") from None
    except httpcore.TimeoutException:
        why = f"it did not answer with the whole file within {seconds:g} s"
        raise _failure(field, url, why) from None
    except _FetchError as error:
        raise _failure(field, url, str(error)) from None
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        raise _failure(field, url, one_line(str(error)) or type(error).__name__) from None


def _joined(url: str, target: str) -> str:
    try:
        return urljoin(url, target)
    except ValueError:
        raise _FetchError("it was redirected to what is not an address") from None


def _get(pool: httpcore.ConnectionPool, url: str, path: Path, most_bytes: int) -> str | None:
    """Where a redirect leads; None if the file was written."""
    timeouts = dict.fromkeys(("connect", "read", "write", "pool"), PAUSE_SECONDS)
    with pool.stream("GET", url, headers=HEADERS, extensions={"timeout": timeouts}) as answer:
        headers = {name.lower(): value for name, value in answer.headers}
        if answer.status in REDIRECTS and b"location" in headers:
            return headers[b"location"].decode("latin-1")
        if answer.status != 200:
            raise _FetchError(f"it answered with the status {answer.status}")
        _write(answer, path, most_bytes)
        return None


def _write(answer: httpcore.Response, path: Path, most_bytes: int) -> None:
    size = 0
    with path.open("wb") as file:
        for piece in answer.iter_stream():
            size += len(piece)
            if size > most_bytes:
                raise _FetchError(f"it has more than {most_bytes // 2**20} MiB")
            file.write(piece)


def _failure(field: str, url: str, why: str) -> InputError:
    # Without its query, which may hold a signature.
    parts = urlsplit(url)
    shown = f"{parts.scheme}://{parts.netloc}{parts.path}"[:200]
    return InputError(f"{field}: {shown} could not be fetched: {why}. Send the file itself.")
