"""The tables. Times are seconds since 1970 by the database's clock (see `db.clock`)."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only where the key is INTEGER.
_BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

campaigns = sa.Table(
    "campaigns",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
)

films = sa.Table(
    "films",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("campaign_id", sa.ForeignKey("campaigns.id"), nullable=False, index=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("status", sa.String(16), nullable=False, index=True),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("request", sa.JSON, nullable=False),
    sa.Column("plan", sa.JSON, nullable=False),
    sa.Column("num_frames", sa.Integer, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("finished_at", sa.Double),
    sa.Column("error", sa.Text),
    sa.Column("delivery", sa.JSON),
    # Who runs its flow, until when, and the how-manieth run that is (the fencing token).
    sa.Column("owner", sa.Text),
    sa.Column("lease_until", sa.Double),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
    sa.Column("flow_run_id", sa.String(36)),
    sa.UniqueConstraint("campaign_id", "position"),
)

segments = sa.Table(
    "segments",
    metadata,
    sa.Column("id", _BigId, primary_key=True),
    sa.Column("film_id", sa.ForeignKey("films.id"), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("continues", sa.Integer),
    sa.Column("address", sa.String(64), nullable=False, index=True),
    sa.Column("model", sa.String(64), nullable=False),
    # Minus the priority, so that the claim's index and order are plain columns.
    sa.Column("rank", sa.Integer, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    # Who renders it, until when, and the how-manieth attempt that is (the fencing token).
    sa.Column("owner", sa.Text),
    sa.Column("lease_until", sa.Double),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
    # Attempts that failed since the film was submitted or retried.
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
    sa.Column("progress", sa.Double, nullable=False, server_default="0"),
    sa.Column("reused", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("started_at", sa.Double),
    sa.Column("finished_at", sa.Double),
    sa.Column("error", sa.Text),
    sa.UniqueConstraint("film_id", "position"),
    sa.Index(
        "ix_segments_claim",
        "model",
        "rank",
        "id",
        postgresql_where=sa.text("status = 'ready'"),
        sqlite_where=sa.text("status = 'ready'"),
    ),
    # Nobody renders what somebody else is rendering.
    sa.Index(
        "uq_segments_leased_address",
        "address",
        unique=True,
        postgresql_where=sa.text("status = 'leased'"),
        sqlite_where=sa.text("status = 'leased'"),
    ),
    sa.Index(
        "ix_segments_leased",
        "lease_until",
        postgresql_where=sa.text("status = 'leased'"),
        sqlite_where=sa.text("status = 'leased'"),
    ),
)

takes = sa.Table(
    "takes",
    metadata,
    sa.Column("address", sa.String(64), primary_key=True),
    sa.Column("video_key", sa.Text, nullable=False, unique=True),
    sa.Column("take", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", _BigId, primary_key=True),
    sa.Column("film_id", sa.ForeignKey("films.id"), nullable=False),
    sa.Column("segment", sa.Integer),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("detail", sa.Text),
    sa.Index("ix_events_film_id_id", "film_id", "id"),
)
