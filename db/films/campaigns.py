"""Campaigns with their films: adding them, and what users decide about them as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from db import events
from db.clock import now
from db.films.films import batched, named
from db.rows import columns_of, read_row
from db.segments.readiness import adopt_takes
from db.segments.work_kinds import Kind, insert_kinds, kind_of
from db.tables import campaigns, films, segments
from db.tables import events as event_table
from film.errors import NotFoundError
from film.types import (
    FilmRequest,
    FilmStatus,
    Hold,
    OverBudget,
    Plan,
    SegmentStatus,
    Struct,
    counted,
    to_json,
)

FILMS_AT_ONCE = 500
BATCH = 5_000
"""Rows handed to the database at a time; bounds the memory of a large submission."""


class CampaignRow(Struct, frozen=True, kw_only=True):
    """A campaign as its owner sees it."""

    id: str
    name: str
    priority: int
    active: bool
    """True if it has films that are not finished."""
    created_at: float
    paused_at: float | None
    deadline: float | None
    max_workers: int | None
    key_id: str | None = None
    """Id of the key that it was submitted with; None for the command line."""
    budget_seconds: float | None = None
    """GPU-seconds that it may use; None for no limit."""
    over_budget: OverBudget | None = None
    """What happens when they are used; None means `stop`."""
    held: Hold | None = None
    """Why nothing of it is dispatched: its budget or its key's daily quota is used."""


def insert_campaign(
    connection: Connection,
    campaign_id: str,
    name: str,
    priority: int = 0,
    deadline: float | None = None,
    max_workers: int | None = None,
    budget_seconds: float | None = None,
    over_budget: OverBudget | None = None,
    key_id: str | None = None,
) -> bool:
    """Adds a campaign without films; False if one with that id exists.

    `deadline` is in seconds since 1970; `max_workers` bounds the number of its segments rendered at
    the same time. The others are as in `CampaignRow`.
    """
    values = {
        "id": campaign_id,
        "name": name,
        "priority": priority,
        "deadline": deadline,
        "max_workers": max_workers,
        "budget_seconds": budget_seconds,
        "over_budget": over_budget,
        "key_id": key_id,
        "created_at": now(),
    }
    try:
        with connection.begin_nested():
            connection.execute(campaigns.insert().values(**values))
    except IntegrityError:
        return False
    return True


def insert_films(
    connection: Connection, campaign_id: str, planned: Sequence[tuple[FilmRequest, Plan]]
) -> list[str]:
    """Adds films with all their segments to a new campaign, and returns the films' ids.

    Segments that were rendered before are done from the beginning.
    """
    created = connection.execute(sa.select(now())).scalar_one()
    ids = [f"{campaign_id}-{position}" for position in range(1, len(planned) + 1)]
    found: dict[str, Kind] = {}
    for some in batched(range(len(planned)), FILMS_AT_ONCE):
        film_rows = [_film_values(ids[n], campaign_id, n + 1, *planned[n]) for n in some]
        connection.execute(films.insert(), [{**row, "created_at": created} for row in film_rows])
        told = [_told(ids[n], planned[n][1], created) for n in some]
        connection.execute(event_table.insert(), told)
        segment_rows: list[dict[str, Any]] = []
        for n in some:
            segment_rows += _segment_values(ids[n], campaign_id, *planned[n], found)
            if len(segment_rows) >= BATCH:
                connection.execute(segments.insert(), segment_rows)
                segment_rows = []
        if segment_rows:
            connection.execute(segments.insert(), segment_rows)
    insert_kinds(connection, campaign_id, found.values())
    adopt_takes(connection, segments.c.campaign_id == campaign_id)
    return ids


def _told(film_id: str, plan: Plan, at: float) -> dict[str, Any]:
    message = (
        f"{counted(plan.num_frames, 'frame')} ({plan.seconds:g} s) in "
        f"{counted(len(plan.scenes), 'scene')}, {counted(len(plan.segments), 'segment')}"
    )
    return {"film_id": film_id, "kind": "queued", "message": message, "at": at}


def _film_values(
    film_id: str, campaign_id: str, position: int, request: FilmRequest, plan: Plan
) -> dict[str, Any]:
    return {
        "id": film_id,
        "campaign_id": campaign_id,
        "position": position,
        "title": request.title,
        "status": FilmStatus.QUEUED,
        "request": to_json(request),
        "plan": to_json(plan),
        "num_frames": plan.num_frames,
        "seconds": plan.seconds,
    }


def _segment_values(
    film_id: str, campaign_id: str, request: FilmRequest, plan: Plan, found: dict[str, Kind]
) -> list[dict[str, Any]]:
    """The rows of a film's segments; their kinds are added to `found`."""
    rows = []
    for segment in plan.segments:
        kind = kind_of(plan, segment, request.tags, request.settings.flags)
        found[kind.name] = kind
        ready = segment.continues is None
        rows.append(
            {
                "film_id": film_id,
                "position": segment.index,
                "continues": segment.continues,
                "address": segment.address,
                "campaign_id": campaign_id,
                "kind": kind.name,
                "status": SegmentStatus.READY if ready else SegmentStatus.WAITING,
            }
        )
    return rows


# -- reading -----------------------------------------------------------------------------------


def get(connection: Connection, campaign_id: str) -> CampaignRow | None:
    """A campaign, None if there is none by that id."""
    query = sa.select(*columns_of(campaigns, CampaignRow)).where(campaigns.c.id == campaign_id)
    row = connection.execute(query).first()
    return None if row is None else read_row(CampaignRow, row)


def of(connection: Connection, name: str) -> CampaignRow:
    """The campaign `name`, or that of the film `name`. Raises `NotFoundError`."""
    found = get(connection, name)
    if found is None:
        campaign_id = connection.execute(
            sa.select(films.c.campaign_id).where(films.c.id == name)
        ).scalar()
        found = get(connection, campaign_id) if campaign_id else None
    if found is None:
        raise NotFoundError(
            f"There is no film or campaign {name!r}; `longreel ls` lists what there is."
        )
    return found


def campaigns_between(since: float | None, until: float | None) -> list[sa.ColumnElement[bool]]:
    """Conditions for campaigns that were submitted from `since` to `until`, in seconds since
    1970."""
    first = [] if since is None else [campaigns.c.created_at >= since]
    return first if until is None else [*first, campaigns.c.created_at <= until]


def newest(
    connection: Connection,
    limit: int | None = None,
    after: str | None = None,
    *,
    key_id: str | None = None,
    since: float | None = None,
    until: float | None = None,
) -> list[CampaignRow]:
    """The campaigns, newest first; those after the campaign `after`, of one key, and submitted from
    `since` to `until`, if given.

    Raises `NotFoundError` if there is no such campaign.
    """
    query = (
        sa.select(*columns_of(campaigns, CampaignRow))
        .where(*campaigns_between(since, until))
        .order_by(campaigns.c.created_at.desc(), campaigns.c.id.desc())
        .limit(limit)
    )
    if key_id is not None:
        query = query.where(campaigns.c.key_id == key_id)
    if after is not None:
        last = get(connection, after)
        if last is None:
            raise NotFoundError(f"There is no campaign {after!r} to continue after.")
        place = sa.tuple_(campaigns.c.created_at, campaigns.c.id)
        query = query.where(place < sa.tuple_(sa.literal(last.created_at), sa.literal(after)))
    return [read_row(CampaignRow, row) for row in connection.execute(query)]


def resolve(connection: Connection, name: str) -> list[str]:
    """Ids of the films that `name` means: a film's own id, or all of a campaign's.

    Raises `NotFoundError`.
    """
    campaign = of(connection, name)
    if campaign.id != name:
        return [name]
    query = sa.select(films.c.id).where(films.c.campaign_id == name).order_by(films.c.position)
    return list(connection.execute(query).scalars())


def is_open(connection: Connection, name: str) -> bool:
    """True if a film, or any film of a campaign, is not finished."""
    query = sa.select(films.c.id).where(named(name), films.c.finished_at.is_(None)).limit(1)
    return connection.execute(query).first() is not None


def count_open(connection: Connection, name: str) -> int:
    """How many films that `name` means are not finished."""
    query = sa.select(sa.func.count()).select_from(films)
    return connection.execute(query.where(named(name), films.c.finished_at.is_(None))).scalar_one()


# -- what users decide -------------------------------------------------------------------------


def pause(connection: Connection, campaign_id: str) -> bool:
    """Holds a campaign until it is resumed; False if it is paused or finished already.

    Segments that are being rendered are finished and kept, and films that are being joined are
    delivered.
    """
    to_render = (FilmStatus.QUEUED, FilmStatus.RENDERING)
    values = {"status": FilmStatus.PAUSED, "owner": None, "lease_until": None}
    held = _move(connection, campaign_id, to_render, values)
    may = sa.and_(campaigns.c.paused_at.is_(None), campaigns.c.active)
    changed = _set_paused(connection, campaign_id, now(), may)
    events.record_all(connection, held, "paused", "Paused by the user")
    return changed


def resume(connection: Connection, campaign_id: str) -> bool:
    """Continues a campaign; False if it is not paused."""
    freed = _move(connection, campaign_id, (FilmStatus.PAUSED,), {"status": FilmStatus.QUEUED})
    changed = _set_paused(connection, campaign_id, None, campaigns.c.paused_at.is_not(None))
    events.record_all(connection, freed, "queued", "Resumed by the user")
    return changed


def set_priority(connection: Connection, campaign_id: str, priority: int) -> None:
    """From the next claim on, the campaign is as urgent as that: higher is sooner."""
    connection.execute(
        campaigns.update().where(campaigns.c.id == campaign_id).values(priority=priority)
    )


def set_deadline(connection: Connection, campaign_id: str, deadline: float | None) -> None:
    """Among campaigns of equal priority the nearest deadline is rendered first; None removes it."""
    connection.execute(
        campaigns.update().where(campaigns.c.id == campaign_id).values(deadline=deadline)
    )


def set_max_workers(connection: Connection, campaign_id: str, number: int | None) -> None:
    """Bounds the number of its segments rendered at the same time; None removes the bound."""
    connection.execute(
        campaigns.update().where(campaigns.c.id == campaign_id).values(max_workers=number)
    )


def _move(
    connection: Connection, campaign_id: str, of: Sequence[FilmStatus], values: dict[str, Any]
) -> list[str]:
    """Changes the campaign's films in one of the statuses `of`, and returns their ids."""
    return list(
        connection.execute(
            films.update()
            .where(films.c.campaign_id == campaign_id, films.c.status.in_(of))
            .values(**values)
            .returning(films.c.id)
        ).scalars()
    )


def _set_paused(
    connection: Connection, campaign_id: str, at: Any, where: sa.ColumnElement[bool]
) -> bool:
    result = connection.execute(
        campaigns.update().where(campaigns.c.id == campaign_id, where).values(paused_at=at)
    )
    return result.rowcount == 1


def require_own_film(connection: Connection, key_id: str | None, name: str) -> None:
    """Raises `NotFoundError` if a film or a campaign was not submitted with the key; None for any
    key."""
    if key_id is not None and of(connection, name).key_id != key_id:
        raise NotFoundError(f"There is no film or campaign {name!r}.")
