"""An index that leads to the latest segments of a kind, for estimates of the time that is left."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_DONE = sa.text("status = 'done' AND NOT reused")


def upgrade() -> None:
    op.create_index(
        "ix_segments_pace",
        "segments",
        ["kind", "finished_at"],
        postgresql_where=_DONE,
        sqlite_where=_DONE,
    )


def downgrade() -> None:
    op.drop_index("ix_segments_pace", table_name="segments")
