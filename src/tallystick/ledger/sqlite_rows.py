"""Accounts and entries of a SQLite file: transactions, and rows read and written.

Knows nothing of batches; what to read and to write is the store's business.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from typing import Any

from tallystick.domain.account import Account, Entry
from tallystick.ledger.codec import (
    ACCOUNT_COLUMNS,
    ENTRY_COLUMNS,
    account_from,
    entry_from,
    entry_row,
    state_text,
)

_ACCOUNT = ", ".join(ACCOUNT_COLUMNS)
# The columns of an entry, for a statement.
ENTRY = ", ".join(ENTRY_COLUMNS)
Rows = Sequence[tuple[Any, ...]]

AT_ONCE = 512
"""How many rows are written in one statement at most."""

# An entry, and with the last one of each account in a batch what the account's row has in addition.
_WRITTEN = (*ENTRY_COLUMNS, "plan", "due_at", "state")
_WRITTEN_ROW = f"({', '.join('?' * len(_WRITTEN))})"
_NOTHING = (None,) * len(_WRITTEN)
_OF_ENTRY = {"id": "account_id", "allowance_remaining": "monthly", "bonus_credits": "bonus"}
_NEW_ACCOUNT = ", ".join(f"NEW.{_OF_ENTRY.get(name, name)}" for name in ACCOUNT_COLUMNS)
# SQLite takes a row out of an index and puts it back although its value is the same, so due_at is set apart.
_CHANGES = ", ".join(f"{name} = excluded.{name}" for name in ACCOUNT_COLUMNS if name not in ("id", "due_at"))


@contextmanager
def transaction(connection: sqlite3.Connection, kind: str = "DEFERRED") -> Iterator[None]:
    """One transaction, committed at the end of the block, rolled back when it raises."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def accounts_of(connection: sqlite3.Connection, ids: Sequence[str]) -> list[Account]:
    """Those accounts of `ids` that there are, as they are written."""
    wanted = "SELECT value FROM json_each(?)"
    rows = connection.execute(f"SELECT {_ACCOUNT} FROM accounts WHERE id IN ({wanted})", (json.dumps(ids),))
    return [account_from(row) for row in rows]


def account_of(connection: sqlite3.Connection, account_id: str) -> Account | None:
    """The account as it is written, or None."""
    found = accounts_of(connection, [account_id])
    return found[0] if found else None


def entries_where(connection: sqlite3.Connection, where: str, values: tuple[Any, ...]) -> list[Entry]:
    """The entries of a condition, which may go on with an order and a limit."""
    rows = connection.execute(f"SELECT {ENTRY} FROM entries WHERE {where}", values)
    return [read_entry(row) for row in rows]


def prepare_writing(connection: sqlite3.Connection) -> None:
    """Make the connection able to write a whole batch in one statement: see `write_rows`."""
    connection.execute(f"CREATE TEMP VIEW batch AS SELECT {', '.join(f'NULL AS {name}' for name in _WRITTEN)}")
    connection.execute(
        f"""
        CREATE TEMP TRIGGER batch_is_written INSTEAD OF INSERT ON batch WHEN NEW.seq IS NOT NULL
        BEGIN
            INSERT INTO accounts ({_ACCOUNT}) SELECT {_NEW_ACCOUNT} WHERE NEW.state IS NOT NULL
                ON CONFLICT (id) DO UPDATE SET {_CHANGES};
            UPDATE accounts SET due_at = NEW.due_at
                WHERE id = NEW.account_id AND NEW.state IS NOT NULL AND due_at IS NOT NEW.due_at;
            INSERT INTO entries ({ENTRY}) VALUES ({", ".join(f"NEW.{name}" for name in ENTRY_COLUMNS)});
        END
        """
    )


def write_rows(connection: sqlite3.Connection, rows: Rows) -> None:
    """Write new entries, and their accounts, new or known. Raises IntegrityError when one of the entries is there.

    Up to AT_ONCE rows are one statement, and so one transaction where none is open.
    """
    for start in range(0, len(rows), AT_ONCE):
        block = rows[start : start + AT_ONCE]
        size = _room_for(len(block))
        connection.execute(_write(size), (*chain.from_iterable(block), *_NOTHING * (size - len(block))))


def _room_for(rows: int) -> int:
    """How many rows the statement has that takes so many: an eighth more than asked for at most.

    Every row costs, also one that says nothing, and every size is a statement of its own, which has to be prepared.
    """
    step = max(1, (1 << (rows - 1).bit_length()) // 16)
    return -(-rows // step) * step


@lru_cache
def _write(size: int) -> str:
    return f"INSERT INTO batch VALUES {', '.join([_WRITTEN_ROW] * size)}"


def first_column(connection: sqlite3.Connection, query: str, values: tuple[Any, ...]) -> list[str]:
    """The first column of what a query finds."""
    return [row[0] for row in connection.execute(query, values)]


# A batch has few different instants: the moment of its decision, and the ends of periods.
@lru_cache(4_096)
def instant_text(instant: datetime) -> str:
    """An instant as it is written in the file."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


def written_row(entry: Entry, account: Account | None, due_at: datetime | None) -> tuple[Any, ...]:
    """What `write_rows` takes: an entry, and if it is the last one of its account also the `account` after it.

    `due_at` is when time alone changes that account next.
    """
    row = entry_row(entry, instant_text)
    if account is None:
        return (*row, None, None, None)
    return (*row, account.plan, due_at and instant_text(due_at), state_text(account))


def read_entry(row: tuple[Any, ...]) -> Entry:
    """The entry of a row that has ENTRY_COLUMNS in their order. Raises LedgerMismatch when it cannot be read."""
    return entry_from(row, datetime.fromisoformat)
