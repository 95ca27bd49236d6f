"""On SQLite a new row replaces no entry either (S4): REPLACE deletes what is in its way, and asks no trigger for that.

Only replaces a trigger by a stricter one. PostgreSQL has no such statement.
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

# Looking for the last entry costs as much as looking for the one before, and sees one that is in the way as well.
_FOLLOWS = """
    NEW.monthly + NEW.bonus - NEW.amount IS (
        SELECT CASE coalesce(max(seq), 0) WHEN NEW.seq - 1 THEN coalesce(monthly + bonus, 0) END
        FROM entries WHERE account_id = NEW.account_id
    )
"""
_IN_THE_WAY = """
    EXISTS (SELECT 1 FROM entries WHERE account_id = NEW.account_id AND key = NEW.key)
    OR EXISTS (SELECT 1 FROM entries WHERE account_id = NEW.account_id AND reverses = NEW.reverses)
"""
_CHECKPOINT = "EXISTS (SELECT 1 FROM checkpoints WHERE account_id = NEW.account_id AND up_to = NEW.up_to)"
_KEY = (
    "EXISTS (SELECT 1 FROM archived_keys WHERE account_id = NEW.account_id AND digest = NEW.digest AND seq = NEW.seq)"
)


def upgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        return
    op.execute("DROP TRIGGER entries_running")
    _refuse("entries_running", "entries", f"NOT ({_FOLLOWS})", "an entry does not follow from the one before it")
    for table, when in (("entries", _IN_THE_WAY), ("checkpoints", _CHECKPOINT), ("archived_keys", _KEY)):
        _refuse(f"{table}_no_replace", table, when, f"{table} are append-only: none of them is ever replaced")


def _refuse(name: str, table: str, when: str, why: str) -> None:
    op.execute(f"CREATE TRIGGER {name} BEFORE INSERT ON {table} WHEN {when} BEGIN SELECT RAISE(ABORT, '{why}'); END")
