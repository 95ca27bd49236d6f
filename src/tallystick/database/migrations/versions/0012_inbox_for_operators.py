"""Events name their lease, what they came to and their snapshot; refused webhooks are counted. Only adds.

A process of the version before goes on working events without it.
"""

import sqlalchemy as sa
from alembic import op

from tallystick.database import tables

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in (
        sa.Column("lease", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=True),
        sa.Column("purchase_id", sa.Text(), nullable=True),
        sa.Column("snapshot_event", sa.Text(), nullable=True),
    ):
        op.add_column("stripe_events", column)
    op.create_index(
        op.f("stripe_events_status_received_at_ix"), "stripe_events", ["status", "received_at"], unique=False
    )
    op.create_index(op.f("stripe_events_snapshot_event_ix"), "stripe_events", ["snapshot_event"], unique=False)
    op.create_table(
        "refusals",
        sa.Column("hour", tables.Instant(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("last_at", tables.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "reason", name=op.f("refusals_pk")),
    )
