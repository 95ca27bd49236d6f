"""What a reversal reverses, once.

Only adds: a process of the version before goes on writing entries without it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("entries", sa.Column("reverses", sa.BigInteger(), nullable=True))
    op.create_index(
        "entries_account_id_reverses_uq",
        "entries",
        ["account_id", "reverses"],
        unique=True,
        postgresql_where=sa.text("reverses IS NOT NULL"),
        sqlite_where=sa.text("reverses IS NOT NULL"),
    )
