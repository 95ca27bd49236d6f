"""What a buyer may choose at Stripe, frozen with the purchase, and the way back to an expired checkout. Only adds."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in (
        sa.Column("max_quantity", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("promotion_codes", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("recovery_url", sa.Text(), nullable=True),
    ):
        op.add_column("purchases", column)
