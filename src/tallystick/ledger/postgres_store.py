"""The ledger on PostgreSQL: one transaction a batch, a handful of set-based statements, through asyncpg.

A batch whose accounts are remembered is one statement; any other locks, reads, decides and writes. Several processes may work on the same database at once: accounts are always locked in id order. Knows
nothing of rules; it loads what a batch needs, lets `decide_batch` decide, and writes what it says.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any, Self, TypeVar

import asyncpg

from tallystick.clock import Clock
from tallystick.domain.account import Account, Entry, EntryKind
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import Command
from tallystick.domain.errors import LedgerUnavailable, Refusal
from tallystick.domain.replay import Replay
from tallystick.domain.settle import next_due
from tallystick.ledger.batch import (
    NO_HISTORY,
    Batch,
    History,
    Key,
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

LANES = 2
READERS = 4
ATTEMPTS = 6
"""How often a batch is tried when another process or the connection got in its way."""

FIRST_PAUSE = 0.05
PATIENCE_SECONDS = 10
"""How long one attempt may wait for a connection, or for the database's answer."""

PAGE = 1_000
"""How many entries are fetched at once while an account is replayed."""

T = TypeVar("T")

# The plans of the ledger's statements must not depend on statistics: while a table is small or its
# statistics are stale, the planner would rather read all of it and hash it than look up a few rows.
_PLANNER = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    # Planned once for each connection: planning costs more than carrying out a small batch.
    "plan_cache_mode": "force_generic_plan",
}

_TEXT = ("text", "json")
# Ids and keys are visible characters and JSON escapes all others, so these two occur in no text of a ledger.
_BETWEEN, _NULL = "\x1f", "\x1e"
_ACCOUNT_TYPES = ("text", "text", "bigint", "bigint", "bigint", "bigint", "bigint", "timestamptz", "text")
_ENTRY_TYPES = (
    *("text", "bigint", "text"),
    *("bigint",) * 5,
    *("timestamptz",) * 2,
    *("text", "text", "bigint", "json"),
)


def _unnest(types: Sequence[str], after: int = 0) -> str:
    """The columns of many rows, each as one text: the driver would look at every element of an array."""
    return ", ".join(
        f"string_to_array(${n}, E'\\x1f', E'\\x1e')::{type}[]" if type in _TEXT else f"${n}::text::{type}[]"
        for n, type in enumerate(types, after + 1)
    )


def _columns(rows: Iterable[tuple[Any, ...]], types: Sequence[str]) -> list[str]:
    columns = list(zip(*rows, strict=True)) or [()] * len(types)
    return [
        _BETWEEN.join([_NULL if value is None else value for value in values])
        if type in _TEXT
        else f"{{{','.join([_literal(value) for value in values])}}}"
        for values, type in zip(columns, types, strict=True)
    ]


def _literal(value: int | datetime | None) -> str:
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else _iso(value)


# A batch has few different instants: the moment of its decision, and the ends of periods.
_iso = lru_cache(4_096)(datetime.isoformat)


_ACCOUNT = ", ".join(ACCOUNT_COLUMNS)
_ENTRY = ", ".join(ENTRY_COLUMNS)
# What is remembered is not read again: of an account that is still at that number only the id comes back.
LOCK_ACCOUNTS = (
    "SELECT accounts.id, "
    + ", ".join(
        f"CASE WHEN accounts.seq <> wanted.seq THEN accounts.{name} END AS {name}"
        for name in ACCOUNT_COLUMNS
        if name != "id"
    )
    + " FROM unnest($1::text[], $2::bigint[]) AS wanted(id, seq) JOIN accounts ON accounts.id = wanted.id "
    "ORDER BY accounts.id FOR UPDATE OF accounts"
)
FIND_KEYS = (
    f"SELECT {', '.join('entries.' + name for name in ENTRY_COLUMNS)} "
    "FROM unnest($1::text[], $2::text[]) AS wanted(account_id, key) "
    "JOIN entries ON entries.account_id = wanted.account_id AND entries.key = wanted.key"
)
WRITE_ACCOUNTS = (
    f"INSERT INTO accounts ({_ACCOUNT}) SELECT * FROM unnest({_unnest(_ACCOUNT_TYPES)}) "
    "ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in ACCOUNT_COLUMNS if name != "id")
)
WRITE_ENTRIES = f"INSERT INTO entries ({_ENTRY}) SELECT * FROM unnest({_unnest(_ENTRY_TYPES)})"
# A whole batch in one statement, which is one transaction and one round trip. Had another process gone on
# with one of the accounts, the number of an entry is taken, and nothing of the statement happens. Asking
# for the count makes it lock the accounts before it writes entries, as every other batch does.
WRITE_BATCH = (
    "WITH changed AS (UPDATE accounts SET "
    + ", ".join(f"{name} = new.{name}" for name in ACCOUNT_COLUMNS if name != "id")
    + f" FROM unnest({_unnest(_ACCOUNT_TYPES)}) AS new({_ACCOUNT}) WHERE accounts.id = new.id "
    "RETURNING 1) "
    f"INSERT INTO entries ({_ENTRY}) SELECT * FROM unnest({_unnest(_ENTRY_TYPES, len(ACCOUNT_COLUMNS))}) "
    "WHERE (SELECT count(*) FROM changed) >= 0"
)
FIND_ENTRIES = (
    f"SELECT {', '.join('entries.' + name for name in ENTRY_COLUMNS)} "
    "FROM unnest($1::text[], $2::bigint[]) AS wanted(account_id, seq) "
    "JOIN entries ON entries.account_id = wanted.account_id AND entries.seq = wanted.seq"
)
FIND_REVERSALS = (
    "SELECT entries.account_id, entries.reverses, entries.seq "
    "FROM unnest($1::text[], $2::bigint[]) AS wanted(account_id, reverses) "
    "JOIN entries ON entries.account_id = wanted.account_id AND entries.reverses = wanted.reverses"
)
FIND_PROOF = "SELECT account FROM proofs WHERE account_id = $1"
KEEP_PROOF = (
    "INSERT INTO proofs (account_id, seq, account) VALUES ($1, $2, $3) ON CONFLICT (account_id) "
    "DO UPDATE SET seq = excluded.seq, account = excluded.account WHERE proofs.seq < excluded.seq"
)

_IN_THE_WAY = (
    # Two processes opened the same account, or used the same key, at once: the second one looks again.
    asyncpg.UniqueViolationError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
)
_CONNECTION_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    OSError,
    TimeoutError,
)


class PostgresStore:
    """One PostgreSQL database, through a pool of connections of its own."""

    lanes = LANES

    def __init__(self, pool: asyncpg.Pool, catalogue: Catalogue, clock: Clock) -> None:
        self._pool = pool
        self._catalogue = catalogue
        self._clock = clock
        self._memory = Memory()

    @classmethod
    async def open(cls, dsn: str, catalogue: Catalogue, clock: Clock) -> Self:
        """Connect. Raises LedgerUnavailable when the database cannot be reached."""
        try:
            pool = await asyncpg.create_pool(
                dsn,
                min_size=0,
                max_size=LANES + READERS,
                timeout=PATIENCE_SECONDS,
                command_timeout=PATIENCE_SECONDS,
                reset=_leave_as_it_is,
                server_settings={"application_name": "tallystick ledger", **_PLANNER},
            )
            async with pool.acquire(timeout=PATIENCE_SECONDS):
                pass
        except (*_CONNECTION_LOST, asyncpg.PostgresError) as error:
            raise LedgerUnavailable(
                f"The ledger's database cannot be reached ({error}). Check DATABASE_URL and that it is running."
            ) from error
        return cls(pool, catalogue, clock)

    async def commit(self, commands: Sequence[Command]) -> list[Outcome]:
        outcomes = await self._from_memory(commands)
        if outcomes is not None:
            return outcomes
        return await self._insist(lambda connection, attempt: self._commit(connection, commands, attempt))

    async def account(self, account_id: str) -> Account | None:
        query = f"SELECT {_ACCOUNT} FROM accounts WHERE id = $1"
        row = await self._read(lambda connection: connection.fetchrow(query, account_id))
        return None if row is None else account_from(row)

    async def entries(
        self, account_id: str, before: int | None, limit: int, kind: EntryKind | None = None
    ) -> list[Entry]:
        query = (
            f"SELECT {_ENTRY} FROM entries WHERE account_id = $1 AND seq < $2 AND ($4::text IS NULL OR kind = $4) "
            "ORDER BY seq DESC LIMIT $3"
        )
        below = 2**63 - 1 if before is None else before
        rows = await self._read(lambda connection: connection.fetch(query, account_id, below, limit, kind))
        return [entry_from(row) for row in rows]

    async def entry_by_key(self, account_id: str, key: str) -> Entry | None:
        query = f"SELECT {_ENTRY} FROM entries WHERE account_id = $1 AND key = $2"
        row = await self._read(lambda connection: connection.fetchrow(query, account_id, key))
        return None if row is None else entry_from(row)

    async def entry_at(self, account_id: str, instant: datetime) -> Entry | None:
        query = f"SELECT {_ENTRY} FROM entries WHERE account_id = $1 AND effective_at <= $2 ORDER BY seq DESC LIMIT 1"
        row = await self._read(lambda connection: connection.fetchrow(query, account_id, instant))
        return None if row is None else entry_from(row)

    async def due(self, now: datetime, limit: int) -> list[str]:
        query = "SELECT id FROM accounts WHERE due_at <= $1 ORDER BY due_at LIMIT $2"
        rows = await self._read(lambda connection: connection.fetch(query, now, limit))
        return [row[0] for row in rows]

    async def account_ids(self, after: str, limit: int) -> list[str]:
        query = (
            "SELECT id FROM (SELECT id FROM accounts UNION SELECT DISTINCT account_id FROM entries) AS ids "
            'WHERE id COLLATE "C" > $1 ORDER BY id COLLATE "C" LIMIT $2'
        )
        rows = await self._read(lambda connection: connection.fetch(query, after, limit))
        return [row[0] for row in rows]

    async def prove(self, account_id: str, *, only_new: bool = False) -> Proof | None:
        return await self._read(lambda connection: _prove(connection, account_id, only_new))

    async def keep_proof(self, account: Account) -> None:
        values = (account.id, account.seq, proof_text(account))
        await self._read(lambda connection: connection.execute(KEEP_PROOF, *values))

    async def close(self) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        async with self._pool.acquire(timeout=PATIENCE_SECONDS) as connection:
            try:
                yield connection
            except asyncpg.InternalClientError:
                # The driver lost track of it, which a server that dies in mid-sentence can bring about.
                connection.terminate()
                raise

    async def _read(self, work: Callable[[Any], Awaitable[T]]) -> T:
        return await self._insist(lambda connection, _attempt: work(connection))

    async def _insist(self, work: Callable[[Any, int], Awaitable[T]]) -> T:
        """Do `work` on a connection, again when another process or a lost connection got in its way.

        Repeating a batch is safe whatever became of the first try: a key that was committed is found and
        answered again (S7).
        """
        failure: Exception | None = None
        until = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        for attempt in range(ATTEMPTS):
            if asyncio.get_running_loop().time() > until:
                break
            if attempt > 1 or isinstance(failure, _CONNECTION_LOST):
                await asyncio.sleep(FIRST_PAUSE * 2 ** (attempt - 1))
            try:
                async with self._connection() as connection:
                    return await work(connection, attempt)
            except (*_IN_THE_WAY, *_CONNECTION_LOST) as error:
                failure = error
        raise LedgerUnavailable(
            "The ledger's database did not confirm this, so it may or may not have taken effect. "
            "Repeat it with the same idempotency key: it will not happen twice."
        ) from failure

    async def _from_memory(self, commands: Sequence[Command]) -> list[Outcome] | None:
        """The short way, without reading. None when it is not open, or another process was faster."""
        batch = self._memory.decide(commands, self._clock(), self._catalogue)
        if batch is None:
            return None
        self._memory.forget(commands)
        try:
            async with self._connection() as connection:
                await connection.execute(WRITE_BATCH, *self._account_columns(batch), *_entry_columns(batch))
        except _IN_THE_WAY:
            self._memory.outdated()
            return None
        except _CONNECTION_LOST:
            return None
        self._memory.confirmed(batch)
        return batch.outcomes

    async def _commit(self, connection: Any, commands: Sequence[Command], attempt: int) -> list[Outcome]:
        """Lock, decide, write. Keys are looked up only when it matters: when a command is refused or
        refers to history, or when the first attempt ran into one that is there.
        """
        async with connection.transaction():
            accounts = await self._lock(connection, account_ids(commands))
            known: dict[Key, Entry] = {}
            history = NO_HISTORY
            refers = named(commands)
            looked = bool(attempt or refers)
            if looked:
                known, history = await _known(connection, keys(commands)), await _history(connection, refers)
            batch = decide_batch(commands, accounts, known, history, self._clock(), self._catalogue)
            if not looked and any(isinstance(outcome, Refusal) for outcome in batch.outcomes):
                known = await _known(connection, keys(commands))
                batch = decide_batch(commands, accounts, known, history, self._clock(), self._catalogue)
            if batch.entries and all(account.id in accounts for account in batch.accounts):
                await connection.execute(WRITE_BATCH, *self._account_columns(batch), *_entry_columns(batch))
            elif batch.entries:
                await connection.execute(WRITE_ACCOUNTS, *self._account_columns(batch))
                await connection.execute(WRITE_ENTRIES, *_entry_columns(batch))
        self._memory.remember((accounts | {account.id: account for account in batch.accounts}).values())
        return batch.outcomes

    async def _lock(self, connection: Any, ids: list[str]) -> dict[str, Account]:
        remembered = [self._memory.get(id) for id in ids]
        numbers = [-1 if account is None else account.seq for account in remembered]
        still = dict(zip(ids, remembered, strict=True))
        rows = await connection.fetch(LOCK_ACCOUNTS, ids, numbers)
        locked = {row[0]: still[row[0]] if row["seq"] is None else account_from(row) for row in rows}
        return {id: account for id, account in locked.items() if account is not None}

    def _account_columns(self, batch: Batch) -> list[Any]:
        # In id order, as locks are always taken.
        changed = sorted(batch.accounts, key=lambda account: account.id)
        return _columns([account_row(a, next_due(a, self._catalogue)) for a in changed], _ACCOUNT_TYPES)


async def _leave_as_it_is(_connection: Any) -> None:
    """Instead of the driver's RESET ALL after every use, a round trip: nothing here changes a session.

    An open transaction is rolled back by the driver all the same.
    """


def _entry_columns(batch: Batch) -> list[Any]:
    return _columns(map(entry_row, batch.entries), _ENTRY_TYPES)


async def _known(connection: Any, wanted: Sequence[Key]) -> dict[Key, Entry]:
    rows = await connection.fetch(FIND_KEYS, [key[0] for key in wanted], [key[1] for key in wanted])
    return {(row["account_id"], row["key"]): entry_from(row) for row in rows}


async def _history(connection: Any, wanted: Sequence[Number]) -> History:
    if not wanted:
        return NO_HISTORY
    ids, numbers = [id for id, _ in wanted], [seq for _, seq in wanted]
    found = [entry_from(row) for row in await connection.fetch(FIND_ENTRIES, ids, numbers)]
    made = origins(found)
    rows = await connection.fetch(FIND_ENTRIES, [id for id, _ in made], [seq for _, seq in made])
    entries = {(e.account_id, e.seq): e for e in (*found, *map(entry_from, rows))}
    rows = await connection.fetch(FIND_REVERSALS, ids, numbers)
    return History(entries, {(row[0], row[1]): row[2] for row in rows})


async def _prove(connection: Any, account_id: str, only_new: bool) -> Proof | None:
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        row = await connection.fetchrow(f"SELECT {_ACCOUNT} FROM accounts WHERE id = $1", account_id)
        if row is None:
            return None
        kept = await connection.fetchval(FIND_PROOF, account_id) if only_new else None
        replaying = Replay(account_id, None if kept is None else account_from_proof(kept))
        before = replaying.account.seq
        query = f"SELECT {_ENTRY} FROM entries WHERE account_id = $1 AND seq > $2 ORDER BY seq LIMIT {PAGE}"
        while page := await connection.fetch(query, account_id, replaying.account.seq):
            for entry in page:
                replaying.step(entry_from(entry))
            if len(page) < PAGE:
                break
        return Proof(account_from(row), replaying.account, replaying.account.seq - before)
