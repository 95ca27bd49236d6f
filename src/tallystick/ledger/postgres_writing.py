"""The two ways in which a batch is put to PostgreSQL: as one statement, or so that Citus sends all of it to one shard.

Both say the same. Rows come in the order in which accounts are locked, which is that of their ids.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from tallystick.ledger.codec import ACCOUNT_COLUMNS, ENTRY_COLUMNS
from tallystick.ledger.postgres_connections import AccountGone
from tallystick.ledger.postgres_statements import (
    ACCOUNT,
    ACCOUNT_TYPES,
    ENTRY,
    ENTRY_TYPES,
    READS,
    WRITE_ACCOUNTS,
    WRITE_ENTRIES,
    Reads,
    Rows,
    batch,
    changes,
    columns,
)


class Writing(Protocol):
    """How a batch is read and written."""

    @property
    def reads(self) -> Reads:
        """What is asked before it is decided."""

    async def alone(self, connection: Any, accounts: Rows, entries: Rows) -> None:
        """Write what became of accounts that exist, in a transaction of its own."""

    async def within(self, connection: Any, accounts: Rows, entries: Rows) -> None:
        """Write what became of accounts that exist, in the transaction under way."""

    async def with_new(self, connection: Any, accounts: Rows, entries: Rows) -> None:
        """Write what became of accounts of which some are new, in the transaction under way."""


class InOneStatement:
    """PostgreSQL: one statement, one round trip."""

    reads = READS

    async def alone(self, connection: Any, accounts: Rows, entries: Rows) -> None:
        statement, arguments = batch(accounts, entries)
        await connection.execute(statement, *arguments)

    within = alone

    async def with_new(self, connection: Any, accounts: Rows, entries: Rows) -> None:
        await connection.execute(WRITE_ACCOUNTS, *columns(accounts, ACCOUNT_TYPES))
        await connection.execute(WRITE_ENTRIES, *columns(entries, ENTRY_TYPES))


# Citus sends a statement to one shard when its conditions, with the values of its parameters put in, name accounts of
# that shard alone. It does not look into unnest(…) for that, so they are named once more. What it would have to
# evaluate by itself, such as a text that is read as an array, is better not in them; nor does it send on a CTE that
# writes (decision 0015).
def _only(column: str) -> str:
    return f" AND {column} = ANY($1::text[])"


def _arrays(types: Sequence[str]) -> str:
    return ", ".join(f"${n}::{type}[]" for n, type in enumerate(types, 1))


UPDATE_ACCOUNTS = (
    f"UPDATE accounts SET {changes('new')} "
    f"FROM unnest({_arrays(ACCOUNT_TYPES)}) AS new({ACCOUNT}) WHERE accounts.id = new.id" + _only("accounts.id")
)
INSERT_ACCOUNT = (
    f"INSERT INTO accounts ({ACCOUNT}) VALUES ({', '.join(f'${n}' for n in range(1, len(ACCOUNT_COLUMNS) + 1))}) "
    f"ON CONFLICT (id) DO UPDATE SET {changes('excluded')}"
)
# Citus puts rows from a SELECT in on the shard that they come from, so they come from the accounts' own.
INSERT_ENTRIES = (
    f"INSERT INTO entries ({ENTRY}) SELECT accounts.id, "
    + ", ".join("new." + name for name in ENTRY_COLUMNS if name != "account_id")
    + f" FROM unnest({_arrays(ENTRY_TYPES)}) AS new({ENTRY}) JOIN accounts ON accounts.id = new.account_id"
    + _only("accounts.id")
)


class OnOneShard:
    """Citus: statements that it sends to one shard as they are, when the accounts of a batch are of one."""

    reads = Reads.saying(_only)

    async def alone(self, connection: Any, accounts: Rows, entries: Rows) -> None:
        async with connection.transaction():
            await self.within(connection, accounts, entries)

    async def within(self, connection: Any, accounts: Rows, entries: Rows) -> None:
        if await connection.execute(UPDATE_ACCOUNTS, *zip(*accounts, strict=True)) != f"UPDATE {len(accounts)}":
            raise AccountGone
        await connection.execute(INSERT_ENTRIES, *zip(*entries, strict=True))

    async def with_new(self, connection: Any, accounts: Rows, entries: Rows) -> None:
        await connection.executemany(INSERT_ACCOUNT, accounts)
        await connection.execute(INSERT_ENTRIES, *zip(*entries, strict=True))
