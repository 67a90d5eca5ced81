"""Kinds of work: what a segment asks of a worker, in one word.

All segments of a kind have the same model, shape, additions to the model (LoRAs, flags) and
required tags, so a worker that can render one can render them all, and is warm for the next one
after it. A campaign has few.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from db.tables import LEASED, READY, kinds, segments
from film.flags import words as written
from film.types import Plan, RenderFlags, Segment, Struct


class Kind(Struct, frozen=True, kw_only=True):
    """What a worker needs for a segment."""

    name: str
    """All of it in one text: `demo 96x64x17`,
    `wan2.2-5b 832x480x81 lora:1f3a90c2:0.8 cache=first_block +big`."""
    model: str
    revision: str = ""
    """Digest of its weights; the same for all films of a campaign. Empty if it was not noted."""
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
    words = [plan.model, shape, *_additions(plan, flags), *(f"+{tag}" for tag in needed)]
    name = " ".join(words)
    return Kind(name=name, model=plan.model, revision=plan.revision, shape=shape, tags=needed)


def _additions(plan: Plan, flags: RenderFlags) -> Iterator[str]:
    """A word for each thing that a worker must load or set in addition to the model. None looks
    like a shape: `model_of` relies on it."""
    yield from written(flags).split()
    for lora in plan.loras:
        expert = f":{lora.expert}" if lora.expert else ""
        yield f"lora:{lora.digest[:8]}:{lora.weight:g}{expert}"


_SHAPE = re.compile(r" \d+x\d+x\d+(?= |$)", re.ASCII)


def model_of(kind: str) -> str:
    """The model in the name of a kind. It may contain spaces, because it may name a folder."""
    shapes = list(_SHAPE.finditer(kind))
    return kind[: shapes[-1].start()] if shapes else kind


def weights_of(model: str, revision: str) -> str:
    """A model's weights in one word, as workers list them."""
    return f"{model}@{revision}"


def insert_kinds(connection: Connection, campaign_id: str, found: Iterable[Kind]) -> None:
    """Notes the kinds of a new campaign."""
    values = [
        {
            "campaign_id": campaign_id,
            "kind": kind.name,
            "model": kind.model,
            "revision": kind.revision or None,
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
    return [read_kind(row) for row in rows]


def read_kind(row: Any) -> Kind:
    """The kind in a row of the table `kinds`."""
    return Kind(
        name=row.kind,
        model=row.model,
        revision=row.revision or "",
        shape=row.shape,
        tags=tuple(row.tags),
    )


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
