"""Budgets of campaigns and daily quotas of keys: compared with what was used, and acted upon.

A campaign over its budget, or whose key is over its quota, is held: nothing more of it is
dispatched, and what is being rendered is finished. What is being rendered counts with what it is
expected to use, so that a budget is exceeded by no more than what was claimed between two checks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db import events, spending
from db.clock import now
from db.films import user_actions
from db.rows import columns_of, read_row
from db.tables import LEASED, api_keys, campaigns, films, segments
from film.types import Hold, OverBudget, Struct

CHECK_SECONDS = 5.0
"""Pause between two checks of a campaign."""
WARN_AT = 0.8
"""Part of the budget at which a warning is recorded."""


class Budgeted(Struct, frozen=True, kw_only=True):
    """A campaign whose budget or quota is to be checked."""

    id: str
    key_id: str | None
    budget_seconds: float | None
    over_budget: OverBudget | None
    budget_warned_at: float | None
    held: Hold | None


class Verdict(Struct, frozen=True, kw_only=True):
    """What a check comes to."""

    held: Hold | None
    """Why nothing of the campaign is to be dispatched; None if it is."""
    cancelled: bool = False
    """True if its films are to be cancelled."""
    warned: bool = False
    """True if it is near its budget or over it."""


def judge(
    campaign: Budgeted, used: float, expected: float, quota: float | None, of_key: float
) -> Verdict:
    """What is to be done about a campaign that used `used` GPU-seconds, and whose running segments
    are expected to use `expected`; its key may use `quota` a day and has used, or is about to use,
    `of_key`."""
    budget = campaign.budget_seconds
    over = budget is not None and used + expected >= budget
    spent = budget is not None and used >= budget
    near = budget is not None and used >= WARN_AT * budget
    action = campaign.over_budget or OverBudget.STOP
    if over and action is not OverBudget.WARN:
        cancelled = spent and action is OverBudget.CANCEL
        return Verdict(held=Hold.BUDGET, cancelled=cancelled, warned=True)
    exhausted = quota is not None and of_key >= quota
    return Verdict(held=Hold.QUOTA if exhausted else None, warned=near)


def check(connection: Connection) -> list[tuple[str, Verdict]]:
    """Checks the campaigns that are due, each by one process only; returns those about which
    something was done. Those that are to be cancelled are held; cancel them in a transaction of
    its own: films are locked before campaigns."""
    due = _due(connection)
    if not due:
        return []
    used = spending.of_campaigns(connection, [campaign.id for campaign in due])
    expected = _expected(connection, campaigns.c.id.in_([campaign.id for campaign in due]))
    quotas, of_keys = _of_keys(connection, {c.key_id for c in due if c.key_id})
    changed = []
    for campaign in due:
        verdict = judge(
            campaign,
            used[campaign.id],
            expected.get(campaign.id, 0.0),
            quotas.get(campaign.key_id or ""),
            of_keys.get(campaign.key_id or "", 0.0),
        )
        if _act(connection, campaign, verdict, used[campaign.id]):
            changed.append((campaign.id, verdict))
    return changed


def cancel(connection: Connection, campaign_id: str) -> None:
    """Cancels what is left of a campaign that has used its budget."""
    user_actions.cancel(connection, campaign_id, "Cancelled: the campaign's budget is used")


def set_budget(
    connection: Connection,
    campaign_id: str,
    seconds: float | None,
    over: OverBudget | None = None,
) -> None:
    """Gives a campaign another budget in GPU-seconds (None: no limit), from the next claim on.
    `over` stays as it is if it is None."""
    values: dict[str, Any] = {
        "budget_seconds": seconds,
        "budget_warned_at": None,
        "checked_at": None,
        "held": sa.case((campaigns.c.held == Hold.BUDGET, None), else_=campaigns.c.held),
    }
    if over is not None:
        values["over_budget"] = over
    connection.execute(campaigns.update().where(campaigns.c.id == campaign_id).values(**values))


def _due(connection: Connection) -> list[Budgeted]:
    """The campaigns to check now, marked as checked."""
    other = campaigns.alias()  # the same name would mean the row that is updated
    limited = sa.select(api_keys.c.id).where(api_keys.c.gpu_seconds_a_day.is_not(None))
    free = (
        sa.select(other.c.id)
        .where(
            other.c.active,
            sa.or_(
                other.c.budget_seconds.is_not(None),
                other.c.held.is_not(None),
                other.c.key_id.in_(limited),
            ),
            sa.or_(other.c.checked_at.is_(None), other.c.checked_at < now() - CHECK_SECONDS),
        )
        # Another process checks it, or a claim counts its workers: looked at next time.
        .with_for_update(skip_locked=True, key_share=True)
    )
    rows = connection.execute(
        campaigns.update()
        .where(campaigns.c.id.in_(free))
        .values(checked_at=now())
        .returning(*columns_of(campaigns, Budgeted))
    )
    return [read_row(Budgeted, row) for row in rows]


def _expected(connection: Connection, which: sa.ColumnElement[bool]) -> dict[str, float]:
    """What the running segments of campaigns are expected to use until they end, by campaign: as
    long as others of their kind, or as long as they run already."""
    elapsed = now() - segments.c.started_at
    rows = connection.execute(
        sa.select(segments.c.campaign_id, segments.c.kind, elapsed.label("elapsed"))
        .join(campaigns, campaigns.c.id == segments.c.campaign_id)
        .where(LEASED, which)
    ).all()
    usual = _usual(connection, {row.kind for row in rows})
    found: dict[str, float] = {}
    for row in rows:
        seconds = max(row.elapsed or 0.0, usual.get(row.kind, 0.0))
        found[row.campaign_id] = found.get(row.campaign_id, 0.0) + seconds
    return found


def _usual(connection: Connection, kinds: set[str]) -> dict[str, float]:
    """The median of what takes of these kinds used; of those of which it is known."""
    found: dict[str, list[float]] = {}
    for sample in spending.samples(connection, kinds):
        found.setdefault(sample.kind, []).append(sample.gpu_seconds)
    return {kind: median(seconds) for kind, seconds in found.items()}


def _of_keys(
    connection: Connection, key_ids: set[str]
) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """The daily quotas of those keys that have one, and what these keys used or are about to."""
    rows = connection.execute(
        sa.select(api_keys.c.id, api_keys.c.gpu_seconds_a_day).where(
            api_keys.c.id.in_(key_ids), api_keys.c.gpu_seconds_a_day.is_not(None)
        )
    )
    quotas = {row.id: row.gpu_seconds_a_day for row in rows}
    used = {}
    for key_id in quotas:
        running = _expected(connection, campaigns.c.key_id == key_id)
        used[key_id] = spending.of_key(connection, key_id) + sum(running.values())
    return quotas, used


def _act(connection: Connection, campaign: Budgeted, verdict: Verdict, used: float) -> bool:
    """Does what a verdict says; False if nothing changes."""
    warns = verdict.warned and campaign.budget_warned_at is None
    if verdict.held is campaign.held and not (verdict.cancelled or warns):
        return False
    values: dict[str, Any] = {"held": verdict.held}
    if warns:
        values["budget_warned_at"] = now()
    connection.execute(campaigns.update().where(campaigns.c.id == campaign.id).values(**values))
    share = used / campaign.budget_seconds if campaign.budget_seconds else 0.0
    _tell(connection, campaign, verdict, share)
    return True


def _tell(connection: Connection, campaign: Budgeted, verdict: Verdict, share: float) -> None:
    """Records what changed, at the first open film of the campaign."""
    if verdict.held is Hold.BUDGET:
        message = (
            "The campaign's budget is used: no more segments are started"
            if share >= 1
            else "The segments being rendered are expected to use up the campaign's budget: no "
            "more are started"
        )
    elif verdict.held is Hold.QUOTA:
        message = "The daily GPU time of the campaign's key is used: no more segments are started"
    elif campaign.held:
        message = "Segments are started again: budget and quota allow it"
    else:
        message = f"{share:.0%} of the campaign's budget is used"
    first = (
        sa.select(films.c.id)
        .where(films.c.campaign_id == campaign.id, films.c.finished_at.is_(None))
        .order_by(films.c.position)
        .limit(1)
    )
    film_ids: Sequence[str] = connection.execute(first).scalars().all()
    events.record_all(connection, film_ids, "budget", message)
