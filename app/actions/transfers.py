"""Files of films over HTTP: continued after a break, compared with their digests."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx

from app.actions.server import Server
from film.errors import ServerAwayError, StoreError
from media.atomic_files import raise_if_full

TRIES = 6
"""Times in a row that a transfer is continued without a byte more."""
PAUSE_SECONDS = 0.5
"""Pause before the second of them; each further one is twice as long."""
REDIRECTS = 3
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/\d+")


@dataclass(frozen=True)
class Wanted:
    """A file of the service, as it must arrive."""

    path: str
    """Of the request."""
    sha256: str
    size_bytes: int


def fetch_file(
    server: Server, wanted: Wanted, target: Path, *, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Fetches a file to `target`, which is whole or as it was before.

    What has arrived when the connection breaks, or the process ends, lies next to `target` under
    the name of the digest, and is continued. Processes that want the same file take turns. Raises
    `StoreError` if another file arrives, `StoreFullError`, and as `Server.ask` does.
    """
    part = target.with_name(f".{wanted.sha256[:24]}.part")
    try:
        with _alone(part) as file:
            if _is_whole(target, wanted):
                part.unlink()  # another process was quicker
                return
            _fetch(server, wanted, file, sleep)
            part.replace(target)
    except OSError as error:
        raise_if_full(error, target)
        raise StoreError(f"{target} cannot be written: {error.strerror}.") from error


@contextmanager
def _alone(part: Path) -> Iterator[BinaryIO]:
    """The file at `part`, created if necessary, while no other process has it."""
    while True:
        with part.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # The process that had it before may have given it its name, or removed it.
            if _is_at(file, part):
                yield file
                return


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _is_whole(path: Path, wanted: Wanted) -> bool:
    if not path.is_file() or path.stat().st_size != wanted.size_bytes:
        return False
    return _digest(path) == wanted.sha256


def _fetch(server: Server, wanted: Wanted, file: BinaryIO, sleep: Callable[[float], None]) -> None:
    for _ in range(2):  # what lay there may have been damaged
        _continue(server, wanted, file, sleep)
        if _digest(Path(file.name)) == wanted.sha256:
            return
        file.truncate(0)
    Path(file.name).unlink()
    raise StoreError(
        f"The file from {server.url} arrived damaged: its SHA-256 is not {wanted.sha256}."
    )


def _continue(
    server: Server, wanted: Wanted, file: BinaryIO, sleep: Callable[[float], None]
) -> None:
    """Adds to the file until an answer ends as it should."""
    failures = 0
    while (before := _size(file)) < wanted.size_bytes:
        try:
            _receive(server, wanted, file)
            return  # it has all that was sent, be that the right file or not
        except ServerAwayError:
            failures = 0 if _size(file) > before else failures + 1
            if failures == TRIES:
                raise
            sleep(PAUSE_SECONDS * 2**failures)


def _receive(server: Server, wanted: Wanted, file: BinaryIO) -> None:
    start = _size(file)
    headers = {"accept-encoding": "identity"}
    if start:
        # If the file is another one on the server by now, all of it is sent.
        headers |= {"range": f"bytes={start}-", "if-range": f'"{wanted.sha256}"'}
    url, client = wanted.path, server.http
    for _ in range(REDIRECTS):
        answer = _send(server, client, url, headers)
        try:
            if not answer.has_redirect_location:
                _write(server, wanted, answer, file)
                return
            url = str(answer.url.join(answer.headers["location"]))
        finally:
            answer.close()
        # A link of the store: its key has the digest, and its tag is another.
        headers.pop("if-range", None)
        client = server.elsewhere
    raise StoreError(f"The file from {server.url} is sent elsewhere again and again.")


def _send(
    server: Server, client: httpx.Client, url: str, headers: dict[str, str]
) -> httpx.Response:
    try:
        return client.send(client.build_request("GET", url, headers=headers), stream=True)
    except httpx.HTTPError as error:
        raise server.unreachable(error) from error


def _write(server: Server, wanted: Wanted, answer: httpx.Response, file: BinaryIO) -> None:
    start = _size(file)
    place = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
    if answer.status_code == 416:  # the file is shorter than what is here
        file.truncate(0)
        return
    if not answer.is_success:
        raise _refusal(server, answer)
    if answer.status_code != 206 or place is None or int(place[1]) != start:
        file.truncate(0)
    try:
        for piece in answer.iter_raw():
            file.write(piece)
            if file.tell() > wanted.size_bytes:
                return  # another file, as its digest will show
    except httpx.HTTPError as error:
        raise server.unreachable(error) from error
    finally:
        file.flush()


def _refusal(server: Server, answer: httpx.Response) -> Exception:
    answer.read()
    problem = server.problem_of(answer)
    assert problem is not None
    if problem.status == 500:  # the store answers, and does not have this file
        return StoreError(problem.detail)
    return server.error_of(problem)


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
