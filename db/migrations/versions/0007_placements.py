"""Which flow run of a work pool each worker was started by."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "placements",
        sa.Column("flow_run_id", sa.String(40), primary_key=True),
        sa.Column("run_count", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("lease_seconds", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.Column("how", sa.String(16)),
    )


def downgrade() -> None:
    op.drop_table("placements")
