"""Accounts that another process is at work with: they are put off, and the others need not wait (S9)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import pytest

from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import Command, OpenAccount, Settle, Spend
from tallystick.domain.errors import LedgerUnavailable, UnknownAccount
from tallystick.ledger import Ledger, postgres_connections
from tallystick.ledger.batch import Receipt
from tallystick.ledger.lanes import Lanes
from tallystick.ledger.postgres_store import PostgresStore
from tallystick.ledger.verify import verify
from tests.conftest import FrozenClock
from tests.ledger.raw import execute

A, B, NEW, MISSING = "a", "n4", "m8", "b36"
"""Accounts of one shard of 32, so that a batch may be about all of them on a Citus cluster, too."""

LOOK = Settle(account_id=B)
"""What cannot be decided from memory alone: with this, a batch locks its accounts."""


@pytest.fixture
async def ledger(postgres_url: str, catalogue: Catalogue, clock: FrozenClock) -> AsyncIterator[Ledger]:
    ledger = await Ledger.open(postgres_url, catalogue, clock)
    for id in (A, B):
        await ledger.submit(OpenAccount(account_id=id, plan="free"))
    yield ledger
    await ledger.close()


@pytest.fixture
def store(ledger: Ledger) -> PostgresStore:
    assert isinstance(ledger.store, PostgresStore)
    return ledger.store


@asynccontextmanager
async def at_work(url: str, *account_ids: str) -> AsyncIterator[None]:
    """Another process has locked these accounts."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM accounts WHERE id = ANY($1::text[]) FOR UPDATE", account_ids)
            yield
    finally:
        await connection.close()


def spend(account_id: str, key: str, amount: int = 1) -> Spend:
    return Spend(account_id=account_id, key=key, amount=amount)


async def test_s9_commands_of_a_busy_account_are_left_out_whole_and_the_others_carried_out(
    ledger: Ledger, store: PostgresStore, postgres_url: str
) -> None:
    commands: list[Command] = [spend(A, "1"), spend(B, "1"), LOOK, spend(A, "2"), spend(B, "2", 999)]
    async with at_work(postgres_url, A):
        outcomes = await store.commit(commands, wait=False)
    assert [type(outcome).__name__ for outcome in outcomes] == [
        "NoneType",
        "Receipt",
        "Settled",
        "NoneType",
        "InsufficientCredits",
    ]
    assert [(await ledger.account(id)).available for id in (A, B)] == [25, 24]
    again = await store.commit([spend(A, "1"), LOOK, spend(A, "2")], wait=False)
    assert [type(outcome).__name__ for outcome in again] == ["Receipt", "Settled", "Receipt"]
    assert (await ledger.account(A)).available == 23
    assert (await verify(ledger)).differences == []


@pytest.mark.parametrize("wait", [True, False])
async def test_s9_a_batch_waits_when_it_has_to_or_when_all_of_its_accounts_are_busy(
    store: PostgresStore, postgres_url: str, wait: bool
) -> None:
    commands = [spend(A, "1"), Settle(account_id=A), *([spend(B, "1")] if wait else [])]
    async with at_work(postgres_url, A):
        batch = asyncio.create_task(store.commit(commands, wait=wait))
        _, pending = await asyncio.wait([batch], timeout=0.2)
        assert pending
    assert None not in await batch


async def test_s9_a_busy_account_that_is_not_remembered_is_told_from_one_that_does_not_exist(
    ledger: Ledger, postgres_url: str, catalogue: Catalogue, clock: FrozenClock
) -> None:
    fresh = await Ledger.open(postgres_url, catalogue, clock)
    commands = [spend(A, "1"), OpenAccount(account_id=NEW, plan="free"), spend(MISSING, "1"), LOOK]
    async with at_work(postgres_url, A):
        busy, opened, missing, _ = await fresh.store.commit(commands, wait=False)
    await fresh.close()
    assert busy is None
    assert isinstance(opened, Receipt)
    assert type(missing).__name__ == "UnknownAccount"
    assert [(await ledger.account(id)).available for id in (A, NEW)] == [25, 25]


async def test_s9_callers_of_a_busy_account_are_answered_in_order_and_those_of_others_before(
    ledger: Ledger, store: PostgresStore, postgres_url: str
) -> None:
    lane = Lanes(store.commit)
    async with at_work(postgres_url, A):
        waiting = [lane.submit(spend(A, f"k{n}", n + 1)) for n in range(3)]
        other = await asyncio.wait_for(asyncio.gather(lane.submit(spend(B, "k")), lane.submit(LOOK)), 5)
        assert isinstance(other[0], Receipt)
        waiting.append(lane.submit(spend(A, "k3", 4)))
        await asyncio.wait(waiting, timeout=0.2)
        assert not any(answer.done() for answer in waiting)
    receipts = await asyncio.gather(*waiting)
    assert [receipt.entry.amount for receipt in receipts if isinstance(receipt, Receipt)] == [-1, -2, -3, -4]
    numbers = [receipt.entry.seq for receipt in receipts if isinstance(receipt, Receipt)]
    assert numbers == sorted(numbers)
    await lane.close()
    assert (await verify(ledger)).differences == []


@pytest.mark.parametrize("from_memory", [True, False])
async def test_s7_what_may_have_been_written_already_is_not_put_off(
    ledger: Ledger, store: PostgresStore, postgres_url: str, monkeypatch: pytest.MonkeyPatch, from_memory: bool
) -> None:
    for id in (A, B):
        await ledger.submit(spend(id, "warm"))
    owner, name = (store._writing, "alone") if from_memory else (store, "_commit")
    write, locked = getattr(owner, name), AsyncExitStack()

    async def unheard(*batch: Any) -> None:
        """The connection is lost behind it, and somebody else takes the account."""
        await write(*batch)
        monkeypatch.undo()
        await locked.enter_async_context(at_work(postgres_url, A))
        raise ConnectionResetError

    monkeypatch.setattr(owner, name, unheard)
    # The other spend takes all there is, so that it is found as a replay at once.
    commands = [spend(A, "k", 3), spend(B, "k", 24), *([] if from_memory else [LOOK])]
    batch = asyncio.create_task(store.commit(commands, wait=False))
    await asyncio.wait([batch], timeout=0.3)
    assert not batch.done()
    await locked.aclose()
    outcomes = await batch
    assert [outcome.replayed for outcome in outcomes if isinstance(outcome, Receipt)] == [True, True]
    assert (await ledger.account(A)).available == 21


async def test_s9_memory_goes_on_resting_while_others_are_at_work(
    ledger: Ledger, store: PostgresStore, postgres_url: str
) -> None:
    store._memory.outdated()
    async with at_work(postgres_url, A):
        for n in range(10):
            outcomes = await store.commit([spend(B, f"k{n}"), spend(A, f"k{n}")], wait=False)
            assert isinstance(outcomes[0], Receipt)
            assert outcomes[1] is None
            assert store._memory.crowded
    for n in range(10):
        await store.commit([spend(B, f"l{n}"), spend(A, f"l{n}")], wait=False)
    assert not store._memory.crowded


async def test_s7_a_replay_in_a_batch_does_not_make_it_wait_for_busy_accounts(
    ledger: Ledger, store: PostgresStore, postgres_url: str
) -> None:
    await ledger.submit(spend(B, "k"))
    async with at_work(postgres_url, A):
        outcomes = await asyncio.wait_for(store.commit([spend(A, "k"), LOOK, spend(B, "k")], wait=False), 5)
    assert outcomes[0] is None
    assert isinstance(outcomes[2], Receipt)
    assert outcomes[2].replayed


async def test_an_account_that_is_stuck_holds_up_nobody_elses_once_that_is_known(
    ledger: Ledger, postgres_url: str, catalogue: Catalogue, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_connections, "PATIENCE_SECONDS", 0.5)
    impatient = await Ledger.open(postgres_url, catalogue, clock)
    lane = Lanes(impatient.store.commit)
    await asyncio.gather(*(lane.submit(spend(id, "warm")) for id in (A, B)))
    async with at_work(postgres_url, B):
        # The first batch is decided from memory, where nobody was met yet.
        stuck, first = [lane.submit(spend(id, "k")) for id in (B, A)]
        with pytest.raises(LedgerUnavailable):
            await stuck
        await asyncio.gather(first, return_exceptions=True)
        again = lane.submit(spend(B, "k"))
        for n in range(3):
            answer = await asyncio.wait_for(lane.submit(spend(A, f"k{n}")), 5)
            assert isinstance(answer, Receipt)
            assert not again.done()
    assert isinstance(await again, Receipt)
    await lane.close()
    await impatient.close()


async def test_s5_an_account_that_has_vanished_is_unknown_and_nothing_is_written_of_it(
    ledger: Ledger, store: PostgresStore, postgres_url: str
) -> None:
    for id in (A, B):
        await ledger.submit(spend(id, "warm"))
    # As when a backup is restored under a running process.
    await execute(postgres_url, f"DELETE FROM accounts WHERE id = '{A}'")
    gone, stays = await store.commit([spend(A, "k"), spend(B, "k")])
    assert isinstance(gone, UnknownAccount)
    assert isinstance(stays, Receipt)
    assert stays.entry.available == 23
    assert await ledger.entry_by_key(A, "k") is None
    assert store._memory.get(A) is None
    # Also when it is thought at first to be somebody else's.
    await execute(postgres_url, f"DELETE FROM accounts WHERE id = '{B}'")
    with pytest.raises(UnknownAccount):
        await ledger.submit(spend(B, "l"))
