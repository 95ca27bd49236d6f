"""What a reconciliation that is under way has looked at, so that nothing is counted twice. Only adds."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "reconciliation_subjects",
        sa.Column("reconciliation_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("reconciliation_id", "subject", name=op.f("reconciliation_subjects_pk")),
    )
