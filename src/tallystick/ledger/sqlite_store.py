"""The ledger on SQLite: one writer thread, one transaction a batch, every commit on the disk.

Knows nothing of rules; it loads what a batch needs, lets `decide_batch` decide, and writes what it says.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol, TypeVar

from tallystick.clock import Clock
from tallystick.database.sqlite import BUSY_SECONDS, prepare
from tallystick.database.turns import Turns
from tallystick.domain.account import LAST_ENTRY, Account, Entry, EntryKind
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import Archive, Command
from tallystick.domain.errors import LedgerUnavailable
from tallystick.domain.replay import Replay
from tallystick.domain.settle import next_due
from tallystick.ledger.batch import (
    Batch,
    History,
    Key,
    Number,
    Outcome,
    account_ids,
    decide_batch,
    in_archive,
    keys,
    named,
    origins,
)
from tallystick.ledger.codec import account_from_proof, proof_text
from tallystick.ledger.errors import does_not_follow
from tallystick.ledger.memory import REMEMBERED, Memory
from tallystick.ledger.sqlite_archive import find_archived, find_checkpoint, take_out
from tallystick.ledger.sqlite_rows import (
    AT_ONCE,
    ENTRY,
    Rows,
    account_of,
    accounts_of,
    entries_where,
    first_column,
    instant_text,
    prepare_writing,
    read_entry,
    transaction,
    write_rows,
    written_row,
)
from tallystick.ledger.store import Due, Proof, proof_begins

LANES = 2
"""While one batch is written, another one is decided and waits at the writer."""

# A batch touches pages all over the file. They stay in memory until the commit. With more room for others SQLite has
# more to look through at each commit, and that costs more than reading them again from the system's memory.
_ROOM = ("cache_size=-16384", "cache_spill=OFF", "temp_store=MEMORY")

T = TypeVar("T")

_KEEP_PROOF = (
    "INSERT INTO proofs (account_id, seq, account) VALUES (?, ?, ?) ON CONFLICT (account_id) "
    "DO UPDATE SET seq = excluded.seq, account = excluded.account WHERE proofs.seq < excluded.seq"
)


class SqliteStore:
    """One file. Several processes may use it at once; SQLite lets them write one after the other."""

    lanes = LANES
    crowded = False

    def __init__(
        self,
        path: str,
        catalogue: Catalogue,
        clock: Clock,
        worker: Callable[[str, str], "Worker"] | None = None,
        turns: Turns | None = None,
        remembered: int = REMEMBERED,
    ) -> None:
        self._catalogue = catalogue
        self._clock = clock
        self._memory = Memory(remembered)
        worker = worker or _Thread
        self._turns = turns or Turns()
        self._writer = worker(path, "ledger writer")
        self._reader = worker(path, "ledger reader")
        # Reads what batches need first. They do not wait for what others read, which may be a year of entries.
        self._scout = worker(path, "ledger scout")

    async def commit(self, commands: Sequence[Command], *, wait: bool = True) -> Sequence[Outcome]:  # noqa: ARG002
        if unknown := self._memory.unknown(commands):
            self._memory.remember(await self._scout.run(lambda connection: accounts_of(connection, unknown)))
        decided = self._memory.decide(commands, self._clock(), self._catalogue)
        if decided is not None:
            rows = self._rows(decided)
            archived = in_archive(commands, decided.accounts)
            if await self._write(lambda connection: _write_at_once(connection, archived, rows)):
                self._memory.confirmed(decided)
                return decided.outcomes
            self._memory.outdated()
        try:
            seen, batch = await self._write(lambda connection: self._commit(connection, commands))
        except sqlite3.IntegrityError as refused:
            raise does_not_follow(refused) from refused
        self._memory.compared(seen.values())
        self._memory.remember((seen | {account.id: account for account in batch.accounts}).values())
        return batch.outcomes

    async def account(self, account_id: str) -> Account | None:
        return await self._reader.run(lambda connection: account_of(connection, account_id))

    async def entries(
        self, account_id: str, before: int | None, limit: int, kind: EntryKind | None = None
    ) -> list[Entry]:
        return await self._reader.run(
            lambda connection: entries_where(
                connection,
                "account_id = ? AND seq < ? AND kind = coalesce(?, kind) ORDER BY seq DESC LIMIT ?",
                (account_id, LAST_ENTRY if before is None else before, kind, limit),
            )
        )

    async def entries_after(self, account_id: str, seq: int, limit: int) -> list[Entry]:
        return await self._reader.run(
            lambda connection: entries_where(
                connection, "account_id = ? AND seq > ? ORDER BY seq LIMIT ?", (account_id, seq, limit)
            )
        )

    async def entry_by_key(self, account_id: str, key: str) -> Entry | None:
        return await self._reader.run(lambda connection: _by_key(connection, account_id, key))

    async def entry_at(self, account_id: str, instant: datetime) -> Entry | None:
        found = await self._reader.run(
            lambda connection: entries_where(
                connection,
                "account_id = ? AND effective_at <= ? ORDER BY seq DESC LIMIT 1",
                (account_id, instant_text(instant)),
            )
        )
        return found[0] if found else None

    async def due(self, now: datetime, limit: int, after: Due) -> list[Due]:
        query = (
            "SELECT due_at, id FROM accounts WHERE due_at <= ? AND (due_at, id) > (?, ?) ORDER BY due_at, id LIMIT ?"
        )
        values = (instant_text(now), instant_text(after.since), after.account_id, limit)
        rows = await self._reader.run(lambda connection: connection.execute(query, values).fetchall())
        return [Due(datetime.fromisoformat(since), id) for since, id in rows]

    async def account_ids(self, after: str, limit: int) -> list[str]:
        return await self._reader.run(
            lambda connection: first_column(
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

    async def checkpoint(self, account_id: str) -> Entry | None:
        return await self._reader.run(lambda connection: find_checkpoint(connection, account_id))

    async def archive(self, command: Archive, going: Sequence[Entry]) -> Outcome:
        seen, batch = await self._write(lambda connection: self._commit(connection, [command], going))
        self._memory.remember((seen | {account.id: account for account in batch.accounts}).values())
        return batch.outcomes[0]

    async def close(self) -> None:
        await self._writer.close()
        await self._reader.close()
        await self._scout.close()

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        async with self._turns.take("ledger", LANES):
            return await self._writer.run(work)

    def _commit(
        self, connection: sqlite3.Connection, commands: Sequence[Command], going: Sequence[Entry] = ()
    ) -> tuple[dict[str, Account], Batch]:
        """Read, decide, write. Returns the accounts as they were, and the batch.

        Entries that are `going` leave with the checkpoint that the batch ends with.
        """
        with transaction(connection, "IMMEDIATE"):
            accounts = {account.id: account for account in accounts_of(connection, account_ids(commands))}
            known = {}
            for key in keys(commands):
                for entry in entries_where(connection, "account_id = ? AND key = ?", key):
                    known[key] = entry
            known |= find_archived(connection, in_archive(commands, accounts.values()))
            history = _history(connection, named(commands))
            batch = decide_batch(commands, accounts, known, history, self._clock(), self._catalogue)
            write_rows(connection, self._rows(batch))
            if going and batch.entries:
                take_out(connection, batch.entries[-1], going)
        return accounts, batch

    def _rows(self, batch: Batch) -> Rows:
        accounts = {account.id: account for account in batch.accounts}
        rows = []
        for entry in batch.entries:
            account = accounts[entry.account_id]
            if account.seq == entry.seq:
                rows.append(written_row(entry, account, next_due(account, self._catalogue)))
            else:
                rows.append(written_row(entry, None, None))
        return rows


def _write_at_once(connection: sqlite3.Connection, archived: Sequence[Key], rows: Rows) -> bool:
    """Write what was decided from memory. False, with nothing written, when another process was faster, or
    when a key of an account that has an archive was used there.
    """
    try:
        if not archived and len(rows) <= AT_ONCE:
            write_rows(connection, rows)
            return True
        with transaction(connection, "IMMEDIATE"):
            if find_archived(connection, archived):
                return False
            write_rows(connection, rows)
    except sqlite3.IntegrityError:
        return False
    return True


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
    prepare(connection)
    for pragma in _ROOM:
        connection.execute(f"PRAGMA {pragma}")
    prepare_writing(connection)
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


def _by_key(connection: sqlite3.Connection, account_id: str, key: str) -> Entry | None:
    with transaction(connection):
        found = entries_where(connection, "account_id = ? AND key = ?", (account_id, key))
        archived = find_archived(connection, [(account_id, key)])
    return found[0] if found else archived.get((account_id, key))


def _history(connection: sqlite3.Connection, wanted: Sequence[Number]) -> History:
    found = _numbered(connection, wanted)
    made = _numbered(connection, origins(found))
    entries = {(e.account_id, e.seq): e for e in (*found, *made)}
    reversals = {
        (e.account_id, number): e.seq
        for id, number in wanted
        for e in entries_where(connection, "account_id = ? AND reverses = ?", (id, number))
    }
    return History(entries, reversals)


def _numbered(connection: sqlite3.Connection, wanted: Sequence[Number]) -> list[Entry]:
    return [e for number in wanted for e in entries_where(connection, "account_id = ? AND seq = ?", number)]


def _prove(connection: sqlite3.Connection, account_id: str, only_new: bool) -> Proof | None:
    with transaction(connection):
        account = account_of(connection, account_id)
        if account is None:
            return None
        kept = first_column(connection, "SELECT account FROM proofs WHERE account_id = ?", (account_id,))
        checkpoint = find_checkpoint(connection, account_id) if account.archived else None
        proven = account_from_proof(account_id, kept[0]) if kept and only_new else None
        begins = proof_begins(account, proven, checkpoint)
        replaying = Replay(account_id, begins)
        before = replaying.account.seq
        rows = connection.execute(
            f"SELECT {ENTRY} FROM entries WHERE account_id = ? AND seq > ? ORDER BY seq", (account_id, before)
        )
        for row in rows:
            replaying.step(read_entry(row))
        return Proof(account, replaying.account, replaying.account.seq - before)
