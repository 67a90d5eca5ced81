"""What clients asked for by /v1/videos."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "videos",
        sa.Column("film_id", sa.String(40), primary_key=True),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("made_from", sa.String(40)),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("key", sa.Text()),
        sa.Column("created_at", sa.Double(), nullable=False),
    )
    op.create_index("ix_videos_digest", "videos", ["digest"])
    op.create_index("ix_videos_key", "videos", ["key"])


def downgrade() -> None:
    op.drop_table("videos")
