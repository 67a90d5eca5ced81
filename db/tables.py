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

# SQLite numbers rows by itself only if the key is INTEGER.
_BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

campaigns = sa.Table(
    "campaigns",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    # True if it has films that are not finished; claims examine no other campaigns.
    sa.Column("active", sa.Boolean, nullable=False, server_default=sa.true(), index=True),
    sa.Column("paused_at", sa.Double),
    sa.Column("deadline", sa.Double),
    sa.Column("max_workers", sa.Integer),
    # When a worker last took a segment of it while others waited too: whose turn it is.
    sa.Column("served_at", sa.Double),
    # Id of the key that it was submitted with; null for the command line. No foreign key: it stays
    # when the key is gone.
    sa.Column("key_id", sa.String(16), index=True),
    # GPU-seconds that it may use, and what happens then: warn, stop or cancel.
    sa.Column("budget_seconds", sa.Double),
    sa.Column("over_budget", sa.String(8)),
    sa.Column("budget_warned_at", sa.Double),
    # Why nothing of it is dispatched: `budget` or `quota`; null if it is.
    sa.Column("held", sa.String(8)),
    # When its budget and its key's quota were last compared with what was used.
    sa.Column("checked_at", sa.Double),
    sa.Index("ix_campaigns_created_at", "created_at", "id"),
)

# What a campaign's segments ask of a worker: few rows, so that a claim need not look at segments.
kinds = sa.Table(
    "kinds",
    metadata,
    sa.Column("campaign_id", sa.ForeignKey("campaigns.id"), primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, nullable=False),
    # Digest of its weights; null in rows from before it was noted.
    sa.Column("revision", sa.Text),
    sa.Column("shape", sa.String(32), nullable=False),
    sa.Column("tags", sa.JSON, nullable=False),
)

films = sa.Table(
    "films",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("campaign_id", sa.ForeignKey("campaigns.id"), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("status", sa.String(16), nullable=False, index=True),
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
    sa.Index("ix_films_campaign_id_status", "campaign_id", "status"),
    sa.Index(
        "ix_films_owner",
        "owner",
        postgresql_where=sa.text("owner IS NOT NULL"),
        sqlite_where=sa.text("owner IS NOT NULL"),
    ),
)

segments = sa.Table(
    "segments",
    metadata,
    sa.Column("id", _BigId, primary_key=True),
    sa.Column("film_id", sa.ForeignKey("films.id"), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("continues", sa.Integer),
    sa.Column("address", sa.String(64), nullable=False, index=True),
    # Its film's, copied for the claim's index.
    sa.Column("campaign_id", sa.String(32), nullable=False),
    # Model, shape and required tags in one word (see `db.segments.work_kinds`).
    sa.Column("kind", sa.Text, nullable=False),
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
        "campaign_id",
        "kind",
        "id",
        postgresql_where=sa.text("status = 'ready'"),
        sqlite_where=sa.text("status = 'ready'"),
    ),
    # Not led by the status: before PostgreSQL has looked at a large campaign's rows, it would take
    # such an index for a claim, and read and sort all that is ready each time.
    sa.Index("ix_segments_campaign_id", "campaign_id", postgresql_include=["status"]),
    # No two workers render the same work.
    sa.Index(
        "uq_segments_leased_address",
        "address",
        unique=True,
        postgresql_where=sa.text("status = 'leased'"),
        sqlite_where=sa.text("status = 'leased'"),
    ),
    sa.Index(
        "ix_segments_pace",
        "kind",
        "finished_at",
        postgresql_where=sa.text("status = 'done' AND NOT reused"),
        sqlite_where=sa.text("status = 'done' AND NOT reused"),
    ),
    sa.Index(
        # Not of `lease_until`: a beat that changes no index is half the work for PostgreSQL.
        "ix_segments_leased",
        "campaign_id",
        postgresql_where=sa.text("status = 'leased'"),
        sqlite_where=sa.text("status = 'leased'"),
    ),
)

# Written out, because a partial index is not used for a status that is a parameter.
READY = segments.c.status == sa.literal_column("'ready'")
LEASED = segments.c.status == sa.literal_column("'leased'")

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

# No foreign keys: a worker's row is its own word, and never in the way of anything.
workers = sa.Table(
    "workers",
    metadata,
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("device", sa.Text, nullable=False),
    sa.Column("models", sa.JSON, nullable=False),
    sa.Column("weights", sa.JSON),
    sa.Column("tags", sa.JSON, nullable=False),
    sa.Column("quiet", sa.Text),
    # It promises to renew its row within this time.
    sa.Column("lease_seconds", sa.Double, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    # The command of an operator; null to continue.
    sa.Column("command", sa.String(16)),
    sa.Column("warm", sa.Text),
    # The segment that it renders, and the denoising steps done of it.
    sa.Column("film_id", sa.String(40)),
    sa.Column("position", sa.Integer),
    sa.Column("step", sa.Integer),
    sa.Column("steps", sa.Integer),
    sa.Column("segments_done", sa.Integer, nullable=False),
    sa.Column("busy_seconds", sa.Double, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("seen_at", sa.Double, nullable=False),
)

# Which flow run of a work pool each command was started by; gone once Prefect knows of its end.
placements = sa.Table(
    "placements",
    metadata,
    sa.Column("flow_run_id", sa.String(40), primary_key=True),
    sa.Column("run_count", sa.Integer, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    # It promises to renew its row within this time.
    sa.Column("lease_seconds", sa.Double, nullable=False),
    sa.Column("seen_at", sa.Double, nullable=False),
    # completed, failed or crashed; null: it is at work, or fell silent.
    sa.Column("how", sa.String(16)),
)

# What clients asked for by /v1/videos. No foreign key: it is of use only with its film, and goes
# with it.
videos = sa.Table(
    "videos",
    metadata,
    sa.Column("film_id", sa.String(40), primary_key=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("prompt", sa.Text, nullable=False),
    sa.Column("made_from", sa.String(40)),
    sa.Column("digest", sa.String(64), nullable=False, index=True),
    sa.Column("key", sa.Text, index=True),
    sa.Column("created_at", sa.Double, nullable=False),
)

# Keys of the service. The secret of a key is in its text alone.
api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("secret_sha256", sa.String(64), nullable=False),
    sa.Column("scopes", sa.JSON, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double),
    sa.Column("revoked_at", sa.Double),
    sa.Column("used_at", sa.Double),
    # The name by which a trusted proxy knows its holder; such a key has no secret.
    sa.Column("user", sa.Text),
    # True if it sees and steers only what was submitted with it.
    sa.Column("own_only", sa.Boolean, nullable=False, server_default=sa.false()),
    # What it may use; null for no limit.
    sa.Column("gpu_seconds_a_day", sa.Double),
    sa.Column("films_at_once", sa.Integer),
    sa.Column("stored_bytes", sa.BigInteger),
    sa.Column("requests_a_minute", sa.Integer),
    sa.Index("uq_api_keys_user", "user", unique=True),
)

# Where notes go that a film has ended. Their secrets sign, so that they are kept as they are.
webhook_endpoints = sa.Table(
    "webhook_endpoints",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("event_types", sa.JSON, nullable=False),
    sa.Column("secret", sa.Text, nullable=False),
    sa.Column("old_secret", sa.Text),
    sa.Column("old_until", sa.Double),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
)

# The notes, written in the transaction that ends the film.
webhook_outbox = sa.Table(
    "webhook_outbox",
    metadata,
    sa.Column("id", _BigId, primary_key=True),
    sa.Column("endpoint_id", sa.String(32), nullable=False, index=True),
    sa.Column("film_id", sa.String(40), nullable=False),
    sa.Column("event_type", sa.String(32), nullable=False),
    # waiting, sent, or dead (given up).
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("next_at", sa.Double, nullable=False),
    sa.Column("error", sa.Text),
    sa.Index(
        "ix_webhook_outbox_due",
        "next_at",
        postgresql_where=sa.text("state = 'waiting'"),
        sqlite_where=sa.text("state = 'waiting'"),
    ),
)

# What every attempt at a segment used. No foreign keys: it stays when films are removed, because
# budgets and quotas count it.
renders = sa.Table(
    "renders",
    metadata,
    sa.Column("id", _BigId, primary_key=True),
    sa.Column("campaign_id", sa.String(32), nullable=False),
    sa.Column("key_id", sa.String(16)),
    sa.Column("kind", sa.Text, nullable=False),
    # What rendered it, such as `cuda: NVIDIA H200`; null if the attempt gave no take.
    sa.Column("device", sa.Text),
    sa.Column("gpu_seconds", sa.Double, nullable=False),
    # Those of them that went into denoising, and the passes through the model that this took.
    sa.Column("denoise_seconds", sa.Double),
    sa.Column("passes", sa.Integer),
    # Of the take; null if there is none.
    sa.Column("size_bytes", sa.BigInteger),
    sa.Column("at", sa.Double, nullable=False),
    sa.Index("ix_renders_campaign_id", "campaign_id", postgresql_include=["gpu_seconds"]),
    sa.Index(
        "ix_renders_key_id_at",
        "key_id",
        "at",
        postgresql_where=sa.text("key_id IS NOT NULL"),
        sqlite_where=sa.text("key_id IS NOT NULL"),
    ),
    sa.Index(
        "ix_renders_kind_at",
        "kind",
        "at",
        postgresql_where=sa.text("device IS NOT NULL"),
        sqlite_where=sa.text("device IS NOT NULL"),
    ),
)

# Named sets of a film's options.
presets = sa.Table(
    "presets",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("options", sa.JSON, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
)

# Requests to the service that changed something, or tried to.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", _BigId, primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("key_id", sa.String(16)),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("method", sa.String(8), nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
)

# Which weights films submitted from now on are rendered with.
models = sa.Table(
    "models",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("revision", sa.Text, nullable=False),
    sa.Column("pinned_at", sa.Double, nullable=False),
)

# Files that clients uploaded by /v1/files; their bytes are in the store.
files = sa.Table(
    "files",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("filename", sa.Text, nullable=False),
    sa.Column("purpose", sa.String(32), nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("created_at", sa.Double, nullable=False, index=True),
    # Id of the key that it was uploaded with.
    sa.Column("key_id", sa.String(16)),
)

# Batches of /v1/batches. No foreign keys: the input file and the films may be removed before it.
batches = sa.Table(
    "batches",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("input_file_id", sa.Text, nullable=False),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("completion_window", sa.String(16), nullable=False),
    sa.Column("details", sa.JSON, nullable=False),
    # Its films; null until its lines are checked, and if one of them was refused.
    sa.Column("campaign_id", sa.String(32), index=True),
    sa.Column("errors", sa.JSON, nullable=False),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False, index=True),
    sa.Column("key", sa.Text, index=True),
    # Until when a process checks its lines, how many have begun to (the fencing token), and how
    # many of them have put it back in good order.
    sa.Column("lease_until", sa.Double),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("put_back", sa.Integer, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False, index=True),
    sa.Column("started_at", sa.Double),
    sa.Column("failed_at", sa.Double),
    sa.Column("cancelled_at", sa.Double),
    # Id of the key that it was created with.
    sa.Column("key_id", sa.String(16)),
)

# What the lines of a batch are called by its client.
batch_lines = sa.Table(
    "batch_lines",
    metadata,
    sa.Column("film_id", sa.String(40), primary_key=True),
    sa.Column("custom_id", sa.Text, nullable=False),
)

# Characters: pictures that films can begin with, by the digest of their pixels in the store.
characters = sa.Table(
    "characters",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("image", sa.String(64), nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
)
