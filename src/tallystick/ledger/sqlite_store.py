"""The ledger on SQLite: one writer thread, one transaction a batch, every commit on the disk.

Knows nothing of rules; it loads what a batch needs, lets `decide_batch` decide, and writes what it says.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from typing import Any, Protocol, TypeVar

from tallystick.clock import Clock
from tallystick.database.turns import Turns
from tallystick.domain.account import Account, Entry, EntryKind
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import Command
from tallystick.domain.errors import LedgerUnavailable
from tallystick.domain.replay import Replay
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
    account_from_proof,
    account_row,
    entry_from,
    entry_row,
    proof_text,
)
from tallystick.ledger.memory import Memory
from tallystick.ledger.store import Proof

BUSY_SECONDS = 10
"""How long a batch waits for another process that is writing to the same file."""

# A batch touches pages all over the file. They stay in memory until the commit, and go from the log into
# the file in larger portions than SQLite's own 4 MB.
_ROOM = ("cache_size=-65536", "cache_spill=OFF", "temp_store=MEMORY", "wal_autocheckpoint=8192")

T = TypeVar("T")

_ACCOUNT = ", ".join(ACCOUNT_COLUMNS)
_ENTRY = ", ".join(ENTRY_COLUMNS)
_CHANGES = ", ".join(f"{name} = excluded.{name}" for name in ACCOUNT_COLUMNS if name != "id")
_ACCOUNT_ROW = f"({', '.join('?' * len(ACCOUNT_COLUMNS))})"
_ENTRY_ROW = f"({', '.join('?' * len(ENTRY_COLUMNS))})"
_KEEP_PROOF = (
    "INSERT INTO proofs (account_id, seq, account) VALUES (?, ?, ?) ON CONFLICT (account_id) "
    "DO UPDATE SET seq = excluded.seq, account = excluded.account WHERE proofs.seq < excluded.seq"
)
_Rows = Sequence[tuple[Any, ...]]


class SqliteStore:
    """One file. Several processes may use it at once; SQLite lets them write one after the other."""

    lanes = 1

    def __init__(
        self,
        path: str,
        catalogue: Catalogue,
        clock: Clock,
        worker: Callable[[str, str], "Worker"] | None = None,
        turns: Turns | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._clock = clock
        self._memory = Memory()
        worker = worker or _Thread
        self._turns = turns or Turns()
        self._writer = worker(path, "ledger writer")
        self._reader = worker(path, "ledger reader")

    async def commit(self, commands: Sequence[Command]) -> list[Outcome]:
        decided = self._memory.decide(commands, self._clock(), self._catalogue)
        if decided is not None:
            self._memory.forget(commands)
            rows = self._rows(decided)
            if await self._write(lambda connection: _write_at_once(connection, *rows)):
                self._memory.confirmed(decided)
                return decided.outcomes
            self._memory.outdated()
        seen, batch = await self._write(lambda connection: self._commit(connection, commands))
        self._memory.remember((seen | {account.id: account for account in batch.accounts}).values())
        return batch.outcomes

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

    async def prove(self, account_id: str, *, only_new: bool = False) -> Proof | None:
        return await self._reader.run(lambda connection: _prove(connection, account_id, only_new))

    async def keep_proof(self, account: Account) -> None:
        values = (account.id, account.seq, proof_text(account))
        await self._write(lambda connection: connection.execute(_KEEP_PROOF, values))

    async def close(self) -> None:
        await self._writer.close()
        await self._reader.close()

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        async with self._turns.take("ledger"):
            return await self._writer.run(work)

    def _commit(
        self, connection: sqlite3.Connection, commands: Sequence[Command]
    ) -> tuple[dict[str, Account], Batch]:
        """Read, decide, write. Returns the accounts as they were, and the batch."""
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
            _write(connection, *self._rows(batch))
        return accounts, batch

    def _rows(self, batch: Batch) -> tuple[_Rows, _Rows]:
        accounts = [_account_row(a, next_due(a, self._catalogue)) for a in batch.accounts]
        return accounts, [_entry_row(entry) for entry in batch.entries]


def _write_at_once(connection: sqlite3.Connection, accounts: _Rows, entries: _Rows) -> bool:
    """Write what was decided without reading. False when another process was faster: then nothing is written."""
    try:
        with _transaction(connection, "IMMEDIATE"):
            _write(connection, accounts, entries)
    except sqlite3.IntegrityError:
        return False
    return True


def _write(connection: sqlite3.Connection, accounts: _Rows, entries: _Rows) -> None:
    for rows in _blocks(accounts):
        connection.execute(_write_accounts(len(rows)), tuple(chain.from_iterable(rows)))
    for rows in _blocks(entries):
        connection.execute(_write_entries(len(rows)), tuple(chain.from_iterable(rows)))


# Many rows go in one statement: between two statements this thread has to wait for its turn to run Python.
# In blocks of a power of two there are few different statements to prepare.
def _blocks(rows: _Rows) -> Iterator[_Rows]:
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
    return f"INSERT INTO entries ({_ENTRY}) VALUES {', '.join([_ENTRY_ROW] * count)}"


class Worker(Protocol):
    """Something that works on one connection, one thing after the other."""

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work`. Raises LedgerUnavailable when SQLite could not do it."""

    async def close(self) -> None:
        """Close the connection."""


class _Thread:
    """One connection and the one thread that uses it."""

    def __init__(self, path: str, name: str) -> None:
        self._path = path
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._connection: sqlite3.Connection | None = None

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._run, work)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._executor, self._disconnect)
        self._executor.shutdown()

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with unavailable_when_it_fails():
            if self._connection is None:
                self._connection = connect(self._path)
            return work(self._connection)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def connect(path: str) -> sqlite3.Connection:
    """A connection with the settings that the store relies on."""
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", *_ROOM):
        connection.execute(f"PRAGMA {pragma}")
    return connection


@contextmanager
def unavailable_when_it_fails() -> Iterator[None]:
    """Tell what SQLite could not do as LedgerUnavailable: a lock not freed, a full disk, a file that is gone."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise LedgerUnavailable(
            f"The ledger's database did not confirm this ({error}), so it may or may not have taken effect. "
            "Repeat it with the same idempotency key: it will not happen twice."
        ) from error


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


def _prove(connection: sqlite3.Connection, account_id: str, only_new: bool) -> Proof | None:
    with _transaction(connection):
        account = _account(connection, account_id)
        if account is None:
            return None
        kept = _column(connection, "SELECT account FROM proofs WHERE account_id = ?", (account_id,))
        replaying = Replay(account_id, account_from_proof(kept[0]) if kept and only_new else None)
        before = replaying.account.seq
        rows = connection.execute(
            f"SELECT {_ENTRY} FROM entries WHERE account_id = ? AND seq > ? ORDER BY seq", (account_id, before)
        )
        for row in rows:
            replaying.step(entry_from(_with_instants(row)))
        return Proof(account, replaying.account, replaying.account.seq - before)


def _column(connection: sqlite3.Connection, query: str, values: tuple[Any, ...]) -> list[str]:
    return [row[0] for row in connection.execute(query, values)]


# A batch has few different instants: the moment of its decision, and the ends of periods.
@lru_cache(4_096)
def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


_DUE = ACCOUNT_COLUMNS.index("due_at")
_EFFECTIVE = ENTRY_COLUMNS.index("effective_at")


def _account_row(account: Account, due_at: datetime | None) -> tuple[Any, ...]:
    row = account_row(account, due_at)
    return row if due_at is None else (*row[:_DUE], _text(due_at), *row[_DUE + 1 :])


def _entry_row(entry: Entry) -> tuple[Any, ...]:
    row = entry_row(entry)
    return (*row[:_EFFECTIVE], _text(entry.effective_at), _text(entry.recorded_at), *row[_EFFECTIVE + 2 :])


def _with_instants(row: tuple[Any, ...]) -> tuple[Any, ...]:
    effective, recorded = row[_EFFECTIVE : _EFFECTIVE + 2]
    instants = (datetime.fromisoformat(effective), datetime.fromisoformat(recorded))
    return (*row[:_EFFECTIVE], *instants, *row[_EFFECTIVE + 2 :])
