"""The e-mail that was last given for a customer. Only adds: a process of the version before leaves it empty."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("customers", sa.Column("email", sa.Text(), nullable=True))
