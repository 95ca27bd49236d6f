"""What the ledger says to PostgreSQL: that it writes what was decided, and finds what it looks for."""

from datetime import timedelta
from itertools import chain, combinations, product

import pytest

from tallystick.clock import system_clock
from tallystick.domain.catalogue import Catalogue, Plan
from tallystick.domain.commands import GrantBonus, KeyedCommand, OpenAccount, PlaceHold, Spend
from tallystick.domain.decide import decide
from tallystick.domain.errors import Refusal
from tallystick.ledger import Ledger
from tallystick.ledger.codec import ACCOUNT_COLUMNS, ENTRY_COLUMNS, account_row, entry_row
from tallystick.ledger.postgres_statements import (
    ACCOUNT_TYPES,
    ENTRY_TYPES,
    FIND_ACCOUNTS,
    ONCE,
    READS,
    batch,
    columns,
    write_batch,
)
from tallystick.ledger.postgres_store import PostgresStore
from tallystick.ledger.verify import verify

CATALOGUE = Catalogue([Plan("free", 25)])
SUBSETS = [frozenset(chain(*some)) for n in range(len(ONCE) + 1) for some in combinations(ONCE, n)]


async def opened(url: str) -> tuple[Ledger, PostgresStore]:
    ledger = await Ledger.open(url, CATALOGUE, system_clock)
    for id in ("alice", "bob"):
        await ledger.submit(OpenAccount(account_id=id, plan="free"))
        await ledger.submit(GrantBonus(account_id=id, key="g", credits=100))
    assert isinstance(ledger.store, PostgresStore)
    return ledger, ledger.store


@pytest.mark.parametrize(("one_moment", "one_kind", "one_hold"), list(product((True, False), repeat=3)))
async def test_s5_a_batch_writes_what_was_decided_whether_its_rows_are_alike_or_not(
    postgres_url: str, one_moment: bool, one_kind: bool, one_hold: bool
) -> None:
    ledger, store = await opened(postgres_url)
    for id in ("alice", "bob") if one_hold else ("alice",):
        await ledger.submit(PlaceHold(account_id=id, key="h", amount=5, seconds=600, operation="drawing"))
    now = system_clock()
    other: KeyedCommand = GrantBonus(account_id="bob", key="k", credits=7, reason="a 'quote', ü")
    commands: list[tuple[KeyedCommand, timedelta]] = [
        (Spend(account_id="alice", key="k", amount=3), timedelta()),
        (
            Spend(account_id="bob", key="k", amount=4) if one_kind else other,
            timedelta() if one_moment else timedelta(seconds=1),
        ),
    ]
    accounts, entries = [], []
    for command, later in commands:
        decision = decide(await store.account(command.account_id), command, now + later, CATALOGUE)
        assert not isinstance(decision, Refusal)
        accounts.append(decision.account)
        entries.extend(decision.entries)
    statement, arguments = batch(
        [account_row(account, now) for account in accounts], [entry_row(entry) for entry in entries]
    )
    alike = (one_moment, one_kind, one_hold)
    assert statement == write_batch(
        frozenset(chain(*(names for names, same in zip(ONCE, alike, strict=True) if same)))
    )
    async with store.connections.acquire() as connection:
        await connection.execute(statement, *arguments)
    for account in accounts:
        assert await store.account(account.id) == account
        assert await ledger.entries(account.id, limit=1) == [e for e in entries if e.account_id == account.id]
    assert (await verify(ledger)).differences == []
    await ledger.close()


async def test_the_ledgers_statements_use_indexes_whatever_the_statistics_say(postgres_url: str) -> None:
    """A small table would rather be read whole: that plan is the trap, and stays slow when the table grows."""
    ledger, store = await opened(postgres_url)
    names, empty = (*ACCOUNT_COLUMNS, *ENTRY_COLUMNS), (*columns([], ACCOUNT_TYPES), *columns([], ENTRY_TYPES))
    async with store.connections.acquire() as connection:
        await connection.execute("ANALYZE accounts; ANALYZE entries")
        for statement, values in (
            (READS.lock_accounts, (["alice", "bob"], [1, -1])),
            (READS.lock_free_accounts, (["alice", "bob"], [1, -1])),
            (FIND_ACCOUNTS, (["alice", "bob"],)),
            (READS.find_keys, (["alice", "bob"], ["g", "g"])),
            (READS.find_archived, (["alice", "bob"], [1, 1])),
            (READS.find_entries, (["alice", "bob"], [1, 1])),
            (READS.find_reversals, (["alice", "bob"], [1, 1])),
            *(
                (
                    write_batch(once),
                    [*(None if name in once else value for name, value in zip(names, empty, strict=True)), 0],
                )
                for once in SUBSETS
            ),
        ):
            plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {statement}", *values))
            assert "Index" in plan
            assert "Seq Scan" not in plan
            assert "Hash Join" not in plan
    await ledger.close()
