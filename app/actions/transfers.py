"""Files of films over HTTP: continued after a break, compared with their digests."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from filelock import FileLock

from app.actions.server import Server
from film.errors import ServerAwayError, StoreError
from media.atomic_files import raise_if_full

PIECE_BYTES = 1 << 20
TRIES = 6
"""Times in a row that a transfer is continued without a byte more."""
PAUSE_SECONDS = 0.5
"""Pause before the second of them; each further one is twice as long."""
REDIRECTS = 3
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/\d+")


def fetch_file(
    server: Server,
    path: str,
    target: Path,
    sha256: str,
    size_bytes: int,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Fetches a file of the service to `target`, which is whole or as it was before.

    What has arrived when the connection breaks, or the process ends, lies beside `target` under the
    name of the digest, and is continued. Two processes take turns. Raises `StoreError` if another
    file arrives, `StoreFullError`, and as `Server.ask` does.
    """
    part = target.with_name(f".{sha256[:24]}.part")
    lock = part.with_suffix(".lock")
    try:
        with FileLock(lock):
            if target.is_file() and _digest(target) == sha256:
                return  # another process was quicker
            _fetch(server, path, part, sha256, size_bytes, sleep)
            part.replace(target)
    except OSError as error:
        raise_if_full(error, target)
        raise StoreError(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        lock.unlink(missing_ok=True)


def _fetch(
    server: Server, path: str, part: Path, sha256: str, size_bytes: int, sleep: Callable[..., None]
) -> None:
    for _ in range(2):  # what lay there may have been damaged
        _continue(server, path, part, sha256, size_bytes, sleep)
        if _digest(part) == sha256:
            return
        part.unlink()
    raise StoreError(f"The file from {server.url} arrived damaged: its SHA-256 is not {sha256}.")


def _continue(
    server: Server, path: str, part: Path, sha256: str, size_bytes: int, sleep: Callable[..., None]
) -> None:
    """Adds to `part` until it has all bytes."""
    part.touch()
    failures = 0
    while (before := part.stat().st_size) < size_bytes:
        try:
            _receive(server, path, part, sha256, size_bytes)
        except ServerAwayError:
            failures = 0 if part.stat().st_size > before else failures + 1
            if failures == TRIES:
                raise
            sleep(PAUSE_SECONDS * 2**failures)


def _receive(server: Server, path: str, part: Path, sha256: str, size_bytes: int) -> None:
    start = part.stat().st_size
    # The file may have changed on the server since: then all of it is sent.
    headers = {"accept-encoding": "identity"}
    if start:
        headers |= {"range": f"bytes={start}-", "if-range": f'"{sha256}"'}
    url, place = path, server.http
    for _ in range(REDIRECTS):
        request = place.build_request("GET", url, headers=headers)
        try:
            answer = place.send(request, stream=True)
        except httpx.HTTPError as error:
            raise server.unreachable(error) from error
        try:
            if answer.has_redirect_location:
                url = str(answer.url.join(answer.headers["location"]))
                # A link of the store: its name has the digest, and its tag is another.
                headers.pop("if-range", None)
                place = server.elsewhere
                continue
            _write(server, answer, part, start, size_bytes)
            return
        finally:
            answer.close()
    raise StoreError(f"The file from {server.url} is sent elsewhere again and again.")


def _write(server: Server, answer: httpx.Response, part: Path, start: int, size_bytes: int) -> None:
    if answer.status_code == 416:
        part.unlink()  # it is longer than the file
        part.touch()
        return
    if not answer.is_success:
        answer.read()
        problem = server.problem_of(answer)
        assert problem is not None
        if problem.status == 500:  # the store is away at 503; this file of it cannot be had
            raise StoreError(problem.detail)
        raise server.error_of(problem)
    place = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
    continued = answer.status_code == 206 and place is not None and int(place[1]) == start
    with part.open("ab" if continued else "wb") as file:
        try:
            for piece in answer.iter_bytes(PIECE_BYTES):
                file.write(piece)
                if file.tell() > size_bytes:
                    raise StoreError(f"The file from {server.url} is longer than it should be.")
        except httpx.HTTPError as error:
            raise server.unreachable(error) from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
