"""Each entry has to follow from the one before it: the database refuses one that does not (S5).

Only adds a trigger; what is there already is not looked at, which is what `tallystick verify` is for.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        _on_postgresql()
    else:
        _on_sqlite()


def _on_postgresql() -> None:
    # Once for each statement: a batch is one. Looked at row by row it costs four times as much (decision 0011).
    op.execute(
        """
        CREATE FUNCTION tallystick_refuse_drift() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE wrong record;
        BEGIN
            SELECT written.account_id, written.seq INTO wrong
            FROM written LEFT JOIN entries AS previous
                ON previous.account_id = written.account_id AND previous.seq = written.seq - 1
            WHERE written.monthly + written.bonus - written.amount
                IS DISTINCT FROM CASE WHEN written.seq = 1 THEN 0 ELSE previous.monthly + previous.bonus END
            LIMIT 1;
            IF FOUND THEN
                RAISE EXCEPTION 'entry % of account % does not follow from the one before it', wrong.seq, wrong.account_id
                    USING ERRCODE = 'check_violation';
            END IF;
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER entries_running AFTER INSERT ON entries REFERENCING NEW TABLE AS written
        FOR EACH STATEMENT EXECUTE FUNCTION tallystick_refuse_drift()
        """
    )


def _on_sqlite() -> None:
    op.execute(
        """
        CREATE TRIGGER entries_running BEFORE INSERT ON entries
        WHEN NEW.monthly + NEW.bonus - NEW.amount IS NOT CASE WHEN NEW.seq = 1 THEN 0 ELSE (
            SELECT monthly + bonus FROM entries WHERE account_id = NEW.account_id AND seq = NEW.seq - 1
        ) END
        BEGIN SELECT RAISE(ABORT, 'an entry does not follow from the one before it'); END
        """
    )
