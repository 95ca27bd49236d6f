"""What is shown of a subscription, the number of the answer it was written from, and more customers of one account.

Only adds: a process of the version before goes on writing subscriptions without it.
"""

import sqlalchemy as sa
from alembic import op

from tallystick.database import tables

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in (
        sa.Column("stripe_customer_id", sa.Text(), nullable=True),
        sa.Column("stripe_price", sa.Text(), nullable=True),
        sa.Column("started_at", tables.Instant(), nullable=True),
        sa.Column("ends_at", tables.Instant(), nullable=True),
        sa.Column("trial_end", tables.Instant(), nullable=True),
        sa.Column("collection_paused", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("asked", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("answered", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
    ):
        op.add_column("subscriptions", column)
    op.create_table(
        "other_customers",
        sa.Column("stripe_customer_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("stripe_customer_id", name=op.f("other_customers_pk")),
    )
    op.create_index(op.f("other_customers_account_id_ix"), "other_customers", ["account_id"], unique=False)
