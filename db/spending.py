"""GPU time that attempts at segments used: of campaigns, of keys, and what a kind of segment costs.

A row is added in the transaction that ends an attempt. Rows stay when films are removed, so that
removing a film gives no budget back.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db.clock import now
from db.segments.claims import Lease
from db.tables import LEASED, campaigns, renders, segments
from film.types import Struct, Take

DAY_SECONDS = 24 * 3600.0
LATEST = 50
"""Takes of a kind on a device from which its cost is estimated."""


class Sample(Struct, frozen=True, kw_only=True):
    """What one take of a kind used."""

    kind: str
    device: str
    """What rendered it, such as `cuda: NVIDIA H200`."""
    gpu_seconds: float
    denoise_seconds: float | None
    """Those of them that went into denoising."""
    passes: int | None
    """Passes through the model that denoising took."""
    size_bytes: int

    def seconds_for(self, passes: int) -> float:
        """GPU-seconds that it would have used with another number of passes: denoising takes as
        long for each, and the rest does not depend on it."""
        if self.denoise_seconds is None or not self.passes:
            return self.gpu_seconds
        per_pass = self.denoise_seconds / self.passes
        return max(0.0, self.gpu_seconds - self.denoise_seconds + passes * per_pass)


def passes_of(steps: int, guidance_scale: float) -> int:
    """Passes through the model for a number of inference steps: with guidance, each step needs one
    with the prompt and one without."""
    return steps * (2 if guidance_scale > 1 else 1)


def record_take(connection: Connection, lease: Lease, take: Take) -> None:
    """Adds what the take of a lease used: the time in which its GPUs rendered it."""
    gpus = take.made_by.get("rendered_together") or 1
    denoising = take.made_by.get("denoise_seconds")
    steps = take.made_by.get("num_inference_steps")
    connection.execute(
        _RECORD_TAKE,
        {
            "campaign_id": lease.campaign_id,
            "of_campaign": lease.campaign_id,
            "kind": lease.kind,
            "device": take.made_by.get("device", "unknown"),
            "gpu_seconds": gpus * float(take.made_by.get("render_seconds", 0.0)),
            "denoise_seconds": None if denoising is None else gpus * float(denoising),
            "passes": steps and passes_of(steps, float(take.made_by.get("guidance_scale", 0.0))),
            "size_bytes": take.stored_bytes or take.size_bytes,
        },
    )


_KEY_OF = (
    sa.select(campaigns.c.key_id)
    .where(campaigns.c.id == sa.bindparam("of_campaign"))
    .scalar_subquery()
)
_RECORD_TAKE = renders.insert().values(key_id=_KEY_OF, at=now())


def record_lost(connection: Connection, which: sa.ColumnElement[bool]) -> None:
    """Adds what attempts at leased segments used that are about to be ended without a take: the
    time since they were claimed. Call it before their leases are released."""
    lost = (
        sa.select(
            segments.c.campaign_id,
            campaigns.c.key_id,
            segments.c.kind,
            # A clock that was set back gives no time back.
            sa.case((_ELAPSED > 0, _ELAPSED), else_=0.0),
            now(),
        )
        .join(campaigns, campaigns.c.id == segments.c.campaign_id)
        # One that was claimed ahead has not begun.
        .where(which, LEASED, segments.c.started_at.is_not(None), segments.c.progress > 0)
    )
    columns = ["campaign_id", "key_id", "kind", "gpu_seconds", "at"]
    connection.execute(renders.insert().from_select(columns, lost))


_ELAPSED = now() - segments.c.started_at


def of_campaigns(connection: Connection, campaign_ids: Collection[str]) -> dict[str, float]:
    """GPU-seconds that each of these campaigns used; 0 for one that used none."""
    rows = connection.execute(
        sa.select(renders.c.campaign_id, sa.func.sum(renders.c.gpu_seconds).label("used"))
        .where(renders.c.campaign_id.in_(campaign_ids))
        .group_by(renders.c.campaign_id)
    )
    used = {row.campaign_id: row.used for row in rows}
    return {name: used.get(name, 0.0) for name in campaign_ids}


def of_key(connection: Connection, key_id: str, seconds: float = DAY_SECONDS) -> float:
    """GPU-seconds that campaigns of a key used in the last `seconds`."""
    query = sa.select(sa.func.coalesce(sa.func.sum(renders.c.gpu_seconds), 0.0)).where(
        renders.c.key_id == key_id, renders.c.at > now() - seconds
    )
    return float(connection.execute(query).scalar_one())


def under_way(connection: Connection, which: sa.ColumnElement[bool]) -> float:
    """Seconds since the leased segments of `which` campaigns were claimed, summed up."""
    query = (
        sa.select(sa.func.coalesce(sa.func.sum(_ELAPSED), 0.0))
        .join(campaigns, campaigns.c.id == segments.c.campaign_id)
        .where(LEASED, which)
    )
    return max(0.0, float(connection.execute(query).scalar_one()))


def samples(connection: Connection, kinds: Collection[str]) -> list[Sample]:
    """What the latest takes of these kinds used, at most `LATEST` of a kind on a device."""
    found = []
    for kind in sorted(set(kinds)):
        rows = connection.execute(_LATEST_OF, {"of_kind": kind})
        found += [Sample(kind=kind, **dict(row._mapping)) for row in rows]
    return found


_MEASURED = ("device", "gpu_seconds", "denoise_seconds", "passes", "size_bytes")


def _latest_of() -> sa.Select[Any]:
    """The latest takes of a kind. Of a device that is rare among them there may be fewer."""
    latest = (
        sa.select(*(renders.c[name] for name in _MEASURED), renders.c.at)
        .where(renders.c.kind == sa.bindparam("of_kind"), renders.c.device.is_not(None))
        .order_by(renders.c.at.desc())
        .limit(LATEST * 20)
        .subquery()
    )
    rank_of = sa.func.row_number().over(partition_by=latest.c.device, order_by=latest.c.at.desc())
    ranked = sa.select(*(latest.c[name] for name in _MEASURED), rank_of.label("rank")).subquery()
    return sa.select(*(ranked.c[name] for name in _MEASURED)).where(ranked.c.rank <= LATEST)


_LATEST_OF = _latest_of()
