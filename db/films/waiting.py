"""Why open films do not move, each in a sentence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db.segments.work_kinds import Kind, read_kind
from db.tables import LEASED, READY, campaigns, events, kinds, segments
from db.workers.registry import WorkerRow, WorkerState
from db.workers.unservable import can_render, explain_lack
from film.types import Hold, Struct, counted

NAMES = 3
"""Workers that a reason names; of more, it says how many."""
HELD = {
    WorkerState.QUIET: "in their quiet hours",
    WorkerState.DRAINING: "drained",
    WorkerState.DRAINED: "drained",
    WorkerState.STOPPED: "stopped",
}
"""States in which a worker takes no new work."""


class Reason(Struct, frozen=True, kw_only=True):
    """Why a film does not move."""

    text: str
    blocked: bool
    """True if it moves only when somebody acts or a part that is away returns; False if its turn
    comes by itself."""


class Standing(Struct, frozen=True, kw_only=True):
    """How far an open film is, as far as its reason depends on it."""

    film_id: str
    campaign_id: str
    leased: int
    """Segments that workers hold."""
    left: int
    """Segments without a take, the leased ones included."""


def explain(
    connection: Connection, films: Sequence[Standing], living: Sequence[WorkerRow]
) -> dict[str, Reason]:
    """The reasons of those open films that do not move, by film id; of films that a worker loads
    the model for, which worker that is."""
    loading = {row.film_id: row.name for row in living if row.state is WorkerState.LOADING}
    busy = {row.film_id for row in living if row.state is WorkerState.RENDERING}
    found = {
        film.film_id: Reason(text=f"{loading[film.film_id]} is loading the model", blocked=False)
        for film in films
        if film.leased and film.film_id in loading and film.film_id not in busy
    }
    still = [film for film in films if not film.leased]
    rendered = [film.film_id for film in still if not film.left]
    found |= _explain_rendered(connection, rendered, living)
    unrendered = [film for film in still if film.left]
    found |= _explain_held_campaigns(connection, unrendered)
    unrendered = [film for film in unrendered if film.film_id not in found]
    if unrendered:
        found |= _explain_unrendered(connection, unrendered, living)
    return found


def _explain_held_campaigns(connection: Connection, films: Sequence[Standing]) -> dict[str, Reason]:
    """The reasons of films whose campaigns are held by a budget or a quota."""
    if not films:
        return {}
    query = sa.select(campaigns.c.id, campaigns.c.held).where(
        campaigns.c.id.in_({film.campaign_id for film in films}), campaigns.c.held.is_not(None)
    )
    held = {row.id: Hold(row.held) for row in connection.execute(query)}
    return {
        film.film_id: Reason(text=_WHY_HELD[held[film.campaign_id]], blocked=True)
        for film in films
        if film.campaign_id in held
    }


_WHY_HELD = {
    Hold.BUDGET: "The budget of its campaign is used; `longreel budget` gives it more",
    Hold.QUOTA: "The GPU time that its key may use in a day is used; it continues by itself",
}


def _explain_rendered(
    connection: Connection, film_ids: Sequence[str], living: Sequence[WorkerRow]
) -> dict[str, Reason]:
    """The reasons of films with nothing left to render, which are to be joined."""
    if not film_ids:
        return {}
    done = "All segments are rendered"
    if not living:
        text = f"{done}, and no worker is running to join them; start `longreel worker`"
        return dict.fromkeys(film_ids, Reason(text=text, blocked=True))
    troubled = _trouble(living)
    if troubled:
        return dict.fromkeys(film_ids, Reason(text=f"{done}. {troubled}", blocked=True))
    told = _last_waiting_events(connection, film_ids)
    soon = Reason(text=f"{done}; they are joined next", blocked=False)
    return {
        film_id: Reason(text=told[film_id], blocked=True) if film_id in told else soon
        for film_id in film_ids
    }


def _last_waiting_events(connection: Connection, film_ids: Sequence[str]) -> dict[str, str]:
    """The last event's message of those films whose last event says what they wait for."""
    last = (
        sa.select(sa.func.max(events.c.id))
        .where(events.c.film_id.in_(film_ids))
        .group_by(events.c.film_id)
    )
    rows = connection.execute(
        sa.select(events.c.film_id, events.c.message).where(
            events.c.id.in_(last), events.c.kind == "waiting"
        )
    )
    return {row.film_id: row.message for row in rows}


def _explain_unrendered(
    connection: Connection, films: Sequence[Standing], living: Sequence[WorkerRow]
) -> dict[str, Reason]:
    if not living:
        nobody = Reason(text="No worker is running; start `longreel worker`", blocked=True)
        return {film.film_id: nobody for film in films}
    ready = _ready_kinds(connection, [film.film_id for film in films])
    full = _full_campaigns(connection, {film.campaign_id for film in films})
    others = _rendered_elsewhere(connection, [film.film_id for film in films])
    found = {}
    for film in films:
        choices = [
            reason
            for kind, error in ready.get(film.film_id, ())
            if (
                reason := _explain_kind(
                    kind, living, full.get(film.campaign_id), others.get(film.film_id), error
                )
            )
        ]
        if choices:
            found[film.film_id] = min(choices, key=lambda reason: reason.blocked)
    return found


def _explain_kind(
    kind: Kind,
    living: Sequence[WorkerRow],
    cap: int | None,
    elsewhere: str | None,
    error: str | None,
) -> Reason | None:
    """Why no worker takes a ready segment of `kind`. `cap`: its campaign renders as many segments
    as it may; `elsewhere`: the film for which a worker renders this segment; `error`: that of its
    last attempt."""
    able = [row for row in living if can_render(row, kind)]
    if not able:
        return Reason(text=explain_lack(kind, living), blocked=True)
    taking = [row for row in able if row.state not in HELD]
    if not taking:
        return Reason(text=_explain_held(able), blocked=True)
    troubled = _trouble(taking)
    if troubled:
        return Reason(text=troubled, blocked=True)
    if cap is not None:
        text = f"Its campaign renders at most {counted(cap, 'segment')} at a time"
        return Reason(text=text, blocked=False)
    if elsewhere is not None:
        text = f"The same segment is being rendered for the film {elsewhere}"
        return Reason(text=text, blocked=False)
    if error is not None:
        return Reason(text=f"Tried again soon; the last attempt failed: {error}", blocked=False)
    if any(row.state is WorkerState.IDLE for row in taking):
        return None  # it is being claimed in this moment
    return Reason(text=f"Its turn comes after other work of {_names(taking)}", blocked=False)


def _explain_held(able: Sequence[WorkerRow]) -> str:
    """`Every worker that can render it takes no new work: a (drained), b (quiet 22:00-07:00)`."""
    what = [
        f"{row.name} ({f'quiet {row.quiet}' if row.state is WorkerState.QUIET else row.state})"
        for row in able[:NAMES]
    ]
    more = f" and {len(able) - NAMES} more" if len(able) > NAMES else ""
    drained = next((row.name for row in able if row.state is not WorkerState.QUIET), None)
    how = f"; `longreel worker resume {drained}` continues it" if drained else ""
    return f"No worker that can render it takes new work: {', '.join(what)}{more}{how}"


def _trouble(workers: Sequence[WorkerRow]) -> str | None:
    """What all of the workers report as their trouble; None if any has none."""
    if not workers or not all(row.error for row in workers):
        return None
    return f"Worker {workers[0].name}: {workers[0].error}"


def _names(workers: Sequence[WorkerRow]) -> str:
    names = sorted(row.name for row in workers)
    return ", ".join(names) if len(names) <= NAMES else counted(len(names), "worker")


def _ready_kinds(
    connection: Connection, film_ids: Sequence[str]
) -> dict[str, list[tuple[Kind, str | None]]]:
    """The kinds of each film's ready segments, each with the error of an attempt at one."""
    rows = connection.execute(
        sa.select(segments.c.film_id, kinds, sa.func.max(segments.c.error).label("error"))
        .join(
            kinds,
            sa.and_(kinds.c.campaign_id == segments.c.campaign_id, kinds.c.kind == segments.c.kind),
        )
        .where(segments.c.film_id.in_(film_ids), READY)
        .group_by(segments.c.film_id, kinds.c.campaign_id, kinds.c.kind)
        .order_by(segments.c.film_id, kinds.c.kind)
    )
    found = defaultdict(list)
    for row in rows:
        found[row.film_id].append((read_kind(row), row.error))
    return found


def _full_campaigns(connection: Connection, campaign_ids: set[str]) -> Mapping[str, int]:
    """The caps of those campaigns of which as many segments are rendered as may be."""
    leased = (
        sa.select(sa.func.count())
        .where(LEASED, segments.c.campaign_id == campaigns.c.id)
        .scalar_subquery()
    )
    rows = connection.execute(
        sa.select(campaigns.c.id, campaigns.c.max_workers).where(
            campaigns.c.id.in_(campaign_ids),
            campaigns.c.max_workers.is_not(None),
            leased >= campaigns.c.max_workers,
        )
    )
    return {row.id: row.max_workers for row in rows}


def _rendered_elsewhere(connection: Connection, film_ids: Sequence[str]) -> dict[str, str]:
    """For films of which a worker renders a ready segment for another film: that one."""
    other = segments.alias()
    rows: Any = connection.execute(
        sa.select(segments.c.film_id, sa.func.min(other.c.film_id).label("other"))
        .join(other, other.c.address == segments.c.address)
        .where(
            segments.c.film_id.in_(film_ids),
            READY,
            other.c.status == sa.literal_column("'leased'"),
        )
        .group_by(segments.c.film_id)
    )
    return {row.film_id: row.other for row in rows}
