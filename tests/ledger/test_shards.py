"""Batches that stay on one shard: a real PostgreSQL whose catalogue says, as Citus's would, which hashes go where."""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import (
    Capture,
    ExtendHold,
    GrantBonus,
    KeyedCommand,
    OpenAccount,
    PlaceHold,
    Release,
    Reverse,
    Spend,
)
from tallystick.domain.errors import InsufficientCredits
from tallystick.ledger import Ledger, Receipt
from tallystick.ledger.archiving import LEAST, archive
from tallystick.ledger.postgres_distribute import distribute
from tallystick.ledger.postgres_distribution import SHARDED_TABLES
from tallystick.ledger.postgres_shards import text_hash
from tallystick.ledger.postgres_statements import READS
from tallystick.ledger.postgres_store import PostgresStore
from tallystick.ledger.postgres_writing import INSERT_ACCOUNT
from tallystick.ledger.verify import verify
from tests.conftest import FrozenClock
from tests.ledger.citus_stand_in import stand_in
from tests.ledger.raw import fetch

ACCOUNTS = [f"customer-{n}" for n in range(120)]


async def test_an_ids_hash_is_the_one_that_postgresql_has_for_it(postgres_url: str) -> None:
    chance = random.Random(7)
    ids = ["".join(chance.choice("abcXYZ019-_:é€") for _ in range(length)) for length in range(50) for _ in range(20)]
    connection = await asyncpg.connect(postgres_url)
    rows = await connection.fetch("SELECT id, hashtext(id) FROM unnest($1::text[]) AS id", ids)
    await connection.close()
    assert len(rows) == len(ids)
    assert [row[1] for row in rows] == [text_hash(row[0]) for row in rows]


@dataclass
class Watch:
    """What a store says to the database: statements with their values, and which accounts each transaction names."""

    shard_of: dict[str, int]
    transactions: list[set[str]] = field(default_factory=list)
    said: dict[str, Any] = field(default_factory=dict)

    def on(self, store: PostgresStore, patch: pytest.MonkeyPatch) -> None:
        acquire = store.connections.acquire

        @asynccontextmanager
        async def watched() -> AsyncIterator[Any]:
            # One transaction at most is on a connection between getting it and giving it back.
            named: set[str] = set()
            self.transactions.append(named)

            def note(said: Any) -> None:
                self.said[said.query] = said.args
                named.update(self.accounts(said.args))

            async with acquire() as connection:
                connection.add_query_logger(note)
                try:
                    yield connection
                finally:
                    connection.remove_query_logger(note)

        patch.setattr(store.connections, "acquire", watched)

    def accounts(self, value: Any) -> Iterator[str]:
        if isinstance(value, str):
            if value in self.shard_of:
                yield value
        elif isinstance(value, list | tuple):
            for part in value:
                yield from self.accounts(part)

    def shards(self) -> list[set[int]]:
        return [{self.shard_of[id] for id in named} for named in self.transactions if named]


@pytest.fixture
async def ledger(postgres_url: str, catalogue: Catalogue, clock: FrozenClock) -> AsyncIterator[Ledger]:
    await stand_in(postgres_url)
    await distribute(postgres_url, lambda _step: None)
    ledger = await Ledger.open(postgres_url, catalogue, clock)
    yield ledger
    await ledger.close()


@pytest.fixture
async def watch(ledger: Ledger, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Shards as the database itself finds them, by its own hash."""
    ids = ", ".join(f"'{id}'" for id in ACCOUNTS)
    rows = await fetch(
        postgres_url,
        f"SELECT id, shardid FROM unnest(array[{ids}]) AS id JOIN pg_dist_shard ON logicalrelid = 'accounts'::regclass "
        "AND hashtext(id) BETWEEN shardminvalue::integer AND shardmaxvalue::integer",
    )
    watch = Watch({str(id): int(str(shard)) for id, shard in rows})
    assert len(watch.shard_of) == len(ACCOUNTS)
    assert isinstance(ledger.store, PostgresStore)
    watch.on(ledger.store, monkeypatch)
    return watch


async def all_of(ledger: Ledger, commands: list[KeyedCommand]) -> list[Receipt]:
    answers = await asyncio.gather(*map(ledger.submit, commands), return_exceptions=True)
    assert {type(answer) for answer in answers} <= {Receipt, InsufficientCredits}
    return [answer for answer in answers if isinstance(answer, Receipt)]


async def test_s9_every_transaction_is_on_one_shard(
    ledger: Ledger, watch: Watch, clock: FrozenClock, tmp_path: Path
) -> None:
    assert isinstance(ledger.store, PostgresStore)
    assert ledger.store.lanes == 32
    # Citus cannot plan before it sees the values.
    async with ledger.store.connections.acquire() as connection:
        assert await connection.fetchval("SHOW plan_cache_mode") == "auto"
    await all_of(ledger, [OpenAccount(account_id=id, plan="free") for id in ACCOUNTS])
    await all_of(ledger, [GrantBonus(account_id=id, key="g", credits=50) for id in ACCOUNTS])
    spends: list[KeyedCommand] = [
        Spend(account_id=id, key=f"s{n}", amount=amount) for n, amount in enumerate((1, 2, 90)) for id in ACCOUNTS
    ]
    spent = await all_of(ledger, spends)
    assert len(spent) == 2 * len(ACCOUNTS)
    assert all(again.replayed for again in await all_of(ledger, spends))
    held = await all_of(ledger, [PlaceHold(account_id=id, key="h", amount=5) for id in ACCOUNTS])
    seqs = {receipt.entry.account_id: receipt.entry.seq for receipt in held}
    await all_of(ledger, [ExtendHold(account_id=id, key="e", hold=seqs[id], amount=1) for id in ACCOUNTS])
    some, others = ACCOUNTS[:60], ACCOUNTS[60:]
    await all_of(ledger, [Capture(account_id=id, key="c", hold=seqs[id], amount=3) for id in some])
    await all_of(ledger, [Release(account_id=id, key="r", hold=seqs[id]) for id in others])
    await all_of(ledger, [Reverse(account_id=r.entry.account_id, key="b", entry=r.entry.seq) for r in spent[:60]])
    many: list[KeyedCommand] = [
        Spend(account_id=id, key=f"m{n}", amount=1) for id in ACCOUNTS[:2] for n in range(LEAST)
    ]
    await all_of(ledger, many)
    clock.advance(days=100)
    done = await archive(ledger.store, clock() - timedelta(days=91), tmp_path, clock(), apply=True)
    assert (done.accounts, done.differences) == (2, [])
    assert all(again.replayed for again in await all_of(ledger, many))
    assert all(again.replayed for again in await all_of(ledger, spends))
    assert (await ledger.entry_by_key(ACCOUNTS[0], "s0")) is not None

    touched = watch.shards()
    assert all(len(shards) == 1 for shards in touched)
    # And it could have been otherwise: there are many shards, and batches of several accounts.
    assert len(set.union(*touched)) > 20
    assert max(len(named) for named in watch.transactions) > 3
    assert (await verify(ledger)).differences == []


async def test_every_statement_says_for_every_table_that_it_means_one_account(
    ledger: Ledger, watch: Watch, postgres_url: str, clock: FrozenClock, tmp_path: Path
) -> None:
    """Citus sends a statement to one shard when the planner's restrictions of each of its tables lead to that one.

    PostgreSQL leaves out partitions by the same restrictions, so it is asked what it would do with the statements if
    the tables were partitioned by account.
    """
    assert isinstance(ledger.store, PostgresStore)
    only = ACCOUNTS[0]
    await ledger.submit(OpenAccount(account_id=only, plan="free"))
    for key in range(LEAST + 2):
        await ledger.submit(Spend(account_id=only, key=f"s{key}", amount=1))
    spent = await ledger.submit(Spend(account_id=only, key="s", amount=1))
    await ledger.submit(Reverse(account_id=only, key="r", entry=spent.entry.seq))
    clock.advance(days=100)
    assert (await archive(ledger.store, clock() - timedelta(days=91), tmp_path, clock(), apply=True)).entries
    assert (await ledger.submit(Spend(account_id=only, key="s0", amount=1))).replayed
    assert (await verify(ledger, only)).differences == []
    assert (await verify(ledger, only, only_new=True)).differences == []

    connection = await asyncpg.connect(postgres_url, statement_cache_size=0)
    await connection.execute("CREATE SCHEMA parted")
    for table, column in SHARDED_TABLES.items():
        await connection.execute(
            f"CREATE TABLE parted.{table} (LIKE public.{table} INCLUDING INDEXES) PARTITION BY HASH ({column})"
        )
        for n in range(4):
            await connection.execute(
                f"CREATE TABLE parted.{table}_{n} PARTITION OF parted.{table} "
                f"FOR VALUES WITH (MODULUS 4, REMAINDER {n})"
            )
    await connection.execute("SET search_path = parted, public")

    async def parts(statement: str, values: Any) -> list[str]:
        plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {statement}", *values))
        return sorted(set(re.findall(r"\bon (\w+_\d)\b", plan)))

    tables_seen = set()
    for statement, values in watch.said.items():
        # A walk over all accounts is of all shards, and one row that is put in names its account itself.
        walks = "UNION" in statement or "due_at <=" in statement
        if walks or statement == INSERT_ACCOUNT or not set(watch.accounts(values)):
            continue
        touched = [name.rsplit("_", 1) for name in await parts(statement, values)]
        assert len(touched) == len({table for table, _ in touched}), statement
        assert len({part for _, part in touched}) <= 1, statement
        tables_seen |= {table for table, _ in touched}
    assert tables_seen == set(SHARDED_TABLES)
    # It would be seen: the statements of one PostgreSQL do not say it.
    wanted = ([only, only], [1, 2])
    assert len(await parts(READS.find_entries, wanted)) == 4
    assert len(await parts(ledger.store._writing.reads.find_entries, wanted)) == 1
    await connection.close()
