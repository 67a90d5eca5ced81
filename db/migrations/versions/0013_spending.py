"""What attempts used, budgets of campaigns, quotas of keys, and presets."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

_WITH_KEY = sa.text("key_id IS NOT NULL")
_WITH_TAKE = sa.text("device IS NOT NULL")


def upgrade() -> None:
    of_campaigns: list[sa.Column[Any]] = [
        sa.Column("key_id", sa.String(16)),
        sa.Column("budget_seconds", sa.Double()),
        sa.Column("over_budget", sa.String(8)),
        sa.Column("budget_warned_at", sa.Double()),
        sa.Column("held", sa.String(8)),
        sa.Column("checked_at", sa.Double()),
    ]
    for column in of_campaigns:
        op.add_column("campaigns", column)
    op.create_index("ix_campaigns_key_id", "campaigns", ["key_id"])
    op.create_index("ix_campaigns_created_at", "campaigns", ["created_at", "id"])
    of_keys: list[sa.Column[Any]] = [
        sa.Column("user", sa.Text()),
        sa.Column("own_only", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("gpu_seconds_a_day", sa.Double()),
        sa.Column("films_at_once", sa.Integer()),
        sa.Column("stored_bytes", sa.BigInteger()),
        sa.Column("requests_a_minute", sa.Integer()),
    ]
    for column in of_keys:
        op.add_column("api_keys", column)
    for table in ("files", "batches"):
        op.add_column(table, sa.Column("key_id", sa.String(16)))
    op.create_index("uq_api_keys_user", "api_keys", ["user"], unique=True)
    op.create_table(
        "renders",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("campaign_id", sa.String(32), nullable=False),
        sa.Column("key_id", sa.String(16)),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("device", sa.Text()),
        sa.Column("gpu_seconds", sa.Double(), nullable=False),
        sa.Column("denoise_seconds", sa.Double()),
        sa.Column("passes", sa.Integer()),
        sa.Column("size_bytes", sa.BigInteger()),
        sa.Column("at", sa.Double(), nullable=False),
    )
    op.create_index(
        "ix_renders_campaign_id", "renders", ["campaign_id"], postgresql_include=["gpu_seconds"]
    )
    op.create_index(
        "ix_renders_key_id_at",
        "renders",
        ["key_id", "at"],
        postgresql_where=_WITH_KEY,
        sqlite_where=_WITH_KEY,
    )
    op.create_index(
        "ix_renders_kind_at",
        "renders",
        ["kind", "at"],
        postgresql_where=_WITH_TAKE,
        sqlite_where=_WITH_TAKE,
    )
    op.create_table(
        "presets",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("presets")
    op.drop_table("renders")
    for table in ("files", "batches"):
        op.drop_column(table, "key_id")
    op.drop_index("uq_api_keys_user", table_name="api_keys")
    for name in (
        *("requests_a_minute", "stored_bytes", "films_at_once", "gpu_seconds_a_day"),
        *("own_only", "user"),
    ):
        op.drop_column("api_keys", name)
    op.drop_index("ix_campaigns_created_at", table_name="campaigns")
    op.drop_index("ix_campaigns_key_id", table_name="campaigns")
    for name in (
        *("checked_at", "held", "budget_warned_at", "over_budget", "budget_seconds", "key_id"),
    ):
        op.drop_column("campaigns", name)
