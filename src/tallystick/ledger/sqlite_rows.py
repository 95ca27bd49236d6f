"""Accounts and entries of a SQLite file: transactions, and rows read and written.

Knows nothing of batches; what to read and to write is the store's business.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from typing import Any

from tallystick.domain.account import Account, Entry
from tallystick.ledger.codec import ACCOUNT_COLUMNS, ENTRY_COLUMNS, account_from, account_row, entry_from, entry_row

_ACCOUNT = ", ".join(ACCOUNT_COLUMNS)
# The columns of an entry, for a statement.
ENTRY = ", ".join(ENTRY_COLUMNS)
_CHANGES = ", ".join(f"{name} = excluded.{name}" for name in ACCOUNT_COLUMNS if name != "id")
_ACCOUNT_ROW = f"({', '.join('?' * len(ACCOUNT_COLUMNS))})"
_ENTRY_ROW = f"({', '.join('?' * len(ENTRY_COLUMNS))})"
Rows = Sequence[tuple[Any, ...]]


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


def account_of(connection: sqlite3.Connection, account_id: str) -> Account | None:
    """The account as it is written, or None."""
    row = connection.execute(f"SELECT {_ACCOUNT} FROM accounts WHERE id = ?", (account_id,)).fetchone()
    return None if row is None else account_from(row)


def entries_where(connection: sqlite3.Connection, where: str, values: tuple[Any, ...]) -> list[Entry]:
    """The entries of a condition, which may go on with an order and a limit."""
    rows = connection.execute(f"SELECT {ENTRY} FROM entries WHERE {where}", values)
    return [entry_from(with_instants(row)) for row in rows]


def write_rows(connection: sqlite3.Connection, accounts: Rows, entries: Rows) -> None:
    """Write accounts, new or known, and new entries. Raises IntegrityError when one of the entries is there."""
    for rows in _blocks(accounts):
        connection.execute(_write_accounts(len(rows)), tuple(chain.from_iterable(rows)))
    for rows in _blocks(entries):
        connection.execute(_write_entries(len(rows)), tuple(chain.from_iterable(rows)))


# Many rows go in one statement: between two statements this thread has to wait for its turn to run Python.
# In blocks of a power of two there are few different statements to prepare.
def _blocks(rows: Rows) -> Iterator[Rows]:
    start = 0
    while start < len(rows):
        size = 1 << ((len(rows) - start).bit_length() - 1)
        yield rows[start : start + size]
        start += size


@lru_cache
def _write_accounts(count: int) -> str:
    values = ", ".join([_ACCOUNT_ROW] * count)
    return f"INSERT INTO accounts ({_ACCOUNT}) VALUES {values} ON CONFLICT (id) DO UPDATE SET {_CHANGES}"


@lru_cache
def _write_entries(count: int) -> str:
    return f"INSERT INTO entries ({ENTRY}) VALUES {', '.join([_ENTRY_ROW] * count)}"


def first_column(connection: sqlite3.Connection, query: str, values: tuple[Any, ...]) -> list[str]:
    """The first column of what a query finds."""
    return [row[0] for row in connection.execute(query, values)]


# A batch has few different instants: the moment of its decision, and the ends of periods.
@lru_cache(4_096)
def instant_text(instant: datetime) -> str:
    """An instant as it is written in the file."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


_DUE = ACCOUNT_COLUMNS.index("due_at")
_EFFECTIVE = ENTRY_COLUMNS.index("effective_at")


def sqlite_account_row(account: Account, due_at: datetime | None) -> tuple[Any, ...]:
    """The values of ACCOUNT_COLUMNS as they are written in the file."""
    row = account_row(account, due_at)
    return row if due_at is None else (*row[:_DUE], instant_text(due_at), *row[_DUE + 1 :])


def sqlite_entry_row(entry: Entry) -> tuple[Any, ...]:
    """The values of ENTRY_COLUMNS as they are written in the file."""
    row = entry_row(entry)
    instants = (instant_text(entry.effective_at), instant_text(entry.recorded_at))
    return (*row[:_EFFECTIVE], *instants, *row[_EFFECTIVE + 2 :])


def with_instants(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values of ENTRY_COLUMNS as they were written, with instants as datetimes."""
    effective, recorded = row[_EFFECTIVE : _EFFECTIVE + 2]
    instants = (datetime.fromisoformat(effective), datetime.fromisoformat(recorded))
    return (*row[:_EFFECTIVE], *instants, *row[_EFFECTIVE + 2 :])
