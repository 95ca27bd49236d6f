"""When subscriptions began to rest and went on, as events told it. Only adds."""

import sqlalchemy as sa
from alembic import op

from tallystick.database import tables

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "subscription_turns",
        sa.Column("subscription_id", sa.Text(), nullable=False),
        sa.Column("at", tables.Instant(), nullable=False),
        sa.Column("rests", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("subscription_id", "at", "rests", name=op.f("subscription_turns_pk")),
    )
