"""What listings show: films with their progress, and a campaign's segments by status."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db.films.campaigns import campaigns_between
from db.films.films import BATCH, batched, named
from db.films.waiting import Reason, Standing, explain
from db.segments import pace
from db.tables import LEASED, campaigns, films, segments
from db.workers import registry
from db.workers.registry import WorkerRow, WorkerState
from film.errors import NotFoundError
from film.types import FilmStatus, Hold, SegmentStatus, Struct

TO_RENDER = (FilmStatus.QUEUED, FilmStatus.RENDERING)
"""Stored statuses of a film that is to be rendered, whether or not a worker is at it."""


class FilmRow(Struct, frozen=True, kw_only=True):
    """A film as listings show it."""

    id: str
    campaign: str
    """Id of its campaign."""
    campaign_name: str
    title: str
    status: FilmStatus
    progress: float
    """0 to 1; 1 only when delivered."""
    frames: int
    """Frames of the finished film."""
    seconds: float
    sound: bool
    """True if it has sound, or will have."""
    segments: int
    done: int
    """Segments whose takes are in the store."""
    reused: int
    """Those of `done` that had been rendered before."""
    seconds_left: float | None
    """About how long until its segments are rendered, by those workers that render it now and at
    the pace of the latest segments of the same kind; None if nobody renders it, or no pace is
    known."""
    waiting: str | None
    """Why it does not move, or which worker loads the model for it; None if neither holds."""
    error: str | None
    created_at: float
    finished_at: float | None


class Tally(Struct, frozen=True, kw_only=True):
    """How far a campaign is."""

    films: dict[FilmStatus, int]
    segments: dict[SegmentStatus, int]
    seconds_left: float | None
    """As `FilmRow.seconds_left`."""


class CampaignFilms(Struct, frozen=True, kw_only=True):
    """How many films of a campaign there are."""

    total: int
    delivered: int
    failed: int
    finished: int
    """Delivered, failed or cancelled."""


def find_films(
    connection: Connection,
    *,
    statuses: Collection[FilmStatus] = (),
    text: str = "",
    campaign_id: str | None = None,
    key_id: str | None = None,
    after: str | None = None,
    ascending: bool = False,
    since: float | None = None,
    until: float | None = None,
    limit: int | None = None,
) -> list[FilmRow]:
    """Films with their progress, newest campaign first (`ascending`: oldest first, backwards).

    Those in one of `statuses` (empty: all), with `text` in their title or the name of their
    campaign, in capitals or not; of one campaign; submitted with one key; submitted from `since` to
    `until` (seconds since 1970); after the film `after` in this order. Raises `NotFoundError` if
    there is no film `after`.
    """
    between = campaigns_between(since, until)
    wanted = [*_matching(statuses, text), *between]
    if campaign_id is not None:
        wanted.append(films.c.campaign_id == campaign_id)
    if key_id is not None:
        wanted.append(campaigns.c.key_id == key_id)
    order = _backwards() if ascending else _ORDER
    # Their ids first: what a listing shows is read from the plans, and only of the films of a page.
    query = sa.select(films.c.id).join(campaigns).where(*wanted).order_by(*order).limit(limit)
    if limit is not None and not (statuses or text or ascending or between or key_id):
        query = query.where(_near(connection, after, limit))
    newest_first = limit is not None and not (ascending or campaign_id) and bool(wanted)
    found: list[FilmRow] = []
    while True:
        ids: Sequence[str] = ()
        if newest_first and connection.dialect.name == "postgresql":
            ids = _among_newest(connection, wanted, after, limit or 0)
        if not ids:
            page = query if after is None else query.where(_beyond(connection, after, ascending))
            ids = connection.execute(page).scalars().all()
        for some in batched(ids, BATCH):
            rows = {row.id: row for row in connection.execute(_NEWEST.where(films.c.id.in_(some)))}
            shown = _with_progress(connection, [rows[one] for one in some if one in rows])
            found += [row for row in shown if not statuses or row.status in statuses]
        # What the status is in this moment is known only now: some may not have been wanted.
        if limit is None or len(found) >= limit or len(ids) < limit:
            return found[:limit]
        after = ids[-1]


AMONG_NEWEST = (200, 5_000)
"""Numbers of the newest campaigns among whose films those that match are looked for first."""


def _among_newest(
    connection: Connection, wanted: list[sa.ColumnElement[bool]], after: str | None, limit: int
) -> Sequence[str]:
    """The ids of the first films that match, if as many are found among the newest campaigns: each
    is asked for its first ones, so that a campaign of many films need not be sorted."""
    place = None if after is None else _place(connection, after)
    for most in AMONG_NEWEST:
        ids = connection.execute(_from_newest(wanted, place, limit, most)).scalars().all()
        if len(ids) == limit:
            return ids
    return ()


def _from_newest(
    wanted: list[sa.ColumnElement[bool]], place: Any, limit: int, most: int
) -> sa.Select[Any]:
    moment = sa.tuple_(campaigns.c.created_at, campaigns.c.id)
    newest = sa.select(campaigns.c.id).order_by(*_NEWEST_CAMPAIGN).limit(most)
    first = (
        sa.select(films.c.id, films.c.position)
        .where(films.c.campaign_id == campaigns.c.id, *wanted)
        .order_by(films.c.position)
        .limit(limit)
        .correlate(campaigns)
    )
    if place is not None:
        here = sa.tuple_(sa.literal(place.created_at), sa.literal(place.campaign_id))
        newest = newest.where(moment <= here)
        same = campaigns.c.id == place.campaign_id
        first = first.where(sa.or_(sa.not_(same), films.c.position > place.position))
    each = first.lateral("first")
    return (
        sa.select(each.c.id)
        .select_from(campaigns.join(each, sa.true()))
        .where(campaigns.c.id.in_(newest))
        .order_by(*_NEWEST_CAMPAIGN, each.c.position)
        .limit(limit)
    )


def _near(connection: Connection, after: str | None, limit: int) -> sa.ColumnElement[bool]:
    """Without a filter, the next `limit` films are among these, to which the indexes lead."""
    last = sa.select(campaigns.c.id).order_by(campaigns.c.created_at.desc(), campaigns.c.id.desc())
    if after is None:
        return sa.and_(films.c.campaign_id.in_(last.limit(limit)), films.c.position <= limit)
    place = _place(connection, after)
    older = sa.tuple_(campaigns.c.created_at, campaigns.c.id) < sa.tuple_(
        sa.literal(place.created_at), sa.literal(place.campaign_id)
    )
    rest = sa.and_(
        films.c.campaign_id == place.campaign_id, films.c.position <= place.position + limit
    )
    others = films.c.campaign_id.in_(last.where(older).limit(limit))
    return sa.or_(rest, sa.and_(others, films.c.position <= limit))


def _matching(statuses: Collection[FilmStatus], text: str) -> list[sa.ColumnElement[bool]]:
    wanted: list[sa.ColumnElement[bool]] = []
    if statuses:
        stored = set(statuses) - {FilmStatus.WAITING}
        if stored != set(statuses) or stored & set(TO_RENDER):
            stored |= set(TO_RENDER)
        wanted.append(films.c.status.in_(stored))
    if text:
        wanted.append(
            sa.or_(
                films.c.title.icontains(text, autoescape=True),
                campaigns.c.name.icontains(text, autoescape=True),
            )
        )
    return wanted


_NEWEST_CAMPAIGN = (campaigns.c.created_at.desc(), campaigns.c.id.desc())
_ORDER = (campaigns.c.created_at.desc(), films.c.campaign_id.desc(), films.c.position)


def _backwards() -> tuple[sa.ColumnElement[Any], ...]:
    return (campaigns.c.created_at, films.c.campaign_id, films.c.position.desc())


def _place(connection: Connection, film_id: str) -> Any:
    """Where a film is in the order of listings. Raises `NotFoundError`."""
    found = connection.execute(
        sa.select(campaigns.c.created_at, films.c.campaign_id, films.c.position)
        .join(campaigns)
        .where(films.c.id == film_id)
    ).first()
    if found is None:
        raise NotFoundError(f"There is no film {film_id!r} to continue after.")
    return found


def _beyond(connection: Connection, film_id: str, ascending: bool) -> sa.ColumnElement[bool]:
    """What comes after this film in the order of listings."""
    last = _place(connection, film_id)
    place = sa.tuple_(campaigns.c.created_at, films.c.campaign_id)
    other = sa.tuple_(sa.literal(last.created_at), sa.literal(last.campaign_id))
    same = films.c.campaign_id == last.campaign_id
    if ascending:
        return sa.or_(place > other, sa.and_(same, films.c.position < last.position))
    return sa.or_(place < other, sa.and_(same, films.c.position > last.position))


def films_of(
    connection: Connection, of: str | None = None, limit: int | None = None
) -> list[FilmRow]:
    """Films with their progress, newest campaign first; all, or the film or campaign `of`."""
    if of is None:
        return find_films(connection, limit=limit)
    newest = _NEWEST.limit(limit)
    if limit is not None:
        first = sa.and_(films.c.campaign_id == of, films.c.position <= limit)
        newest = newest.where(sa.or_(films.c.id == of, first))
    else:
        newest = newest.where(named(of))
    return _with_progress(connection, connection.execute(newest).all())


def film_row(connection: Connection, film_id: str) -> FilmRow:
    """One film with its progress. Raises `NotFoundError`."""
    rows = connection.execute(_NEWEST.where(films.c.id == film_id)).all()
    if not rows:
        raise NotFoundError(f"There is no film {film_id!r}.")
    return _with_progress(connection, rows)[0]


def _newest() -> sa.Select[Any]:
    """The films in the order of listings."""
    columns = (
        films.c[name]
        for name in (
            *("id", "campaign_id", "position", "title", "status", "num_frames", "seconds"),
            *("error", "created_at", "finished_at"),
        )
    )
    return (
        sa.select(
            *columns,
            campaigns.c.name.label("campaign_name"),
            campaigns.c.held,
            films.c.plan["sound"].as_boolean().label("sound"),
        )
        .join(campaigns)
        .order_by(*_ORDER)
    )


# Built once: it is asked for at every look at a film.
_NEWEST = _newest()


def _with_progress(connection: Connection, rows: Sequence[Any]) -> list[FilmRow]:
    """The films of rows of `_newest`, as they are in this moment."""
    counts: dict[str, Any] = {}
    for some in batched(rows, BATCH):
        counts.update(_counts(connection, [row.id for row in some]))
    rows = [row for row in rows if row.id in counts]  # others were removed in this moment
    to_render = [row for row in rows if row.status in TO_RENDER]
    living = registry.living(connection) if to_render else []
    reasons: dict[str, Reason] = {}
    for some in batched(to_render, BATCH):
        standings = [_standing(row, counts[row.id]) for row in some]
        reasons.update(explain(connection, standings, living))
    steps = _steps(living)
    left = _seconds_left(connection, [row.id for row in to_render if counts[row.id].leased])
    return [
        _film_row(
            row, counts[row.id], reasons.get(row.id), steps.get(row.id, 0.0), left.get(row.id)
        )
        for row in rows
    ]


def _seconds_left(connection: Connection, film_ids: list[str]) -> dict[str, float]:
    """How long the films take that are rendered now; of those of which it is known."""
    if not film_ids:
        return {}
    work = pace.of_films(connection, film_ids)
    paces = pace.of_kinds(connection, (kind for left in work.values() for kind in left.by_kind))
    found = {film_id: left.seconds_at(paces) for film_id, left in work.items()}
    return {film_id: seconds for film_id, seconds in found.items() if seconds is not None}


def _standing(row: Any, counts: Any) -> Standing:
    return Standing(
        film_id=row.id,
        campaign_id=row.campaign_id,
        leased=counts.leased,
        left=counts.segments - counts.done,
        held=Hold(row.held) if row.held else None,
    )


def _steps(living: list[WorkerRow]) -> dict[str, float]:
    """How many segments of each film are rendered by the steps that its workers report; newer
    than the progress of the leases."""
    parts: dict[str, float] = {}
    for row in living:
        if row.state is WorkerState.RENDERING and row.film_id and row.step and row.steps:
            parts[row.film_id] = parts.get(row.film_id, 0.0) + row.step / row.steps
    return parts


def _counts(connection: Connection, film_ids: list[str]) -> dict[str, Any]:
    """How many segments each film has, how many are done, and what is under way."""
    under_way = sa.case((LEASED, segments.c.progress), else_=0.0)
    done = sa.case((segments.c.status == SegmentStatus.DONE, 1), else_=0)
    rows = connection.execute(
        sa.select(
            segments.c.film_id,
            sa.func.count().label("segments"),
            sa.func.sum(done).label("done"),
            sa.func.sum(sa.case((segments.c.reused, 1), else_=0)).label("reused"),
            sa.func.sum(under_way).label("part"),
            sa.func.sum(sa.case((LEASED, 1), else_=0)).label("leased"),
        )
        .where(segments.c.film_id.in_(film_ids))
        .group_by(segments.c.film_id)
    )
    return {row.film_id: row for row in rows}


def _status(row: Any, leased: int, reason: Reason | None) -> FilmStatus:
    """A film's status: of one that is to be rendered, what is true of it in this moment."""
    if row.status not in TO_RENDER:
        return FilmStatus(row.status)
    if leased:
        return FilmStatus.RENDERING
    return FilmStatus.WAITING if reason and reason.blocked else FilmStatus.QUEUED


def _film_row(
    row: Any, counts: Any, reason: Reason | None, steps: float, seconds_left: float | None
) -> FilmRow:
    status = _status(row, counts.leased, reason)
    part = (counts.done + max(counts.part, steps)) / max(counts.segments, 1)
    return FilmRow(
        id=row.id,
        campaign=row.campaign_id,
        campaign_name=row.campaign_name,
        title=row.title,
        status=status,
        # Joining and checking are work too: all segments are not yet the whole film.
        progress=1.0 if status is FilmStatus.DELIVERED else round(min(part, 0.99), 3),
        frames=row.num_frames,
        seconds=row.seconds,
        sound=bool(row.sound),  # None in plans from before films had sound
        segments=counts.segments,
        done=counts.done,
        reused=counts.reused,
        seconds_left=None if seconds_left is None else round(seconds_left, 1),
        waiting=reason.text if reason else None,
        error=row.error,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )


def tally(connection: Connection, campaign_id: str) -> Tally:
    """How many of a campaign's films and segments are in each status.

    Of the films to be rendered, those with a leased segment count as rendering, and the others as
    queued.
    """
    counts = {
        FilmStatus(status): count
        for status, count in connection.execute(_by_status(films, campaign_id))
    }
    to_render = sum(counts.pop(status, 0) for status in TO_RENDER)
    leased = connection.execute(
        sa.select(sa.func.count(segments.c.film_id.distinct())).where(
            LEASED, segments.c.campaign_id == campaign_id
        )
    ).scalar_one()
    rendering = min(leased, to_render)
    work = pace.of_campaign(connection, campaign_id) if leased else None
    seconds = work.seconds_at(pace.of_kinds(connection, work.by_kind)) if work else None
    shown = {FilmStatus.QUEUED: to_render - rendering, FilmStatus.RENDERING: rendering}
    return Tally(
        films={**counts, **{status: count for status, count in shown.items() if count}},
        segments={
            SegmentStatus(status): count
            for status, count in connection.execute(_by_status(segments, campaign_id))
        },
        seconds_left=None if seconds is None else round(seconds, 1),
    )


def _by_status(table: sa.Table, campaign_id: str) -> sa.Select[Any]:
    return (
        sa.select(table.c.status, sa.func.count())
        .where(table.c.campaign_id == campaign_id)
        .group_by(table.c.status)
    )


def campaign_films(
    connection: Connection, campaign_ids: Collection[str]
) -> dict[str, CampaignFilms]:
    """How many films each of these campaigns has."""

    def count(which: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.sum(sa.case((which, 1), else_=0))

    rows = connection.execute(
        sa.select(
            films.c.campaign_id,
            sa.func.count().label("total"),
            count(films.c.status == FilmStatus.DELIVERED).label("delivered"),
            count(films.c.status == FilmStatus.FAILED).label("failed"),
            count(films.c.finished_at.is_not(None)).label("finished"),
        )
        .where(films.c.campaign_id.in_(campaign_ids))
        .group_by(films.c.campaign_id)
    )
    return {
        row.campaign_id: CampaignFilms(
            total=row.total, delivered=row.delivered, failed=row.failed, finished=row.finished
        )
        for row in rows
    }
