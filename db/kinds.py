"""Kinds of work: what a segment asks of a worker, in one word.

All segments of a kind have the same model, shape, flags and required tags, so a worker that can
render one can render them all, and is warm for the next one after it. A campaign has few.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from db.tables import LEASED, READY, kinds, segments
from film.flags import words
from film.types import Plan, RenderFlags, Segment, Struct


class Kind(Struct, frozen=True, kw_only=True):
    """What a worker needs for a segment."""

    name: str
    """All of it in one text: `demo 96x64x17`, `wan2.2-5b 832x480x81 cache=first_block +big`."""
    model: str
    shape: str
    """Width, height (pixels) and frames that the model renders."""
    tags: tuple[str, ...]
    """All of which the worker must have; sorted."""


def kind_of(
    plan: Plan,
    segment: Segment,
    tags: Iterable[str],
    flags: RenderFlags = RenderFlags(),  # noqa: B008
) -> Kind:
    """The kind of a segment in a film that requires `tags` and is rendered with `flags`."""
    shape = "x".join(map(str, (*plan.rendered_size, segment.num_frames)))
    needed = tuple(sorted(set(tags)))
    name = " ".join([plan.model, shape, *words(flags).split(), *(f"+{tag}" for tag in needed)])
    return Kind(name=name, model=plan.model, shape=shape, tags=needed)


def insert_kinds(connection: Connection, campaign_id: str, found: Iterable[Kind]) -> None:
    """Notes the kinds of a new campaign."""
    values = [
        {
            "campaign_id": campaign_id,
            "kind": kind.name,
            "model": kind.model,
            "shape": kind.shape,
            "tags": list(kind.tags),
        }
        for kind in found
    ]
    connection.execute(kinds.insert(), values)


def still_wanted(
    connection: Connection, campaign_id: str, film_id: str | None = None
) -> list[Kind]:
    """The kinds of a campaign's, or of one of its films', segments that are to be rendered yet."""
    to_do = sa.or_(READY, LEASED, segments.c.status == "waiting")
    if film_id is not None:
        mine = sa.select(segments.c.kind).where(segments.c.film_id == film_id, to_do)
        wanted = kinds.c.kind.in_(mine)
    else:
        any_left = sa.select(segments.c.id).where(
            segments.c.campaign_id == kinds.c.campaign_id, segments.c.kind == kinds.c.kind, to_do
        )
        wanted = any_left.limit(1).scalar_subquery().is_not(None)
    rows = connection.execute(
        sa.select(kinds).where(kinds.c.campaign_id == campaign_id, wanted).order_by(kinds.c.kind)
    )
    return [
        Kind(name=row.kind, model=row.model, shape=row.shape, tags=tuple(row.tags)) for row in rows
    ]


class within(FunctionElement[bool]):  # noqa: N801  (an SQL function)
    """`within(a, b)`: every text in the JSON list `a` is also in the JSON list `b`."""

    type = sa.Boolean()
    inherit_cache = True


@compiles(within, "postgresql")
def _postgresql(element: within, compiler: Any, **options: Any) -> str:
    few, many = (compiler.process(clause, **options) for clause in element.clauses)
    return f"(CAST({few} AS jsonb) <@ CAST({many} AS jsonb))"


@compiles(within, "sqlite")
def _sqlite(element: within, compiler: Any, **options: Any) -> str:
    few, many = (compiler.process(clause, **options) for clause in element.clauses)
    return (
        f"NOT EXISTS (SELECT 1 FROM json_each({few}) AS few "
        f"WHERE few.value NOT IN (SELECT value FROM json_each({many})))"
    )
