"""Which revision of a model's weights the farm renders with: the same on every machine."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from db.clock import now
from db.tables import models


def pin(connection: Connection, name: str, revision: str) -> None:
    """Sets the revision that films submitted from now on are rendered with."""
    connection.execute(models.delete().where(models.c.name == name))
    connection.execute(models.insert().values(name=name, revision=revision, pinned_at=now()))


def pins(connection: Connection) -> dict[str, str]:
    """The pinned revision of each model that has one."""
    rows = connection.execute(sa.select(models.c.name, models.c.revision))
    return {row.name: row.revision for row in rows}
