"""Models with other weights: longer names, and which revision a kind of work and a worker have."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    with op.batch_alter_table("kinds") as table:
        table.alter_column("model", existing_type=sa.String(64), type_=sa.Text())
        table.add_column(sa.Column("revision", sa.Text(), nullable=True))
    with op.batch_alter_table("models") as table:
        table.alter_column("name", existing_type=sa.String(64), type_=sa.Text())
        table.alter_column("revision", existing_type=sa.String(64), type_=sa.Text())
    op.add_column("workers", sa.Column("weights", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("workers", "weights")
    # What the older version has no place for, it does not know.
    op.execute("DELETE FROM models WHERE length(name) > 64 OR length(revision) > 64")
    with op.batch_alter_table("models") as table:
        table.alter_column("revision", existing_type=sa.Text(), type_=sa.String(64))
        table.alter_column("name", existing_type=sa.Text(), type_=sa.String(64))
    op.execute("DELETE FROM kinds WHERE length(model) > 64")
    with op.batch_alter_table("kinds") as table:
        table.drop_column("revision")
        table.alter_column("model", existing_type=sa.Text(), type_=sa.String(64))
