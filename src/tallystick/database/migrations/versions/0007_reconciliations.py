"""Reconciliations: how far each has come and what it found. Only adds."""

import sqlalchemy as sa
from alembic import op

from tallystick.database import tables

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "reconciliations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("started_at", tables.Instant(), nullable=False),
        sa.Column("updated_at", tables.Instant(), nullable=False),
        sa.Column("finished_at", tables.Instant(), nullable=True),
        sa.Column("applied", sa.Boolean(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("report", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("reconciliations_pk")),
    )
    op.create_index(op.f("reconciliations_started_at_ix"), "reconciliations", ["started_at"], unique=False)
