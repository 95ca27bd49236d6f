"""Room for an archive: what is left of entries that went there, and the one way in which an entry may go.

Only adds. A process of the version before does not understand an archived account: archive nothing before all
processes run this version.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# An entry may go when a checkpoint stands for it; never what made a grant, nor a checkpoint, nor the last entry
# that a checkpoint stands for.
_MAY_GO = """
    OLD.kind <> 'checkpoint'
    AND OLD.detail -> 'grant' IS NULL
    AND EXISTS (
        SELECT 1 FROM checkpoints JOIN entries ON entries.account_id = checkpoints.account_id
            AND entries.seq = checkpoints.seq AND entries.kind = 'checkpoint'
        WHERE checkpoints.account_id = OLD.account_id AND checkpoints.up_to > OLD.seq
    )
"""
_APPEND_ONLY = ("checkpoints", "archived_keys")


def upgrade() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("up_to", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "up_to", name=op.f("checkpoints_pk")),
    )
    op.create_table(
        "archived_keys",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "digest", "seq", name=op.f("archived_keys_pk")),
    )
    if op.get_context().dialect.name == "postgresql":
        _guard_on_postgresql()
    else:
        _guard_on_sqlite()


def _guard_on_postgresql() -> None:
    op.execute(
        """
        CREATE OR REPLACE FUNCTION tallystick_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION '% are append-only: none of them is ever changed or deleted', TG_TABLE_NAME; END $$
        """
    )
    op.execute(
        f"""
        CREATE FUNCTION tallystick_refuse_loss() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF {_MAY_GO} THEN RETURN OLD; END IF;
            RAISE EXCEPTION 'entries are append-only: only what is in the archive may go';
        END $$
        """
    )
    op.execute("DROP TRIGGER entries_append_only ON entries")
    op.execute(
        """
        CREATE TRIGGER entries_append_only BEFORE UPDATE ON entries
        FOR EACH ROW EXECUTE FUNCTION tallystick_refuse_change()
        """
    )
    op.execute(
        """
        CREATE TRIGGER entries_no_loss BEFORE DELETE ON entries
        FOR EACH ROW EXECUTE FUNCTION tallystick_refuse_loss()
        """
    )
    for table in _APPEND_ONLY:
        op.execute(
            f"""
            CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}
            FOR EACH ROW EXECUTE FUNCTION tallystick_refuse_change()
            """
        )
        op.execute(
            f"""
            CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION tallystick_refuse_change()
            """
        )


def _guard_on_sqlite() -> None:
    op.execute("DROP TRIGGER entries_no_delete")
    # Older versions of SQLite do not know the operator ->.
    may_go = _MAY_GO.replace("OLD.detail -> 'grant'", "json_extract(OLD.detail, '$.grant')")
    op.execute(
        f"""
        CREATE TRIGGER entries_no_loss BEFORE DELETE ON entries WHEN NOT ({may_go})
        BEGIN SELECT RAISE(ABORT, 'entries are append-only: only what is in the archive may go'); END
        """
    )
    for table in _APPEND_ONLY:
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"""
                CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table}
                BEGIN SELECT RAISE(ABORT, '{table} are append-only: none of them is ever changed or deleted'); END
                """
            )
