"""How much of the store each campaign takes up."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db.rows import whole_number
from db.tables import campaigns, films, segments, takes
from film.types import Struct


class Usage(Struct, frozen=True, kw_only=True):
    """What a campaign has in the store."""

    campaign: str
    name: str
    films: int
    """Delivered films."""
    films_bytes: int
    takes: int
    """Rendered segments. One that several campaigns share counts in each of them."""
    takes_bytes: int


def of_campaigns(connection: Connection) -> list[Usage]:
    """The usage of every campaign, newest first."""
    size = whole_number(films.c.delivery, "size_bytes")
    delivered = {
        row.campaign_id: row
        for row in connection.execute(
            sa.select(
                films.c.campaign_id,
                sa.func.count(size).label("films"),
                sa.func.coalesce(sa.func.sum(size), 0).label("bytes"),
            ).group_by(films.c.campaign_id)
        )
    }
    mine = sa.select(segments.c.campaign_id, segments.c.address).distinct().subquery()
    kept = {
        row.campaign_id: row
        for row in connection.execute(
            sa.select(
                mine.c.campaign_id,
                sa.func.count().label("takes"),
                sa.func.sum(_BYTES).label("bytes"),
            )
            .join(takes, takes.c.address == mine.c.address)
            .group_by(mine.c.campaign_id)
        )
    }
    rows = connection.execute(
        sa.select(campaigns.c.id, campaigns.c.name).order_by(campaigns.c.created_at.desc())
    )
    return [
        Usage(
            campaign=row.id,
            name=row.name,
            films=delivered[row.id].films if row.id in delivered else 0,
            films_bytes=int(delivered[row.id].bytes) if row.id in delivered else 0,
            takes=kept[row.id].takes if row.id in kept else 0,
            takes_bytes=int(kept[row.id].bytes) if row.id in kept else 0,
        )
        for row in rows
    ]


# Earlier versions recorded the size of the frames alone.
_BYTES = sa.func.coalesce(
    whole_number(takes.c.take, "stored_bytes"), whole_number(takes.c.take, "size_bytes")
)


def of_takes(connection: Connection) -> int:
    """Bytes of all takes, each counted once."""
    return int(connection.execute(sa.select(sa.func.coalesce(sa.func.sum(_BYTES), 0))).scalar_one())
