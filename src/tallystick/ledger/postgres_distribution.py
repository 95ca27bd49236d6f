"""What distributing the ledger over a Citus cluster consists of: the steps in order, each with its reason.

Pure: who carries them out is `postgres_distribute`. Where Citus's rules are written down stands in
docs/decisions/0015. Nothing here has been run on a cluster yet.
"""

from dataclasses import dataclass

from tallystick.database.tables import LEDGER_TABLES, metadata

SHARDS = 32
"""Into how many shards the ledger is divided, and so the most servers it can be spread over. Citus's own default."""

SHARDED_TABLES = {table.name: next(iter(table.primary_key)).name for table in LEDGER_TABLES}
"""The tables that are distributed, each with the column that names the account."""

LOCAL_TABLES = tuple(sorted(set(metadata.tables) - set(SHARDED_TABLES)))
"""The tables that stay on the coordinator, as ordinary ones.

Customers, purchases, events, users, sessions, keys: a few rows for each sale, not for each spend, with unique
columns and foreign keys among themselves that no account's shard could check. No statement joins them to the
ledger's tables. As reference tables each of their rows would be written on every server by two-phase commit, for
nobody who reads it there.
"""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, in a transaction of its own on a connection of its own.

    `done` is a query for one boolean: whether it need not be done (any more).
    """

    name: str
    reason: str
    statement: str
    done: str


def _distributed(table: str) -> str:
    return f"EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = '{table}'::regclass AND partmethod = 'h')"


def _distribute(table: str) -> Step:
    first = next(iter(SHARDED_TABLES))
    if table == first:
        where, reason = (
            f"colocate_with => 'none', shard_count => {SHARDS}",
            "An account's row goes to the shard of its id. A group of its own: what else is distributed here is "
            "moved and split without it.",
        )
    else:
        where, reason = (
            f"colocate_with => '{first}'",
            "What belongs to an account is on the account's own shard, so a batch stays on one.",
        )
    return Step(
        name=f"Distribute {table} by {SHARDED_TABLES[table]}",
        reason=reason,
        statement=f"SELECT create_distributed_table('{table}', '{SHARDED_TABLES[table]}', {where})",
        done=f"SELECT {_distributed(table)}",
    )


# On a shard the table is called entries_102008, and a distributed query from inside of a shard's query is refused:
# the trigger has to look at the very table that it was fired by.
_LOOK_AT_OWN_SHARD = """
CREATE OR REPLACE FUNCTION tallystick_refuse_drift() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE account text; number bigint;
BEGIN
    EXECUTE format(
        'SELECT written.account_id, written.seq FROM written LEFT JOIN %I.%I AS previous '
        'ON previous.account_id = written.account_id AND previous.seq = written.seq - 1 '
        'WHERE written.monthly + written.bonus - written.amount '
        'IS DISTINCT FROM CASE WHEN written.seq = 1 THEN 0 ELSE previous.monthly + previous.bonus END LIMIT 1',
        TG_TABLE_SCHEMA, TG_TABLE_NAME
    ) INTO account, number;
    IF account IS NOT NULL THEN
        RAISE EXCEPTION 'entry % of account % does not follow from the one before it', number, account
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$"""

_TRIGGERS_ALLOWED = "citus.enable_unsafe_triggers"
_PLANNER = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin")


def _on_every_worker(*settings: str) -> str:
    """Give these settings to the database on every worker. What a worker refuses is told as an error."""
    given = "; ".join(f"ALTER DATABASE %1$I SET {setting}" for setting in settings)
    return f"""
DO $do$
DECLARE refused text;
BEGIN
    SELECT string_agg(format('%s:%s: %s', nodename, nodeport, result), '; ') INTO refused
    FROM run_command_on_workers(
        format(
            $settings$DO $on_worker$BEGIN SET LOCAL citus.enable_ddl_propagation = off; {given}; END$on_worker$$settings$,
            current_database()
        )
    ) WHERE NOT success;
    IF refused IS NOT NULL THEN RAISE EXCEPTION '%', refused; END IF;
END $do$"""


def _is_on_every_worker(shown: str, value: str) -> str:
    return (
        "SELECT coalesce(bool_and(success AND result = "
        f"'{value}'), true) FROM run_command_on_workers($show$SELECT {shown}$show$)"
    )


STEPS = (
    Step(
        name="Let the trigger of running balances look at its own shard",
        reason="It checks every entry against the one before (decision 0011), and on a shard the table has another "
        "name. The function then goes to every server with the table.",
        statement=_LOOK_AT_OWN_SHARD,
        done="SELECT prosrc LIKE '%TG_TABLE_NAME%' FROM pg_proc WHERE oid = 'tallystick_refuse_drift'::regproc",
    ),
    Step(
        name="Allow triggers on distributed tables, on the coordinator",
        reason="Citus refuses to distribute a table with triggers unless told otherwise, because a trigger might "
        "reach for other shards. The ledger's look at their own shard alone, and S4 and S5 rest on them.",
        statement=(
            f"DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET {_TRIGGERS_ALLOWED} = on', current_database()); END$$"
        ),
        done=f"SELECT coalesce(current_setting('{_TRIGGERS_ALLOWED}', true) = 'on', false)",
    ),
    Step(
        name="Allow triggers on distributed tables, on every worker",
        reason="A worker makes the triggers on its shards, now and when a shard moves to it.",
        statement=_on_every_worker(f"{_TRIGGERS_ALLOWED} = on"),
        done=_is_on_every_worker(f"current_setting('{_TRIGGERS_ALLOWED}', true)", "on"),
    ),
    Step(
        name="Keep the plans on the workers independent of statistics",
        reason="The ledger tells PostgreSQL so when it connects, but the workers are reached through the coordinator.",
        statement=_on_every_worker(*(f"{name} = off" for name in _PLANNER)),
        done=_is_on_every_worker(
            " || ".join(f"current_setting('{name}')" for name in _PLANNER), "off" * len(_PLANNER)
        ),
    ),
    _distribute("accounts"),
    Step(
        name="Take the trigger of running balances off entries",
        reason="Entries that are there already are copied to their shards in any order, and some of them have no "
        "entry before them any more, because it is in the archive. No ledger opens until the trigger is back.",
        statement="DROP TRIGGER entries_running ON entries",
        done=(
            f"SELECT {_distributed('entries')} OR NOT EXISTS "
            "(SELECT FROM pg_trigger WHERE tgrelid = 'entries'::regclass AND tgname = 'entries_running')"
        ),
    ),
    *(_distribute(table) for table in SHARDED_TABLES if table != "accounts"),
    Step(
        name="Put the trigger of running balances back, on every shard",
        reason="From here on no entry is written that does not follow from the one before it (S5).",
        statement=(
            "CREATE TRIGGER entries_running AFTER INSERT ON entries REFERENCING NEW TABLE AS written "
            "FOR EACH STATEMENT EXECUTE FUNCTION tallystick_refuse_drift()"
        ),
        done=(
            f"SELECT {_distributed('entries')} AND EXISTS "
            "(SELECT FROM pg_trigger WHERE tgrelid = 'entries'::regclass AND tgname = 'entries_running')"
        ),
    ),
)

UNGUARDED = """
SELECT string_agg(shardid || ': ' || result, ', ')
FROM run_command_on_shards('entries', $guards$
    SELECT string_agg(wanted, ' ') FROM unnest(array[
        'entries_append_only', 'entries_no_loss', 'entries_running'
    ]) AS wanted WHERE NOT EXISTS (
        SELECT FROM pg_trigger WHERE tgrelid = '%s'::regclass AND tgname LIKE wanted || '%%'
    )
$guards$) WHERE NOT success OR result <> ''
"""
"""A query for the shards of entries on which a trigger is missing; null when there are none."""
