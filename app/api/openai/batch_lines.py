"""The lines of a batch: read, checked, and submitted as one campaign, or none of them."""

from __future__ import annotations

import hashlib
import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy.engine import Connection

from app.api.bodies import read_object
from app.api.openai import errors
from app.api.openai.errors import ApiError
from app.api.openai.film_wanted import Wanted, read_wanted
from app.api.openai.pictures import Pictures
from db import batches, files
from db.batches import LEASE_SECONDS, BatchRow
from db.films import videos
from db.films.videos import VideoRow
from film.errors import InputError, LongreelError
from film.logs import trace
from film.reading.values import short
from film.types import Campaign, FilmRequest, Plan, Struct
from flows.farm import Farm, require_space
from flows.periodic import LeaseKeeper
from flows.submission.submit import Planner, submit_planned
from storage import keys

logger = logging.getLogger(__name__)

ENDPOINT = "/v1/videos"
MOST_LINES = 50_000
MOST_LINE_BYTES = 48 * 1024 * 1024
"""Pictures may be in a line."""
MOST_ERRORS = 1_000
"""Refused lines after which no more are read."""
MOST_ID = 512
PAUSE_SECONDS = 10.0
"""Until a batch is checked again that a part of the farm was away for."""
_KEYS = {"custom_id", "method", "url", "body"}


class Line(Struct, frozen=True, kw_only=True):
    """A line that can be rendered."""

    custom_id: str
    wanted: Wanted
    digest: str


class _RefusedError(Exception):
    """Lines that are refused."""

    def __init__(self, reasons: list[dict[str, Any]]) -> None:
        super().__init__(f"{len(reasons)} reasons")
        self.reasons = reasons


class _StoppedError(Exception):
    """The lines are not checked any further by this process."""


def submit_batch(farm: Farm, batch: BatchRow, stopping: threading.Event) -> None:
    """Submits the films of a batch that this process has claimed, or fails it with the reason for
    each refused line. If the service is `stopping`, or a part is away, another process begins
    again.

    Raises `DatabaseError` if the database is away; the lease then runs out.
    """
    with LeaseKeeper("The lease of a batch", _renewal(farm, batch), LEASE_SECONDS) as keeper:
        try:
            _submit(farm, batch, lambda: stopping.is_set() or keeper.lost.is_set())
        except _StoppedError:
            _put_back(farm, batch, 0.0)
        except _RefusedError as error:
            _fail(farm, batch, error.reasons)
        except LongreelError as error:
            _end(farm, batch, error)
        except Exception as error:
            logger.error("A batch failed: %r", error, exc_info=error)
            fault = ApiError(500, "This is a fault of the server; its log has it.", code="internal")
            _fail(farm, batch, [reason_of(fault, None)])
        finally:
            keeper.ending = True


def _renewal(farm: Farm, batch: BatchRow) -> Callable[[], bool]:
    def renew() -> bool:
        with farm.database.write() as connection:
            return batches.beat(connection, batch)

    return renew


def _end(farm: Farm, batch: BatchRow, error: LongreelError) -> None:
    """Fails a batch, or puts it back if trying again later may succeed."""
    if error.transient:
        logger.warning("A batch is checked later: %s", error, exc_info=trace(error))
        _put_back(farm, batch, PAUSE_SECONDS)
        return
    if not isinstance(error, InputError):
        logger.warning("A batch failed: %s", error, exc_info=trace(error))
    _fail(farm, batch, [reason_of(errors.of(error), None)])


def _put_back(farm: Farm, batch: BatchRow, seconds: float) -> None:
    with farm.database.write() as connection:
        batches.put_back(connection, batch, seconds)


def _fail(farm: Farm, batch: BatchRow, reasons: list[dict[str, Any]]) -> None:
    with farm.database.write() as connection:
        batches.fail(connection, batch, reasons)


def _submit(farm: Farm, batch: BatchRow, is_over: Callable[[], bool]) -> None:
    planner = Planner(farm)
    with tempfile.TemporaryDirectory(prefix="longreel-batch-") as name:
        folder = Path(name)
        path = _fetch(farm, batch, folder)
        pictures = Pictures(farm, folder, patient=True)
        lines, planned = _plan_lines(farm, path, pictures, planner, is_over)
        deadline = time.time() + 3600.0 * int(batch.completion_window.removesuffix("h"))
        campaign = Campaign(name=f"Batch {batch.id}", films=(), deadline=deadline)

        def note(connection: Connection, ids: list[str]) -> None:
            campaign_id = ids[0].rpartition("-")[0]
            if not batches.start(connection, batch, campaign_id, len(ids)):
                raise _StoppedError
            names = {film: line.custom_id for film, line in zip(ids, lines, strict=True)}
            batches.insert_lines(connection, names)
            rows = [_video(film, line) for film, line in zip(ids, lines, strict=True)]
            videos.insert(connection, rows)

        submit_planned(farm, campaign, planner, planned, note, batch.key_id)


def _video(film_id: str, line: Line) -> VideoRow:
    return VideoRow(
        film_id=film_id,
        model=line.wanted.model,
        prompt=line.wanted.prompt,
        made_from=None,
        digest=line.digest,
        key=None,
    )


def _fetch(farm: Farm, batch: BatchRow, folder: Path) -> Path:
    with farm.database.read() as connection:
        row = files.get(connection, batch.input_file_id)
    require_space(folder)
    path = folder / "input.jsonl"
    farm.store.get_file(keys.uploaded_file(row.id), path)
    return path


def _plan_lines(
    farm: Farm, path: Path, pictures: Pictures, planner: Planner, is_over: Callable[[], bool]
) -> tuple[list[Line], list[tuple[FilmRequest, Plan]]]:
    """The lines of a file, each with its planned film. Raises `_RefusedError` with the reason for
    each line that is refused, `_StoppedError` once `is_over`."""
    lines: list[Line] = []
    planned: list[tuple[FilmRequest, Plan]] = []
    reasons: list[dict[str, Any]] = []
    seen: set[str] = set()
    with path.open("rb") as file:
        for number, raw in _numbered(file):
            if is_over():
                raise _StoppedError
            try:
                line = _read_line(farm, raw, pictures, seen)
                with pictures.naming_fields():
                    planned.append(planner.plan(line.wanted.request))
                lines.append(line)
            except (InputError, ApiError) as error:
                wrong = error if isinstance(error, ApiError) else errors.of(error)
                reasons.append(reason_of(wrong, number))
            if len(reasons) == MOST_ERRORS:
                message = (
                    f"{MOST_ERRORS} lines are refused; those after line {number} are not read."
                )
                reasons.append(reason_of(ApiError(400, message, code="too_many_errors"), None))
                break
    if not (lines or reasons):
        message = "The input file holds no lines."
        reasons.append(reason_of(ApiError(400, message, code="empty_file"), None))
    if reasons:
        raise _RefusedError(reasons)
    return lines, planned


def _numbered(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The lines that are not empty, counted from 1. Raises `_RefusedError` for too many or too long
    ones."""
    number = count = 0
    while raw := file.readline(MOST_LINE_BYTES + 1):
        number += 1
        if len(raw) > MOST_LINE_BYTES:
            message = f"A line has more than {MOST_LINE_BYTES // 2**20} MiB."
            raise _RefusedError([reason_of(ApiError(400, message, code="line_too_long"), number)])
        if raw.strip():
            count += 1
            if count > MOST_LINES:
                message = f"The input file has more than {MOST_LINES:,} lines; split it."
                error = ApiError(400, message, code="too_many_lines")
                raise _RefusedError([reason_of(error, number)])
            yield number, raw


def _read_line(farm: Farm, raw: bytes, pictures: Pictures, seen: set[str]) -> Line:
    """Raises `ApiError`, `InputError`."""
    found = read_object(raw.removeprefix(b"\xef\xbb\xbf"), "line")
    unknown = sorted(set(found) - _KEYS)
    if unknown:
        raise InputError(f"A line has {', '.join(sorted(_KEYS))}, but not {short(unknown[0])}.")
    custom_id = found.get("custom_id")
    if not (isinstance(custom_id, str) and 0 < len(custom_id) <= MOST_ID):
        raise InputError(f"custom_id: expected a text of 1 to {MOST_ID} characters")
    if not custom_id.isprintable():
        raise InputError("custom_id: expected characters that can be printed")
    if custom_id in seen:
        message = f"The custom_id {custom_id} is that of another line, too."
        raise ApiError(400, message, param="custom_id", code="duplicate_custom_id")
    seen.add(custom_id)
    if found.get("method") != "POST":
        raise InputError("method: expected POST")
    if found.get("url") != ENDPOINT:
        raise InputError(f"url: expected {ENDPOINT}, the endpoint of the batch")
    body = found.get("body")
    if not isinstance(body, Mapping):
        raise InputError("body: expected an object with the fields of a video")
    digest = hashlib.sha256(b"line of a batch\n" + raw).hexdigest()
    return Line(custom_id=custom_id, wanted=read_wanted(farm, body, pictures), digest=digest)


def reason_of(error: ApiError, line: int | None) -> dict[str, Any]:
    """Why a line (counted from 1), or a batch, is refused, as OpenAI lists it."""
    return {
        "code": error.code or "invalid_value",
        "line": line,
        "message": error.message,
        "param": error.param,
    }
