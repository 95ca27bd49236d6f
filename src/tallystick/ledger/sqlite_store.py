"""The ledger on SQLite: one writer thread, one transaction a batch, every commit on the disk.

Knows nothing of rules; it loads what a batch needs, lets `decide_batch` decide, and writes what it says.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from tallystick.clock import Clock
from tallystick.domain.account import Account, Entry, EntryKind
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import Command
from tallystick.domain.errors import LedgerUnavailable
from tallystick.domain.replay import replay
from tallystick.domain.settle import next_due
from tallystick.ledger.batch import (
    Batch,
    History,
    Number,
    Outcome,
    account_ids,
    decide_batch,
    keys,
    named,
    origins,
)
from tallystick.ledger.codec import (
    ACCOUNT_COLUMNS,
    ENTRY_COLUMNS,
    account_from,
    account_row,
    entry_from,
    entry_row,
)
from tallystick.ledger.memory import Memory
from tallystick.ledger.store import Proof

BUSY_SECONDS = 10
"""How long a batch waits for another process that is writing to the same file."""

T = TypeVar("T")

_ACCOUNT = ", ".join(ACCOUNT_COLUMNS)
_ENTRY = ", ".join(ENTRY_COLUMNS)
_WRITE_ACCOUNT = (
    f"INSERT INTO accounts ({_ACCOUNT}) VALUES ({', '.join('?' * len(ACCOUNT_COLUMNS))}) "
    "ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in ACCOUNT_COLUMNS if name != "id")
)
_CHANGE_ACCOUNT = (
    f"UPDATE accounts SET {', '.join(f'{name} = ?' for name in ACCOUNT_COLUMNS if name != 'id')} WHERE id = ?"
)
_WRITE_ENTRY = f"INSERT INTO entries ({_ENTRY}) VALUES ({', '.join('?' * len(ENTRY_COLUMNS))})"


class SqliteStore:
    """One file. Several processes may use it at once; SQLite lets them write one after the other."""

    lanes = 1

    def __init__(self, path: str, catalogue: Catalogue, clock: Clock) -> None:
        self._catalogue = catalogue
        self._clock = clock
        self._memory = Memory()
        self._writer = _Thread(path, "ledger writer")
        self._reader = _Thread(path, "ledger reader")

    async def commit(self, commands: Sequence[Command]) -> list[Outcome]:
        return await self._writer.run(lambda connection: self._commit(connection, commands))

    async def account(self, account_id: str) -> Account | None:
        return await self._reader.run(lambda connection: _account(connection, account_id))

    async def entries(
        self, account_id: str, before: int | None, limit: int, kind: EntryKind | None = None
    ) -> list[Entry]:
        return await self._reader.run(
            lambda connection: _entries(
                connection,
                "account_id = ? AND seq < ? AND kind = coalesce(?, kind) ORDER BY seq DESC LIMIT ?",
                (account_id, 2**63 - 1 if before is None else before, kind, limit),
            )
        )

    async def entry_by_key(self, account_id: str, key: str) -> Entry | None:
        found = await self._reader.run(
            lambda connection: _entries(connection, "account_id = ? AND key = ?", (account_id, key))
        )
        return found[0] if found else None

    async def entry_at(self, account_id: str, instant: datetime) -> Entry | None:
        found = await self._reader.run(
            lambda connection: _entries(
                connection,
                "account_id = ? AND effective_at <= ? ORDER BY seq DESC LIMIT 1",
                (account_id, _text(instant)),
            )
        )
        return found[0] if found else None

    async def due(self, now: datetime, limit: int) -> list[str]:
        return await self._reader.run(
            lambda connection: _column(
                connection,
                "SELECT id FROM accounts WHERE due_at <= ? ORDER BY due_at LIMIT ?",
                (_text(now), limit),
            )
        )

    async def account_ids(self, after: str, limit: int) -> list[str]:
        return await self._reader.run(
            lambda connection: _column(
                connection,
                "SELECT id FROM (SELECT id FROM accounts UNION SELECT DISTINCT account_id FROM entries) "
                "WHERE id > ? ORDER BY id LIMIT ?",
                (after, limit),
            )
        )

    async def prove(self, account_id: str) -> Proof | None:
        return await self._reader.run(lambda connection: _prove(connection, account_id))

    async def close(self) -> None:
        await self._writer.close()
        await self._reader.close()

    def _commit(self, connection: sqlite3.Connection, commands: Sequence[Command]) -> list[Outcome]:
        outcomes = self._from_memory(connection, commands)
        if outcomes is not None:
            return outcomes
        with _transaction(connection, "IMMEDIATE"):
            accounts = {}
            for id in account_ids(commands):
                account = _account(connection, id)
                if account is not None:
                    accounts[id] = account
            known = {}
            for key in keys(commands):
                for entry in _entries(connection, "account_id = ? AND key = ?", key):
                    known[key] = entry
            history = _history(connection, named(commands))
            batch = decide_batch(commands, accounts, known, history, self._clock(), self._catalogue)
            self._write(connection, batch, _WRITE_ACCOUNT)
        self._memory.remember((accounts | {account.id: account for account in batch.accounts}).values())
        return batch.outcomes

    def _from_memory(self, connection: sqlite3.Connection, commands: Sequence[Command]) -> list[Outcome] | None:
        """The short way, without reading. None when it is not open, or another process was faster."""
        batch = self._memory.decide(commands, self._clock(), self._catalogue)
        if batch is None:
            return None
        self._memory.forget(commands)
        try:
            with _transaction(connection, "IMMEDIATE"):
                self._write(connection, batch, _CHANGE_ACCOUNT)
        except sqlite3.IntegrityError:
            return None
        self._memory.remember(batch.accounts)
        return batch.outcomes

    def _write(self, connection: sqlite3.Connection, batch: Batch, statement: str) -> None:
        rows = [_with_text(account_row(a, next_due(a, self._catalogue))) for a in batch.accounts]
        if statement is _CHANGE_ACCOUNT:
            rows = [(*row[1:], row[0]) for row in rows]
        connection.executemany(statement, rows)
        connection.executemany(_WRITE_ENTRY, [_with_text(entry_row(entry)) for entry in batch.entries])


class _Thread:
    """One connection and the one thread that uses it."""

    def __init__(self, path: str, name: str) -> None:
        self._path = path
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._connection: sqlite3.Connection | None = None

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work` on the thread. Raises LedgerUnavailable when SQLite could not do it."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._run, work)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._executor, self._disconnect)
        self._executor.shutdown()

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = self._connect()
            return work(self._connection)
        except sqlite3.OperationalError as error:
            # A lock that was not freed, a full disk, a file that is gone: the transaction was rolled back.
            raise LedgerUnavailable(
                f"The ledger's database could not be used ({error}). Nothing was changed. "
                "Try again with the same idempotency key."
            ) from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@contextmanager
def _transaction(connection: sqlite3.Connection, kind: str = "DEFERRED") -> Iterator[None]:
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _account(connection: sqlite3.Connection, account_id: str) -> Account | None:
    row = connection.execute(f"SELECT {_ACCOUNT} FROM accounts WHERE id = ?", (account_id,)).fetchone()
    return None if row is None else account_from(row)


def _entries(connection: sqlite3.Connection, where: str, values: tuple[Any, ...]) -> list[Entry]:
    rows = connection.execute(f"SELECT {_ENTRY} FROM entries WHERE {where}", values)
    return [entry_from(_with_instants(row)) for row in rows]


def _history(connection: sqlite3.Connection, wanted: Sequence[Number]) -> History:
    found = _numbered(connection, wanted)
    made = _numbered(connection, origins(found))
    entries = {(e.account_id, e.seq): e for e in (*found, *made)}
    reversals = {
        (e.account_id, number): e.seq
        for id, number in wanted
        for e in _entries(connection, "account_id = ? AND reverses = ?", (id, number))
    }
    return History(entries, reversals)


def _numbered(connection: sqlite3.Connection, wanted: Sequence[Number]) -> list[Entry]:
    return [e for number in wanted for e in _entries(connection, "account_id = ? AND seq = ?", number)]


def _prove(connection: sqlite3.Connection, account_id: str) -> Proof | None:
    with _transaction(connection):
        account = _account(connection, account_id)
        if account is None:
            return None
        rows = connection.execute(f"SELECT {_ENTRY} FROM entries WHERE account_id = ? ORDER BY seq", (account_id,))
        return Proof(account, replay(account_id, (entry_from(_with_instants(row)) for row in rows)))


def _column(connection: sqlite3.Connection, query: str, values: tuple[Any, ...]) -> list[str]:
    return [row[0] for row in connection.execute(query, values)]


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


def _with_text(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_text(value) if isinstance(value, datetime) else value for value in row)


_EFFECTIVE = ENTRY_COLUMNS.index("effective_at")


def _with_instants(row: tuple[Any, ...]) -> tuple[Any, ...]:
    effective, recorded = row[_EFFECTIVE : _EFFECTIVE + 2]
    instants = (datetime.fromisoformat(effective), datetime.fromisoformat(recorded))
    return (*row[:_EFFECTIVE], *instants, *row[_EFFECTIVE + 2 :])
