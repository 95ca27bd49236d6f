"""Remembered states, holds and reversals on real databases: what one ledger writes, another one sees."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import (
    Capture,
    ClawBack,
    GrantBonus,
    OpenAccount,
    PlaceHold,
    Release,
    Reverse,
    Settle,
    Spend,
)
from tallystick.domain.errors import (
    AlreadyReversed,
    HoldNotOpen,
    IdempotencyConflict,
    InsufficientCredits,
    LedgerUnavailable,
)
from tallystick.ledger import Ledger
from tallystick.ledger.memory import Memory
from tallystick.ledger.postgres_store import PostgresStore
from tallystick.ledger.verify import verify
from tests.conftest import FrozenClock
from tests.ledger.silence import unheard


@pytest.fixture
async def other(database_url: str, catalogue: Catalogue, clock: FrozenClock) -> AsyncIterator[Ledger]:
    """A second ledger on the same database, as another process would have it."""
    ledger = await Ledger.open(database_url, catalogue, clock)
    yield ledger
    await ledger.close()


@pytest.fixture(autouse=True)
async def opened(ledger: Ledger) -> None:
    await ledger.submit(OpenAccount(account_id="a", plan="free"))


def spend(key: str, amount: int = 1) -> Spend:
    return Spend(account_id="a", key=key, amount=amount)


async def test_s9_two_ledgers_that_remember_the_same_account_take_turns(ledger: Ledger, other: Ledger) -> None:
    for n in range(5):
        assert (await ledger.submit(spend(f"one-{n}"))).entry.available == 24 - 2 * n
        assert (await other.submit(spend(f"two-{n}"))).entry.available == 23 - 2 * n
    assert (await verify(ledger)).differences == []


async def test_s9_two_ledgers_at_once_spend_exactly_what_is_there(ledger: Ledger, other: Ledger) -> None:
    await asyncio.gather(ledger.submit(spend("warm-1")), other.submit(spend("warm-2")))
    spends = [(ledger, other)[n % 2].submit(spend(f"k{n}")) for n in range(60)]
    answers = await asyncio.gather(*spends, return_exceptions=True)
    refused = [a for a in answers if isinstance(a, InsufficientCredits)]
    assert (len(answers) - len(refused), len(refused)) == (23, 37)
    assert (await verify(ledger)).differences == []


async def test_s9_ledgers_that_read_the_same_accounts_at_once_take_turns(
    ledger: Ledger, database_url: str, catalogue: Catalogue, clock: FrozenClock
) -> None:
    ids = [f"cold-{n}" for n in range(40)]
    await asyncio.gather(*(ledger.submit(OpenAccount(account_id=id, plan="free")) for id in ids))
    # None of them has seen an account before.
    fresh = [await Ledger.open(database_url, catalogue, clock) for _ in range(3)]
    spends = [
        process.submit(Spend(account_id=id, key=f"k{n}", amount=n + 1))
        for id in ids
        for n, process in enumerate(fresh)
    ]
    await asyncio.gather(*spends)
    for process in fresh:
        await process.close()
    assert {(await ledger.account(id)).available for id in ids} == {25 - (1 + 2 + 3)}
    assert (await verify(ledger)).differences == []


async def test_s9_processes_that_keep_meeting_in_accounts_have_one_batch_under_way_each_until_they_do_not(
    ledger: Ledger, other: Ledger
) -> None:
    # With SQLite it is one batch at a time in any case, and on shards every batch is of one lane.
    crowded = isinstance(ledger.store, PostgresStore) and ledger.store.shards is None
    for n in range(16):
        await ledger.submit(GrantBonus(account_id="a", key=f"one-{n}", credits=1))
        await other.submit(GrantBonus(account_id="a", key=f"two-{n}", credits=1))
    assert (ledger.store.crowded, other.store.crowded) == (crowded, crowded)
    # One look finds what the other one has changed last, the next one nothing, and memory is used again.
    for n in range(8):
        await ledger.submit(GrantBonus(account_id="a", key=f"alone-{n}", credits=1))
    assert not ledger.store.crowded
    assert (await ledger.account("a")).bonus == 40
    assert (await verify(ledger)).differences == []


@pytest.mark.parametrize("amount", [3, 4])
async def test_s7_a_key_is_found_of_an_account_that_is_not_remembered(
    ledger: Ledger, other: Ledger, amount: int
) -> None:
    first = await ledger.submit(spend("k", 3))
    if amount == 3:
        again = await other.submit(spend("k", amount))
        assert (again.entry, again.replayed) == (first.entry, True)
    else:
        with pytest.raises(IdempotencyConflict):
            await other.submit(spend("k", amount))


async def test_s7_a_replay_of_the_last_credits_is_answered_and_not_refused(ledger: Ledger) -> None:
    first = await ledger.submit(spend("all", 25))
    again = await ledger.submit(spend("all", 25))
    assert (again.entry, again.replayed) == (first.entry, True)
    with pytest.raises(IdempotencyConflict):
        await ledger.submit(spend("all", 24))


async def test_s7_a_key_that_another_ledger_used_is_found(ledger: Ledger, other: Ledger) -> None:
    await ledger.submit(spend("warm"))
    first = await other.submit(spend("k", 3))
    again = await ledger.submit(spend("k", 3))
    assert (again.entry, again.replayed) == (first.entry, True)


async def test_s9_a_refusal_is_judged_on_what_another_ledger_has_granted(ledger: Ledger, other: Ledger) -> None:
    await ledger.submit(spend("all", 25))
    await other.submit(GrantBonus(account_id="a", key="g", credits=10))
    assert (await ledger.submit(spend("more", 10))).entry.available == 0


async def test_s12_a_hold_outlives_the_process_that_placed_it(ledger: Ledger, other: Ledger) -> None:
    held = await ledger.submit(PlaceHold(account_id="a", key="h", amount=20, operation="generate"))
    captured = await other.submit(Capture(account_id="a", key="c", hold=held.entry.seq, amount=7))
    assert (captured.entry.available, captured.entry.held, captured.entry.reason) == (18, 0, "generate")
    with pytest.raises(HoldNotOpen):
        await ledger.submit(Release(account_id="a", key="r", hold=held.entry.seq))


async def test_s12_the_sweep_writes_down_a_hold_that_ran_out(ledger: Ledger, clock: FrozenClock) -> None:
    await ledger.submit(PlaceHold(account_id="a", key="h", amount=20))
    clock.advance(minutes=15)
    assert (await ledger.account("a")).available == 25
    assert await ledger.sweep() == 1
    assert [e.kind for e in await ledger.entries("a")] == ["released", "held", "account_opened"]
    assert await ledger.sweep() == 0


async def test_s13_concurrent_reversals_return_the_credits_once(ledger: Ledger, other: Ledger) -> None:
    spent = await ledger.submit(spend("s", 10))
    reversals = [Reverse(account_id="a", key=f"r{n}", entry=spent.entry.seq) for n in range(20)]
    answers = await asyncio.gather(
        *((ledger, other)[n % 2].submit(r) for n, r in enumerate(reversals)), return_exceptions=True
    )
    assert sum(isinstance(a, AlreadyReversed) for a in answers) == 19
    assert (await ledger.account("a")).available == 25
    assert (await verify(ledger)).differences == []


async def test_s24_debt_survives_a_restart(ledger: Ledger, other: Ledger) -> None:
    granted = await ledger.submit(GrantBonus(account_id="a", key="g", credits=10))
    await ledger.submit(spend("s", 30))
    await ledger.submit(ClawBack(account_id="a", key="c", grant=granted.entry.seq, total=10, version=1))
    assert (await other.account("a")).debt == 5
    await other.submit(GrantBonus(account_id="a", key="g2", credits=8))
    account = await ledger.account("a")
    assert (account.bonus, account.debt) == (3, 0)
    assert (await verify(ledger)).differences == []


async def test_s25_what_is_frozen_survives_a_restart(ledger: Ledger, other: Ledger) -> None:
    granted = await ledger.submit(GrantBonus(account_id="a", key="g", credits=10))
    grant = granted.entry.seq
    await ledger.submit(ClawBack(account_id="a", key="f", grant=grant, total=4, version=1, frozen=True))
    account = await other.account("a")
    assert (account.bonus, account.frozen, account.available) == (6, 6, 25)
    await other.submit(ClawBack(account_id="a", key="t", grant=grant, total=0, version=2))
    assert (await ledger.account("a")).available == 35
    assert (await verify(ledger)).differences == []


async def test_the_memory_is_bounded_and_drops_what_was_written_longest_ago(ledger: Ledger) -> None:
    account = await ledger.account("a")
    memory = Memory(limit=2)
    for id in ("x", "y", "x", "z"):
        memory.remember([type(account)(**{**{f: getattr(account, f) for f in account.__slots__}, "id": id})])

    def knows(id: str) -> bool:
        command = Spend(account_id=id, key="k", amount=1)
        return memory.decide([command], ledger._clock(), ledger._catalogue) is not None

    assert [id for id in ("x", "y", "z") if knows(id)] == ["x", "z"]
    assert memory.decide([Settle(account_id="x")], ledger._clock(), ledger._catalogue) is None


async def test_what_is_not_remembered_is_read_first_unless_that_would_not_be_enough(ledger: Ledger) -> None:
    memory = Memory()
    memory.remember([await ledger.account("a")])
    assert memory.unknown([spend("k")]) == []
    apart = [Spend(account_id=id, key="k", amount=1) for id in ("c", "a", "b", "c")]
    assert memory.unknown(apart) == ["b", "c"]
    assert memory.unknown([*apart, Settle(account_id="d")]) == []
    memory.outdated()
    assert memory.unknown(apart) == []


async def test_memory_rests_until_remembered_accounts_are_found_as_they_are(ledger: Ledger) -> None:
    memory = Memory()
    before = await ledger.account("a")
    memory.remember([before])
    await ledger.submit(spend("k"))
    changed = await ledger.account("a")
    await ledger.submit(OpenAccount(account_id="b", plan="free"))
    stranger = await ledger.account("b")

    def used() -> bool:
        return memory.decide([spend("k2")], ledger._clock(), ledger._catalogue) is not None

    for _ in range(3):
        memory.outdated()
    for read in ([], [stranger], [changed], [changed, stranger]):
        memory.compared(read)
        assert not used()
    assert memory.crowded
    memory.compared([stranger, before])
    assert used()
    memory.compared([before])
    assert not memory.crowded


async def test_s7_replays_do_not_keep_memory_from_being_used(ledger: Ledger) -> None:
    await ledger.submit(spend("k"))
    for _ in range(10):
        assert (await ledger.submit(spend("k"))).replayed
    assert not ledger.store.crowded


@pytest.mark.parametrize("next_key", ["lost", "another"])
async def test_s7_what_was_written_and_not_heard_of_counts_once_whatever_comes_next(
    ledger: Ledger, next_key: str
) -> None:
    await ledger.submit(spend("warm"))
    with unheard(ledger), pytest.raises(LedgerUnavailable):
        await ledger.submit(spend("lost", 3))
    # What is remembered is from before it.
    answer = await ledger.submit(spend(next_key, 3))
    assert answer.replayed == (next_key == "lost")
    again = await ledger.submit(spend("lost", 3))
    assert (again.replayed, again.entry.available) == (True, 25 - 1 - 3)
    assert (await ledger.account("a")).available == 25 - 1 - (3 if next_key == "lost" else 6)
    assert (await verify(ledger)).differences == []
