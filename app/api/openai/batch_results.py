"""The results of a batch as JSON Lines, made from the database when they are asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from app.api.openai.objects import video_objects
from db import batches
from db.batches import BatchRow
from db.films import listing
from film.types import FilmStatus
from flows.farm import Farm

FILMS_AT_ONCE = 200
_ID = re.compile(r"file-(batch_[0-9a-f]+)-(output|errors)")
_STATUSES = {
    "output": (FilmStatus.DELIVERED,),
    "errors": (FilmStatus.FAILED, FilmStatus.CANCELLED),
}


class Results:
    """The finished films of a batch (`output`), or those that failed (`errors`)."""

    def __init__(self, farm: Farm, batch: BatchRow, kind: str) -> None:
        self._farm, self._batch, self._kind = farm, batch, kind
        self.file_id = results_id(batch.id, kind)
        self.file_name = f"{batch.id}_{kind}.jsonl"
        self.created_at = int(batch.started_at or batch.created_at)

    def lines(self) -> Iterator[bytes]:
        """A line for each film, in the order of the input. Raises `DatabaseError`."""
        after: str | None = None
        while page := self._page(after):
            yield from (self._line(name, video) for name, video in page)
            after = page[-1][1]["id"].removeprefix("video_")

    def _page(self, after: str | None) -> list[tuple[str, dict[str, Any]]]:
        if self._batch.campaign_id is None:
            return []
        with self._farm.database.read() as connection:
            rows = listing.find_films(
                connection,
                campaign_id=self._batch.campaign_id,
                statuses=_STATUSES[self._kind],
                after=after,
                limit=FILMS_AT_ONCE,
            )
            names = batches.custom_ids(connection, [row.id for row in rows])
            videos = video_objects(connection, rows)
        return [(names.get(video["id"].removeprefix("video_"), ""), video) for video in videos]

    def _line(self, custom_id: str, video: dict[str, Any]) -> bytes:
        delivered = self._kind == "output"
        response = {"status_code": 200, "request_id": video["id"], "body": video}
        line = {
            "id": f"batch_req_{video['id'].removeprefix('video_')}",
            "custom_id": custom_id,
            "response": response if delivered else None,
            "error": None if delivered else video["error"],
        }
        return json.dumps(line, ensure_ascii=False).encode() + b"\n"


def results_id(batch_id: str, kind: str) -> str:
    """The id of the file with the results of a batch."""
    return f"file-{batch_id}-{kind}"


def batch_of(file_id: str) -> str | None:
    """The id of the batch whose results a file is; None for other files."""
    found = _ID.fullmatch(file_id)
    return found[1] if found else None


def find_results(farm: Farm, file_id: str) -> Results | None:
    """The results that a file's id stands for; None for the id of another file.

    Raises `NotFoundError` if there is no such batch.
    """
    found = _ID.fullmatch(file_id)
    if found is None:
        return None
    with farm.database.read() as connection:
        return Results(farm, batches.get(connection, found[1]), found[2])
