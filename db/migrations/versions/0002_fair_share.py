"""Fair share between campaigns: kinds of work, caps, deadlines, pauses, required tags."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

READY: dict[str, Any] = {
    "postgresql_where": sa.text("status = 'ready'"),
    "sqlite_where": sa.text("status = 'ready'"),
}
LEASED: dict[str, Any] = {
    "postgresql_where": sa.text("status = 'leased'"),
    "sqlite_where": sa.text("status = 'leased'"),
}
OWNED: dict[str, Any] = {
    "postgresql_where": sa.text("owner IS NOT NULL"),
    "sqlite_where": sa.text("owner IS NOT NULL"),
}


def upgrade() -> None:
    _add_columns()
    _fill()
    _drop_segment_indexes()
    # SQLite copies the table here, which it can do with no other: these refer to nothing else.
    with op.batch_alter_table("segments") as table:
        table.alter_column("campaign_id", existing_type=sa.String(32), nullable=False)
        table.alter_column("kind", existing_type=sa.Text(), nullable=False)
        table.drop_column("model")
        table.drop_column("rank")
    op.drop_column("films", "priority")
    op.drop_index("ix_films_campaign_id", table_name="films")
    op.create_index("ix_films_campaign_id_status", "films", ["campaign_id", "status"])
    op.create_index("ix_films_owner", "films", ["owner"], **OWNED)
    op.create_index("ix_campaigns_active", "campaigns", ["active"])
    op.create_index("ix_segments_address", "segments", ["address"])
    op.create_index("ix_segments_claim", "segments", ["campaign_id", "kind", "id"], **READY)
    op.create_index("ix_segments_campaign_id_status", "segments", ["campaign_id", "status"])
    op.create_index("uq_segments_leased_address", "segments", ["address"], unique=True, **LEASED)
    op.create_index("ix_segments_leased", "segments", ["campaign_id"], **LEASED)


def _add_columns() -> None:
    op.create_table(
        "kinds",
        sa.Column("campaign_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("shape", sa.String(length=32), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaigns.id"], name=op.f("fk_kinds_campaign_id")
        ),
        sa.PrimaryKeyConstraint("campaign_id", "kind", name=op.f("pk_kinds")),
    )
    for column in (
        sa.Column("active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("paused_at", sa.Double()),
        sa.Column("deadline", sa.Double()),
        sa.Column("max_workers", sa.Integer()),
        sa.Column("served_at", sa.Double()),
    ):
        op.add_column("campaigns", column)
    op.add_column("segments", sa.Column("campaign_id", sa.String(length=32)))
    op.add_column("segments", sa.Column("kind", sa.Text()))


def _fill() -> None:
    """The values of the new columns for existing rows."""
    connection = op.get_bind()
    films = connection.execute(sa.text("SELECT id, campaign_id, plan FROM films")).all()
    kinds: dict[tuple[str, str], dict[str, str]] = {}
    update = sa.text(
        "UPDATE segments SET campaign_id = :campaign, kind = :kind "
        "WHERE film_id = :film AND position = :position"
    )
    for film in films:
        plan = json.loads(film.plan) if isinstance(film.plan, str) else film.plan
        rows = []
        for segment in plan["segments"]:
            shape = f"{plan['width']}x{plan['height']}x{segment['num_frames']}"
            kind = f"{plan['model']} {shape}"
            kinds[film.campaign_id, kind] = {"model": plan["model"], "shape": shape}
            place = {"film": film.id, "position": segment["index"]}
            rows.append({"campaign": film.campaign_id, "kind": kind, **place})
        connection.execute(update, rows)
    if kinds:
        connection.execute(
            sa.text(
                "INSERT INTO kinds (campaign_id, kind, model, shape, tags) "
                "VALUES (:campaign_id, :kind, :model, :shape, '[]')"
            ),
            [{"campaign_id": one, "kind": kind, **of} for (one, kind), of in kinds.items()],
        )
    connection.execute(
        sa.text(
            "UPDATE campaigns SET active = EXISTS (SELECT 1 FROM films "
            "WHERE films.campaign_id = campaigns.id AND films.finished_at IS NULL)"
        )
    )


def _drop_segment_indexes() -> None:
    for name in (
        "ix_segments_claim",
        "ix_segments_leased",
        "uq_segments_leased_address",
        "ix_segments_address",
    ):
        op.drop_index(name, table_name="segments")


def downgrade() -> None:
    _drop_segment_indexes()
    op.drop_index("ix_segments_campaign_id_status", table_name="segments")
    with op.batch_alter_table("segments") as table:
        table.add_column(sa.Column("model", sa.String(64), nullable=False, server_default=""))
        table.add_column(sa.Column("rank", sa.Integer(), nullable=False, server_default="0"))
    op.execute(
        "UPDATE segments SET model = kinds.model, rank = -campaigns.priority "
        "FROM kinds, campaigns WHERE kinds.campaign_id = segments.campaign_id "
        "AND kinds.kind = segments.kind AND campaigns.id = segments.campaign_id"
    )
    with op.batch_alter_table("segments") as table:
        table.alter_column("model", server_default=None)
        table.alter_column("rank", server_default=None)
        table.drop_column("campaign_id")
        table.drop_column("kind")
    priority = sa.Column("priority", sa.Integer(), server_default="0", nullable=False)
    op.add_column("films", priority)
    op.execute(
        "UPDATE films SET priority = campaigns.priority FROM campaigns "
        "WHERE campaigns.id = films.campaign_id"
    )
    op.drop_index("ix_films_owner", table_name="films")
    op.drop_index("ix_films_campaign_id_status", table_name="films")
    op.create_index("ix_films_campaign_id", "films", ["campaign_id"])
    op.drop_index("ix_campaigns_active", table_name="campaigns")
    for name in ("active", "paused_at", "deadline", "max_workers", "served_at"):
        op.drop_column("campaigns", name)
    op.drop_table("kinds")
    op.create_index("ix_segments_address", "segments", ["address"])
    op.create_index("ix_segments_claim", "segments", ["model", "rank", "id"], **READY)
    op.create_index("uq_segments_leased_address", "segments", ["address"], unique=True, **LEASED)
    op.create_index("ix_segments_leased", "segments", ["lease_until"], **LEASED)
