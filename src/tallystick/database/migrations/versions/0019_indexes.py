"""Indexes for what the operator's page, a customer deleted at Stripe, and forgetting sessions look for.

Only adds.
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_DISPUTED = sa.text("dispute IS NOT NULL")


def upgrade() -> None:
    op.create_index(op.f("purchases_created_at_ix"), "purchases", ["created_at"], unique=False)
    op.create_index(
        "purchases_disputed_ix",
        "purchases",
        ["created_at"],
        unique=False,
        postgresql_where=_DISPUTED,
        sqlite_where=_DISPUTED,
    )
    op.create_index(
        op.f("subscriptions_stripe_customer_id_ix"), "subscriptions", ["stripe_customer_id"], unique=False
    )
    op.create_index(op.f("sessions_expires_at_ix"), "sessions", ["expires_at"], unique=False)
