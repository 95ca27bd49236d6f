"""What a subscription is to become, and when. Only adds: a process of the version before leaves it as it is."""

import sqlalchemy as sa
from alembic import op

from tallystick.database import tables

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("subscriptions", sa.Column("changes_at", tables.Instant(), nullable=True))
    op.add_column("subscriptions", sa.Column("next_plan", sa.Text(), nullable=True))
    op.add_column("subscriptions", sa.Column("next_price", sa.Text(), nullable=True))
