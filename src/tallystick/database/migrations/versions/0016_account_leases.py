"""Leases on accounts, in place of the numbers of questions to Stripe, which no release has known."""

import sqlalchemy as sa
from alembic import op

from tallystick.database import tables

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account_leases",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("lease", sa.BigInteger(), nullable=False),
        sa.Column("until", tables.Instant(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("account_leases_pk")),
    )
    op.drop_column("subscriptions", "asked")
    op.drop_column("subscriptions", "answered")
