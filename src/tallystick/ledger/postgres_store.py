"""The ledger on PostgreSQL: one transaction a batch, a handful of set-based statements, through asyncpg.

A batch that takes no more than its accounts' states is one statement; any other locks, reads, decides and
writes. Several processes may work on the same database at once: accounts are always locked in id order, and those
that another process has locked are left for the next batch. Knows nothing of rules; it loads what a batch needs, lets
`decide_batch` decide, and writes what it says.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Self

from tallystick.clock import Clock
from tallystick.database.urls import DatabaseUrl
from tallystick.domain.account import LAST_ENTRY, Account, Entry, EntryKind
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import Archive, Command
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
    in_archive,
    keys,
    named,
    origins,
    unpacked,
)
from tallystick.ledger.codec import (
    account_from,
    account_from_proof,
    account_row,
    entry_from,
    entry_row,
    key_digest,
    pack,
    proof_text,
)
from tallystick.ledger.errors import does_not_follow
from tallystick.ledger.memory import REMEMBERED, Memory
from tallystick.ledger.places import Spread
from tallystick.ledger.postgres_connections import CONNECTION_LOST, IN_THE_WAY, REFUSED, Connections
from tallystick.ledger.postgres_shards import Shards, find_shards
from tallystick.ledger.postgres_statements import (
    ACCOUNT,
    ENTRY,
    FIND_ACCOUNTS,
    FIND_CHECKPOINT,
    FIND_PACKED,
    FIND_PROOF,
    KEEP_CHECKPOINT,
    KEEP_KEYS,
    KEEP_PROOF,
    REMOVE_ENTRIES,
    Reads,
    Rows,
)
from tallystick.ledger.postgres_writing import InOneStatement, OnOneShard, Writing
from tallystick.ledger.store import Due, Proof, proof_begins

LANES = 2
READERS = 4
CONNECTIONS_ON_SHARDS = 12
"""What all batches and readers share when every shard has a lane of its own: more lanes than batches at once."""

PAGE = 1_000
"""How many entries are fetched at once while an account is replayed."""


class PostgresStore:
    """One PostgreSQL database, through a pool of connections of its own."""

    def __init__(
        self,
        connections: Connections,
        catalogue: Catalogue,
        clock: Clock,
        shards: Shards | None = None,
        remembered: int = REMEMBERED,
    ) -> None:
        """With `shards`, batches have to be of one shard each; see `spread`."""
        self.connections = connections
        self.shards = shards
        self.lanes = LANES if shards is None else len(shards)
        self._catalogue = catalogue
        self._clock = clock
        self._memory = Memory(remembered)
        self._writing: Writing = InOneStatement() if shards is None else OnOneShard()

    @classmethod
    async def open(cls, url: DatabaseUrl, catalogue: Catalogue, clock: Clock, remembered: int = REMEMBERED) -> Self:
        """Connect, and find out whether the ledger is on shards.

        Raises LedgerUnavailable when the database cannot be reached, PlannerSettingsMissing, and
        DistributionUnfinished.
        """
        connections = await Connections.open(url, LANES + READERS)
        try:
            shards = await connections.read(find_shards)
        except BaseException:
            connections.terminate()
            raise
        if shards is not None:
            await connections.close()
            connections = await Connections.open(url, CONNECTIONS_ON_SHARDS, planned_once=False)
        return cls(connections, catalogue, clock, shards, remembered)

    @property
    def spread(self) -> Spread | None:
        """Which lane an account's commands belong to: on shards that of its shard, otherwise any."""
        return None if self.shards is None else self.shards.of

    @property
    def crowded(self) -> bool:
        # On shards every batch has to be of one lane.
        return self._memory.crowded and self.shards is None

    async def commit(self, commands: Sequence[Command], *, wait: bool = True) -> Sequence[Outcome | None]:
        try:
            return await self._carry_out(commands, wait)
        except REFUSED as refused:
            raise does_not_follow(refused) from refused

    async def _carry_out(self, commands: Sequence[Command], wait: bool) -> Sequence[Outcome | None]:
        try:
            outcomes = await self._from_memory(commands)
        except CONNECTION_LOST:
            # It may have been written, so it cannot be left for later. Perhaps there was a lock that it waited for.
            outcomes, wait = None, True
            self._memory.outdated()
        if outcomes is not None:
            return outcomes

        async def lock_and_decide(connection: Any, attempt: int) -> Sequence[Outcome | None]:
            nonlocal wait
            try:
                return await self._commit(connection, commands, attempt, wait)
            except CONNECTION_LOST:
                wait = True
                raise

        return await self.connections.insist(lock_and_decide)

    async def account(self, account_id: str) -> Account | None:
        query = f"SELECT {ACCOUNT} FROM accounts WHERE id = $1"
        row = await self.connections.read(lambda connection: connection.fetchrow(query, account_id))
        return None if row is None else account_from(row)

    async def entries(
        self, account_id: str, before: int | None, limit: int, kind: EntryKind | None = None
    ) -> list[Entry]:
        query = (
            f"SELECT {ENTRY} FROM entries WHERE account_id = $1 AND seq < $2 AND ($4::text IS NULL OR kind = $4) "
            "ORDER BY seq DESC LIMIT $3"
        )
        below = LAST_ENTRY if before is None else before
        rows = await self.connections.read(lambda connection: connection.fetch(query, account_id, below, limit, kind))
        return [entry_from(row) for row in rows]

    async def entries_after(self, account_id: str, seq: int, limit: int) -> list[Entry]:
        query = f"SELECT {ENTRY} FROM entries WHERE account_id = $1 AND seq > $2 ORDER BY seq LIMIT $3"
        rows = await self.connections.read(lambda connection: connection.fetch(query, account_id, seq, limit))
        return [entry_from(row) for row in rows]

    async def entry_by_key(self, account_id: str, key: str) -> Entry | None:
        wanted = [(account_id, key)]
        reads = self._writing.reads
        found = await self.connections.read(lambda connection: _found(connection, reads, wanted))
        if found:
            return found[(account_id, key)]
        archived = await self.connections.read(lambda connection: _archived(connection, reads, wanted))
        return archived.get((account_id, key))

    async def entry_at(self, account_id: str, instant: datetime) -> Entry | None:
        query = f"SELECT {ENTRY} FROM entries WHERE account_id = $1 AND effective_at <= $2 ORDER BY seq DESC LIMIT 1"
        row = await self.connections.read(lambda connection: connection.fetchrow(query, account_id, instant))
        return None if row is None else entry_from(row)

    async def due(self, now: datetime, limit: int, after: Due) -> list[Due]:
        query = (
            'SELECT due_at, id FROM accounts WHERE due_at <= $1 AND (due_at, id COLLATE "C") > ($3, $4) '
            'ORDER BY due_at, id COLLATE "C" LIMIT $2'
        )
        values = (now, limit, after.since, after.account_id)
        rows = await self.connections.read(lambda connection: connection.fetch(query, *values))
        return [Due(*row) for row in rows]

    async def account_ids(self, after: str, limit: int) -> list[str]:
        query = (
            "SELECT id FROM (SELECT id FROM accounts UNION SELECT DISTINCT account_id FROM entries) AS ids "
            'WHERE id COLLATE "C" > $1 ORDER BY id COLLATE "C" LIMIT $2'
        )
        rows = await self.connections.read(lambda connection: connection.fetch(query, after, limit))
        return [row[0] for row in rows]

    async def prove(self, account_id: str, *, only_new: bool = False) -> Proof | None:
        return await self.connections.read(lambda connection: _prove(connection, account_id, only_new))

    async def keep_proof(self, account: Account) -> None:
        values = (account.id, account.seq, proof_text(account))
        await self.connections.read(lambda connection: connection.execute(KEEP_PROOF, *values))

    async def checkpoint(self, account_id: str) -> Entry | None:
        row = await self.connections.read(lambda connection: connection.fetchrow(FIND_CHECKPOINT, account_id))
        return None if row is None else entry_from(row)

    async def archive(self, command: Archive, going: Sequence[Entry]) -> Outcome:
        return await self.connections.insist(lambda connection, _attempt: self._archive(connection, command, going))

    async def close(self) -> None:
        await self.connections.close()

    async def _from_memory(self, commands: Sequence[Command]) -> list[Outcome] | None:
        """The short way, without a lock. None when it is not open, or another process was faster."""
        if unknown := self._memory.unknown(commands):
            rows = await self.connections.read(lambda connection: connection.fetch(FIND_ACCOUNTS, unknown))
            self._memory.remember(map(account_from, rows))
        batch = self._memory.decide(commands, self._clock(), self._catalogue)
        if batch is None:
            return None
        wanted = in_archive(commands, batch.accounts)
        # Whoever archives more meanwhile takes the number of the next entry: then nothing can be written below.
        reads = self._writing.reads
        used = await self.connections.read(lambda connection: _archived(connection, reads, wanted)) if wanted else {}
        if used:
            return None
        try:
            async with self.connections.acquire() as connection:
                await self._writing.alone(connection, *self._rows(batch))
        except IN_THE_WAY:
            self._memory.outdated()
            return None
        self._memory.confirmed(batch)
        return batch.outcomes

    async def _commit(
        self, connection: Any, commands: Sequence[Command], attempt: int, wait: bool
    ) -> Sequence[Outcome | None]:
        """Lock, decide, write. Keys are looked up only when it matters: when a command is refused or
        refers to history, or when the first attempt ran into one that is there.
        """
        reads = self._writing.reads
        async with connection.transaction():
            accounts, busy = await self._lock(connection, account_ids(commands), wait=wait)
            possible = [command for command in commands if command.account_id not in busy] if busy else commands
            known: dict[Key, Entry] = {}
            history = NO_HISTORY
            refers = named(possible)
            looked = bool(attempt or refers or in_archive(possible, accounts.values()))
            if looked:
                known = await _known(connection, reads, possible, accounts)
                history = await _history(connection, reads, refers)
            batch = decide_batch(possible, accounts, known, history, self._clock(), self._catalogue)
            if not looked and any(isinstance(outcome, Exception) for outcome in batch.outcomes):
                known = await _known(connection, reads, possible, accounts)
                batch = decide_batch(possible, accounts, known, history, self._clock(), self._catalogue)
            if batch.entries and all(account.id in accounts for account in batch.accounts):
                await self._writing.within(connection, *self._rows(batch))
            elif batch.entries:
                await self._writing.with_new(connection, *self._rows(batch))
        if busy:
            self._memory.outdated()
        else:
            self._memory.compared(accounts.values())
        self._memory.remember((accounts | {account.id: account for account in batch.accounts}).values())
        if not busy:
            return batch.outcomes
        outcomes = iter(batch.outcomes)
        return [None if command.account_id in busy else next(outcomes) for command in commands]

    async def _archive(self, connection: Any, command: Archive, going: Sequence[Entry]) -> Outcome:
        id = command.account_id
        async with connection.transaction():
            accounts, _ = await self._lock(connection, [id])
            known = await _known(connection, self._writing.reads, [command], accounts)
            batch = decide_batch([command], accounts, known, NO_HISTORY, self._clock(), self._catalogue)
            if batch.entries:
                await self._writing.within(connection, *self._rows(batch))
                await connection.execute(KEEP_CHECKPOINT, id, command.up_to, batch.accounts[0].seq, pack(going))
                keyed = [(key_digest(e.key), e.seq) for e in going if e.key is not None]
                await connection.execute(KEEP_KEYS, id, [d for d, _ in keyed], [seq for _, seq in keyed])
                await connection.execute(REMOVE_ENTRIES, id, [e.seq for e in going])
        self._memory.remember(batch.accounts)
        return batch.outcomes[0]

    async def _lock(
        self, connection: Any, ids: list[str], *, wait: bool = True
    ) -> tuple[dict[str, Account], Collection[str]]:
        """Lock accounts, and read those of which another state is remembered. Returns them, and which exist besides.

        Those are there only without `wait`: some that another process has locked. When it has all, they are waited for.
        """
        reads = self._writing.reads
        remembered = [self._memory.get(id) for id in ids]
        numbers = [-1 if account is None else account.seq for account in remembered]
        still = dict(zip(ids, remembered, strict=True))
        rows = await connection.fetch(reads.lock_accounts if wait else reads.lock_free_accounts, ids, numbers)
        locked = {row[0]: still[row[0]] if row["seq"] is None else account_from(row) for row in rows}
        accounts = {id: account for id, account in locked.items() if account is not None}
        if len(accounts) == len(ids):
            return accounts, ()
        others = [id for id in ids if id not in accounts]
        if wait:
            for id in others:
                self._memory.forget(id)
            return accounts, ()
        busy = {id for id in others if still[id] is not None}
        if unknown := [id for id in others if id not in busy]:
            busy.update(row[0] for row in await connection.fetch(FIND_ACCOUNTS, unknown))
        if len(busy) == len(ids):
            return await self._lock(connection, ids)
        return accounts, busy

    def _rows(self, batch: Batch) -> tuple[Rows, Rows]:
        # In id order, as locks are always taken.
        changed = sorted(batch.accounts, key=lambda account: account.id)
        accounts = [account_row(account, next_due(account, self._catalogue)) for account in changed]
        return accounts, [entry_row(entry) for entry in batch.entries]


async def _known(
    connection: Any, reads: Reads, commands: Sequence[Command], accounts: Mapping[str, Account]
) -> dict[Key, Entry]:
    archived = await _archived(connection, reads, in_archive(commands, accounts.values()))
    return archived | await _found(connection, reads, keys(commands))


async def _found(connection: Any, reads: Reads, wanted: Sequence[Key]) -> dict[Key, Entry]:
    rows = await connection.fetch(reads.find_keys, [key[0] for key in wanted], [key[1] for key in wanted])
    return {(row["account_id"], row["key"]): entry_from(row) for row in rows}


async def _archived(connection: Any, reads: Reads, wanted: Sequence[Key]) -> dict[Key, Entry]:
    if not wanted:
        return {}
    digests = [key_digest(key) for _, key in wanted]
    found = await connection.fetch(reads.find_archived, [id for id, _ in wanted], digests)
    return unpacked(wanted, [await connection.fetchval(FIND_PACKED, *row) for row in found])


async def _history(connection: Any, reads: Reads, wanted: Sequence[Number]) -> History:
    if not wanted:
        return NO_HISTORY
    ids, numbers = [id for id, _ in wanted], [seq for _, seq in wanted]
    found = [entry_from(row) for row in await connection.fetch(reads.find_entries, ids, numbers)]
    made = origins(found)
    rows = await connection.fetch(reads.find_entries, [id for id, _ in made], [seq for _, seq in made])
    entries = {(e.account_id, e.seq): e for e in (*found, *map(entry_from, rows))}
    rows = await connection.fetch(reads.find_reversals, ids, numbers)
    return History(entries, {(row[0], row[1]): row[2] for row in rows})


async def _prove(connection: Any, account_id: str, only_new: bool) -> Proof | None:
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        row = await connection.fetchrow(f"SELECT {ACCOUNT} FROM accounts WHERE id = $1", account_id)
        if row is None:
            return None
        account = account_from(row)
        kept = await connection.fetchval(FIND_PROOF, account_id) if only_new else None
        checkpoint = await connection.fetchrow(FIND_CHECKPOINT, account_id) if account.archived else None
        begins = proof_begins(
            account,
            None if kept is None else account_from_proof(account_id, kept),
            None if checkpoint is None else entry_from(checkpoint),
        )
        replaying = Replay(account_id, begins)
        before = replaying.account.seq
        query = f"SELECT {ENTRY} FROM entries WHERE account_id = $1 AND seq > $2 ORDER BY seq LIMIT {PAGE}"
        while page := await connection.fetch(query, account_id, replaying.account.seq):
            for entry in page:
                replaying.step(entry_from(entry))
            if len(page) < PAGE:
                break
        return Proof(account, replaying.account, replaying.account.seq - before)
