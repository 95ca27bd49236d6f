"""What was paid for a purchase, after discount and with tax; its price stays what it was. Only adds."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("purchases", sa.Column("paid_minor", sa.BigInteger(), nullable=True))
