"""An index that a claim is not misled by."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.drop_index("ix_segments_campaign_id_status", table_name="segments")
    op.create_index(
        "ix_segments_campaign_id", "segments", ["campaign_id"], postgresql_include=["status"]
    )


def downgrade() -> None:
    op.drop_index("ix_segments_campaign_id", table_name="segments")
    op.create_index("ix_segments_campaign_id_status", "segments", ["campaign_id", "status"])
