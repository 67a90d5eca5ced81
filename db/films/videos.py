"""What clients asked for by `/v1/videos`: the request of each film, so that it is made once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db.clock import now
from db.films.films import BATCH, batched
from db.rows import columns_of, read_row, whole_number
from db.tables import campaigns, films, segments, takes, videos
from film.types import Struct


class VideoRow(Struct, frozen=True, kw_only=True):
    """What was asked for."""

    film_id: str
    model: str
    """The model by the name that the client gave."""
    prompt: str
    made_from: str | None
    """Id of the film that it was made from: remixed, or extended."""
    digest: str
    """SHA-256 of the request."""
    key: str | None
    """Of the header Idempotency-Key."""


def insert(connection: Connection, rows: Sequence[VideoRow]) -> None:
    """Adds rows for new films."""
    for some in batched(rows, BATCH):
        values = [{name: getattr(row, name) for name in VideoRow.__struct_fields__} for row in some]
        connection.execute(_INSERT, values)


_INSERT = videos.insert().values(created_at=now())


def get(connection: Connection, film_ids: list[str]) -> dict[str, VideoRow]:
    """The rows of these films, by their ids; of those that have one."""
    return {row.film_id: row for row in _found(connection, videos.c.film_id.in_(film_ids))}


def lock(connection: Connection, request: str, key_id: str | None) -> None:
    """Has the same request of the same API key, if it came twice at once, wait until the end of the
    transaction."""
    if connection.dialect.name == "postgresql":  # SQLite has one writer
        name = sa.func.hashtextextended(f"request {key_id} {request}", 0)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(name)))


def by_key(connection: Connection, key: str, seconds: float, key_id: str | None) -> VideoRow | None:
    """The latest row of an Idempotency-Key that the API key `key_id` sent in the last `seconds`."""
    mine = _sent_with(key_id)
    return next(iter(_found(connection, videos.c.key == key, _young(seconds), mine)), None)


def by_digest(
    connection: Connection, digest: str, seconds: float, key_id: str | None
) -> VideoRow | None:
    """The latest row of a request that the API key `key_id` sent in the last `seconds`."""
    mine = _sent_with(key_id)
    return next(iter(_found(connection, videos.c.digest == digest, _young(seconds), mine)), None)


def _sent_with(key_id: str | None) -> sa.ColumnElement[bool]:
    """Two users may choose the same Idempotency-Key, or ask for the same."""
    return sa.exists().where(
        films.c.id == videos.c.film_id,
        campaigns.c.id == films.c.campaign_id,
        campaigns.c.key_id.is_not_distinct_from(key_id),
    )


class Cost(Struct, frozen=True, kw_only=True):
    """What rendering a film took."""

    seconds: float
    """Of the segments that were rendered for it, one after the other; not of those that another
    film had already."""
    peak_bytes: int | None
    """Most memory that a segment took: of the GPU, or of the process without one. None if it was
    not recorded."""


def costs(connection: Connection, film_ids: Sequence[str]) -> dict[str, Cost]:
    """What rendering these films took; of those for which a segment was rendered."""
    if not film_ids:
        return {}
    recorded = takes.c.take
    peak = sa.func.coalesce(
        whole_number(recorded, "made_by", "peak_gpu_memory_bytes"),
        whole_number(recorded, "made_by", "peak_memory_bytes"),
    )
    rows = connection.execute(
        sa.select(
            segments.c.film_id,
            sa.func.sum(recorded["made_by", "render_seconds"].as_float()).label("seconds"),
            sa.func.max(peak).label("peak"),
        )
        .join(takes, takes.c.address == segments.c.address)
        .where(segments.c.film_id.in_(film_ids), ~segments.c.reused)
        .group_by(segments.c.film_id)
    )
    return {row.film_id: _cost(row) for row in rows if row.seconds is not None}


def _cost(row: Any) -> Cost:
    return Cost(seconds=row.seconds, peak_bytes=None if row.peak is None else int(row.peak))


def _young(seconds: float) -> sa.ColumnElement[bool]:
    return videos.c.created_at > now() - seconds


def _found(connection: Connection, *which: sa.ColumnElement[bool]) -> list[VideoRow]:
    rows: Any = connection.execute(
        sa.select(*columns_of(videos, VideoRow)).where(*which).order_by(videos.c.created_at.desc())
    )
    return [read_row(VideoRow, row) for row in rows]
