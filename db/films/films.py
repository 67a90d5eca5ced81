"""Films: their values, which ones are meant, and what comes with the end of one."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db import spending
from db.rows import RELEASED
from db.tables import campaigns, films, segments
from film.errors import NotFoundError, UnreadableFilmError
from film.logs import ids
from film.types import (
    Delivery,
    FilmRequest,
    FilmStatus,
    Plan,
    SegmentStatus,
    Struct,
    from_json,
)

T = TypeVar("T")

OPEN = (FilmStatus.QUEUED, FilmStatus.RENDERING, FilmStatus.STITCHING)
"""Statuses in which a film's flow has something to do."""

logger = logging.getLogger(__name__)


BATCH = 1_000
"""Films named in one statement; databases bound the number of parameters."""


class Film(Struct, frozen=True, kw_only=True):
    """A film with everything that its flow needs."""

    id: str
    campaign: str
    title: str
    status: FilmStatus
    attempt: int
    owner: str | None
    flow_run_id: str | None
    request: FilmRequest
    plan: Plan
    delivery: Delivery | None
    created_at: float
    """Seconds since 1970; with the id it distinguishes the films of different databases."""

    @property
    def log_ids(self) -> dict[str, Any]:
        """What log records about it carry."""
        return ids(film=self.id, attempt=self.attempt)


def get(connection: Connection, film_id: str) -> Film:
    """One film whole. Raises `NotFoundError`, or `UnreadableFilmError` if another version of
    Longreel wrote it."""
    row = connection.execute(sa.select(films).where(films.c.id == film_id)).first()
    if row is None:
        raise NotFoundError(f"There is no film {film_id!r}.")
    try:
        return _read(row)
    except (msgspec.ValidationError, ValueError) as error:
        raise UnreadableFilmError(
            f"The film {film_id} was written by another version of Longreel, and this one cannot "
            f"read it ({error}). Update Longreel on this machine."
        ) from error


def several(connection: Connection, film_ids: Collection[str]) -> dict[str, Film]:
    """Films whole, by their ids, without those that another version of Longreel wrote: these are
    logged."""
    found = {}
    for row in connection.execute(sa.select(films).where(films.c.id.in_(film_ids))):
        try:
            found[row.id] = _read(row)
        except (msgspec.ValidationError, ValueError) as error:
            logger.warning("A film cannot be read: %s", error, extra=ids(film=row.id))
    return found


def _read(row: Any) -> Film:
    return Film(
        id=row.id,
        campaign=row.campaign_id,
        title=row.title,
        status=FilmStatus(row.status),
        attempt=row.attempt,
        owner=row.owner,
        flow_run_id=row.flow_run_id,
        request=from_json(FilmRequest, row.request),
        plan=from_json(Plan, row.plan),
        delivery=from_json(Delivery, row.delivery) if row.delivery else None,
        created_at=row.created_at,
    )


def deliveries(connection: Connection, name: str) -> list[tuple[str, Delivery]]:
    """The delivered films that `name` means (a film, or a campaign), with their deliveries."""
    rows = connection.execute(
        sa.select(films.c.id, films.c.delivery)
        .where(named(name), films.c.status == FilmStatus.DELIVERED)
        .order_by(films.c.position)
    )
    return [(row.id, from_json(Delivery, row.delivery)) for row in rows]


def require_delivery(connection: Connection, film_id: str) -> Delivery:
    """The delivery of a film. Raises `NotFoundError` if it is not delivered."""
    film = get(connection, film_id)
    if film.delivery is None:
        raise NotFoundError(f"{film_id} is {film.status}: it has no file.")
    return film.delivery


def notices(connection: Connection, campaign_id: str) -> dict[str, int]:
    """What users should know of the plans of a campaign, most frequent first: notice → films."""
    rows = connection.execute(
        sa.select(films.c.plan["notices"]).where(films.c.campaign_id == campaign_id)
    ).scalars()
    count = Counter(notice for found in rows for notice in dict.fromkeys(found or ()))
    return dict(count.most_common())


def status(connection: Connection, film_id: str) -> FilmStatus:
    """The status of a film. Raises `NotFoundError`."""
    found = connection.execute(sa.select(films.c.status).where(films.c.id == film_id)).scalar()
    if found is None:
        raise NotFoundError(f"There is no film {film_id!r}.")
    return FilmStatus(found)


def named(name: str) -> sa.ColumnElement[bool]:
    """The films that `name` means: a film's own id, or all of a campaign's."""
    return sa.or_(films.c.id == name, films.c.campaign_id == name)


def any_open(connection: Connection) -> bool:
    """True if any film is open; films that are paused are not."""
    return (
        connection.execute(sa.select(films.c.id).where(films.c.status.in_(OPEN)).limit(1)).first()
        is not None
    )


def end_segments(connection: Connection, which: sa.ColumnElement[bool]) -> None:
    """Cancels what is left to render of films that ended; a worker that renders it loses the
    lease."""
    spending.record_lost(connection, which)
    to_do = (SegmentStatus.WAITING, SegmentStatus.READY, SegmentStatus.LEASED)
    connection.execute(
        segments.update()
        .where(which, segments.c.status.in_(to_do))
        .values(status=SegmentStatus.CANCELLED, **RELEASED)
    )


def settle(connection: Connection, campaign_ids: Sequence[str]) -> None:
    """Marks campaigns inactive if all their films are finished."""
    for campaign_id in campaign_ids:
        # Locked by a statement of its own: only the next one sees what was ended meanwhile.
        connection.execute(
            sa.select(campaigns.c.id)
            .where(campaigns.c.id == campaign_id)
            .with_for_update(key_share=True)
        )
        left = sa.exists().where(
            films.c.campaign_id == campaign_id,
            films.c.status.in_((*OPEN, FilmStatus.PAUSED)),
        )
        connection.execute(
            campaigns.update()
            .where(campaigns.c.id == campaign_id, ~left, campaigns.c.active)
            .values(active=False)
        )


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """`items` in pieces of `size`, the last one shorter."""
    return (items[start : start + size] for start in range(0, len(items), size))
