"""What is seen of a purchase's payment after it was credited, and refunds that were asked for. Only adds."""

import sqlalchemy as sa
from alembic import op

from tallystick.database import tables

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("refunded_minor", "clawed_back", "looks", "looks_done"):
        op.add_column("purchases", sa.Column(name, sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column("purchases", sa.Column("dispute", sa.Text(), nullable=True))
    op.create_index(op.f("purchases_payment_intent_id_ix"), "purchases", ["payment_intent_id"], unique=False)
    op.create_table(
        "refunds",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("purchase_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("stripe_refund_id", sa.Text(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("created_at", tables.Instant(), nullable=False),
        sa.Column("updated_at", tables.Instant(), nullable=False),
        sa.ForeignKeyConstraint(["purchase_id"], ["purchases.id"], name=op.f("refunds_purchase_id_fk")),
        sa.PrimaryKeyConstraint("id", name=op.f("refunds_pk")),
    )
    op.create_index("refunds_purchase_id_key_uq", "refunds", ["purchase_id", "key"], unique=True)
    op.create_index(op.f("refunds_status_ix"), "refunds", ["status"], unique=False)
