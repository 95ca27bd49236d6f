"""On PostgreSQL ids and keys of the ledger sort by their characters' codes, whatever language the database speaks.

They are visible ASCII, and every process locks accounts in that order (S9). Comparing them by a language's rules took
an eighth of the spends besides (decision 0017). Builds the indexes on these columns anew: until that is done nobody
reads or writes their tables. The version before runs on it as well; a process of it that was running already has one
batch to repeat.
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_COLUMNS = {
    "accounts": ("id",),
    "entries": ("account_id", "key"),
    "proofs": ("account_id",),
    "checkpoints": ("account_id",),
    "archived_keys": ("account_id",),
}


def upgrade() -> None:
    if op.get_context().dialect.name != "postgresql" or _distributed():
        return
    for table, columns in _COLUMNS.items():
        changes = ", ".join(f'ALTER COLUMN {column} TYPE text COLLATE "C"' for column in columns)
        op.execute(f"ALTER TABLE {table} {changes}")


def _distributed() -> bool:
    # Citus does not let the column be changed by which a table is distributed. It works without, only slower.
    ask = op.get_bind().scalar
    if ask(sa.text("SELECT to_regclass('pg_dist_partition')")) is None:
        return False
    found = ask(sa.text("SELECT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = 'accounts'::regclass)"))
    return bool(found)
