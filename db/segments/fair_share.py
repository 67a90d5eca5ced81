"""Whose turn it is: the campaigns that a worker should take its next segment from.

The most urgent campaign comes first, then the one whose deadline is nearest, then one of the user
(a key of the service; the command line is one, too) for whom fewest workers render, then one of
the user who has waited longest for a turn. Among the campaigns of a user, the same counts: so users
share the farm evenly, however many campaigns they have, and so do the campaigns of a user, however
many segments they have.
"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

from db.clock import now
from db.segments.work_kinds import model_of, within
from db.tables import LEASED, READY, campaigns, kinds, segments
from film.types import Struct

CHOICES = 16
"""Number of campaigns' kinds that a claim tries one after another, if others are faster each
time."""


LOCK_SECONDS = 2
"""How long a claim waits for another one that holds a campaign; a claim takes milliseconds."""
LOCK_NOT_AVAILABLE = "55P03"
"""PostgreSQL's code for a lock that could not be had in time."""
_LOCK_TIMEOUT = sa.text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")


class Abilities(Struct, frozen=True, kw_only=True):
    """What a worker can render, and what it would like best."""

    models: tuple[str, ...]
    weights: tuple[str, ...] | None = None
    """The revisions of them that it has, as `work_kinds.weights_of` writes them; None for any."""
    tags: frozenset[str] = frozenset()
    """It has these; a film's required tags must be among them."""
    warm: str | None = None
    """The kind it rendered last."""
    campaigns: tuple[str, ...] | None = None
    """Ids of the only campaigns to claim from, if given (`longreel render`)."""
    without: tuple[str, ...] = ()
    """None of these kinds: it had too little memory for them."""
    avoid: tuple[int, ...] = ()
    """None of these segments, by id: it failed at them."""


class Choice(Struct, frozen=True, kw_only=True):
    """A kind of work in a campaign, of which something is ready."""

    campaign_id: str
    kind: str
    max_workers: int | None
    """As many segments of the campaign may be leased at a time."""


def choices(connection: Connection, able: Abilities) -> list[Choice]:
    """What the worker may take a segment of now, best first; a few of many."""
    values: dict[str, Any] = {
        "models": able.models,
        "any_weights": able.weights is None,
        "weights": able.weights or (),
        "tags": msgspec.json.encode(sorted(able.tags)).decode(),
        "without": able.without,
        "warm": able.warm or "",
        "warm_model": model_of(able.warm or ""),
    }
    if able.campaigns is None:
        rows = connection.execute(_CHOICES, values)
    else:
        rows = connection.execute(_CHOICES_OF, {**values, "only": able.campaigns})
    return [Choice(campaign_id=row.id, kind=row.kind, max_workers=row.max_workers) for row in rows]


def has_room(connection: Connection, choice: Choice, *, wait: bool) -> bool:
    """True if the campaign's cap allows one more worker, which stays so in this transaction.

    If another claim holds the campaign, waits for it, or returns False without `wait`. One that
    holds it for seconds, because its machine is lost, is not waited for.
    """
    if choice.max_workers is None:
        return True
    try:
        with connection.begin_nested():
            if connection.dialect.name == "postgresql":
                connection.execute(_LOCK_TIMEOUT)
            held = connection.execute(
                sa.select(campaigns.c.max_workers)
                .where(campaigns.c.id == choice.campaign_id, campaigns.c.paused_at.is_(None))
                .with_for_update(key_share=True, skip_locked=not wait)
            ).first()
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE:
            raise
        return False
    if held is None:
        return False
    # Counted after the row was locked, so that what the claims before us took is seen.
    running = connection.execute(
        sa.select(sa.func.count()).where(LEASED, segments.c.campaign_id == choice.campaign_id)
    ).scalar_one()
    return held.max_workers is None or running < held.max_workers


def served(connection: Connection, campaign_id: str) -> None:
    """Notes that a campaign had its turn; skipped if another claim notes the same."""
    connection.execute(_SERVED, {"served": campaign_id})


def _choices() -> sa.Select[Any]:
    running = (
        sa.select(segments.c.campaign_id, sa.func.count().label("count"))
        .where(LEASED)
        .group_by(segments.c.campaign_id)
        .subquery()
    )
    count = sa.func.coalesce(running.c.count, 0)
    user = sa.func.coalesce(campaigns.c.key_id, "")
    users = (
        sa.select(
            user.label("id"),
            sa.func.sum(count).label("count"),
            sa.func.max(campaigns.c.served_at).label("served_at"),
        )
        .join(running, running.c.campaign_id == campaigns.c.id, isouter=True)
        .where(campaigns.c.active)
        .group_by(user)
        .subquery()
    )
    # A subquery rather than EXISTS, which PostgreSQL would turn into a join over all that is ready.
    one_ready = (
        sa.select(segments.c.id)
        .where(
            READY,
            segments.c.campaign_id == kinds.c.campaign_id,
            segments.c.kind == kinds.c.kind,
        )
        .order_by(segments.c.id)  # which leads to the claim's index, not to another one
        .limit(1)
        .scalar_subquery()
    )
    has_weights = sa.or_(
        sa.bindparam("any_weights", type_=sa.Boolean),
        kinds.c.revision.is_(None),
        (kinds.c.model + "@" + kinds.c.revision).in_(sa.bindparam("weights", expanding=True)),
    )
    able = sa.and_(
        kinds.c.model.in_(sa.bindparam("models", expanding=True)),
        has_weights,
        kinds.c.kind.not_in(sa.bindparam("without", expanding=True)),
        within(sa.type_coerce(kinds.c.tags, sa.Text), sa.bindparam("tags", type_=sa.Text)),
    )
    preference = sa.case(
        (kinds.c.kind == sa.bindparam("warm"), 0),
        (kinds.c.model == sa.bindparam("warm_model"), 1),
        else_=2,
    )
    return (
        sa.select(campaigns.c.id, campaigns.c.max_workers, kinds.c.kind)
        .join(kinds, kinds.c.campaign_id == campaigns.c.id)
        .join(running, running.c.campaign_id == campaigns.c.id, isouter=True)
        .join(users, users.c.id == user)
        .where(
            campaigns.c.active,
            campaigns.c.paused_at.is_(None),
            campaigns.c.held.is_(None),
            sa.or_(campaigns.c.max_workers.is_(None), count < campaigns.c.max_workers),
            able,
            one_ready.is_not(None),
        )
        .order_by(
            campaigns.c.priority.desc(),
            campaigns.c.deadline.nulls_last(),
            users.c.count,
            users.c.served_at.nulls_first(),
            count,
            campaigns.c.served_at.nulls_first(),
            campaigns.c.created_at,
            campaigns.c.id,
            preference,
            kinds.c.kind,
        )
        .limit(CHOICES)
    )


# Built once: a claim is made hundreds of times a second.
_CHOICES = _choices()
_CHOICES_OF = _CHOICES.where(campaigns.c.id.in_(sa.bindparam("only", expanding=True)))
_free = campaigns.alias()
_SERVED = (
    campaigns.update()
    .where(
        campaigns.c.id
        == sa.select(_free.c.id)
        .where(_free.c.id == sa.bindparam("served"))
        .with_for_update(key_share=True, skip_locked=True)
        .scalar_subquery()
    )
    .values(served_at=now())
)
