"""The ledger on both databases: keys, concurrency, restarts, and what verify finds."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from tallystick.domain.catalogue import Catalogue, Plan
from tallystick.domain.commands import ClawBack, Command, GrantBonus, OpenAccount, SetPlan, Settle, Spend
from tallystick.domain.errors import (
    IdempotencyConflict,
    InsufficientCredits,
    LedgerUnavailable,
    Overloaded,
    UnknownAccount,
)
from tallystick.domain.replay import LedgerMismatch
from tallystick.ledger import Ledger, Receipt
from tallystick.ledger import batch as batches
from tallystick.ledger import ledger as ledgers
from tallystick.ledger.batch import Outcome, Settled
from tallystick.ledger.lanes import Lanes
from tallystick.ledger.verify import Verification, verify
from tests.conftest import FrozenClock
from tests.ledger.raw import execute, fetch, tampered


async def opened(ledger: Ledger, account_id: str = "acme", bonus: int = 0) -> None:
    await ledger.submit(OpenAccount(account_id=account_id, plan="free"))
    if bonus:
        await ledger.submit(GrantBonus(account_id=account_id, key="start", credits=bonus))


def spend(key: str, amount: int = 1, account_id: str = "acme") -> Spend:
    return Spend(account_id=account_id, key=key, amount=amount)


async def assert_proven(ledger: Ledger) -> None:
    assert (await verify(ledger)).differences == []


async def test_s9_200_parallel_spends_of_1_from_100_succeed_exactly_100_times(ledger: Ledger) -> None:
    await opened(ledger, bonus=75)
    outcomes = await asyncio.gather(*(ledger.submit(spend(f"k{n}")) for n in range(200)), return_exceptions=True)
    assert sum(isinstance(outcome, Receipt) for outcome in outcomes) == 100
    assert sum(isinstance(outcome, InsufficientCredits) for outcome in outcomes) == 100
    account = await ledger.account("acme")
    assert account.available == 0
    assert account.seq == 102
    await assert_proven(ledger)


async def test_s7_the_same_key_50_times_in_parallel_is_one_entry_and_49_replays(ledger: Ledger) -> None:
    await opened(ledger)
    receipts = await asyncio.gather(*(ledger.submit(spend("once", 3)) for _ in range(50)))
    assert sum(not receipt.replayed for receipt in receipts) == 1
    assert len({receipt.entry for receipt in receipts}) == 1
    assert (await ledger.account("acme")).available == 22


async def test_any_text_a_command_may_carry_comes_back_as_it_was(ledger: Ledger) -> None:
    texts = ["".join(map(chr, range(1, 32))), "\x1e", "\x1f", "", "NULL", '"\\{,}', "Grüße, 世界 🎟"]
    await opened(ledger, bonus=100)
    await asyncio.gather(
        *(
            ledger.submit(Spend(account_id="acme", key=f'"{n},\\{{}}', amount=1, operation=text))
            for n, text in enumerate(texts)
        )
    )
    found = await asyncio.gather(*(ledger.entry_by_key("acme", f'"{n},\\{{}}') for n in range(len(texts))))
    assert [None if entry is None else entry.reason for entry in found] == texts
    await assert_proven(ledger)


async def test_s8_a_command_at_which_the_rules_fail_does_not_spoil_its_batch(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should there be a fault in the rules, it is the problem of those who run into it alone."""
    honest = batches.decide

    def faulty(account: Any, command: Any, *others: Any) -> Any:
        if getattr(command, "amount", 0) == 13:
            raise ZeroDivisionError("a fault of ours")
        return honest(account, command, *others)

    monkeypatch.setattr(batches, "decide", faulty)
    await opened(ledger)
    answers = await asyncio.gather(
        *(ledger.submit(spend(f"k{amount}", amount)) for amount in (1, 13, 2)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [Receipt, ZeroDivisionError, Receipt]
    assert (await ledger.account("acme")).available == 22
    await assert_proven(ledger)


async def test_s7_the_same_key_for_another_request_is_a_conflict_and_changes_nothing(ledger: Ledger) -> None:
    await opened(ledger)
    await ledger.submit(spend("k", 3))
    for other in (spend("k", 4), GrantBonus(account_id="acme", key="k", credits=3)):
        with pytest.raises(IdempotencyConflict):
            await ledger.submit(other)
    assert (await ledger.account("acme")).available == 22


async def test_s7_keys_are_unique_within_an_account_not_across_accounts(ledger: Ledger) -> None:
    await opened(ledger, "a")
    await opened(ledger, "b")
    assert not (await ledger.submit(spend("k", account_id="a"))).replayed
    assert not (await ledger.submit(spend("k", account_id="b"))).replayed


async def test_s7_a_replay_survives_a_restart(
    ledger: Ledger, database_url: str, catalogue: Catalogue, clock: FrozenClock
) -> None:
    await opened(ledger)
    first = await ledger.submit(spend("k", 3))
    clock.advance(days=100)
    again = await Ledger.open(database_url, catalogue, clock)
    replay = await again.submit(spend("k", 3))
    assert replay == Receipt(first.entry, replayed=True)
    await again.close()


async def test_s8_a_refused_command_leaves_no_trace_and_does_not_use_up_its_key(ledger: Ledger) -> None:
    await opened(ledger)
    with pytest.raises(InsufficientCredits):
        await ledger.submit(spend("k", 26))
    with pytest.raises(UnknownAccount):
        await ledger.submit(spend("k", account_id="ghost"))
    assert (await ledger.account("acme")).seq == 1
    await ledger.submit(GrantBonus(account_id="acme", key="g", credits=1))
    assert not (await ledger.submit(spend("k", 26))).replayed


async def test_s5_s6_the_row_says_what_the_entries_say(ledger: Ledger, database_url: str, clock: FrozenClock) -> None:
    await opened(ledger, bonus=200)
    await ledger.submit(spend("a", 30))
    await ledger.submit(SetPlan(account_id="acme", key="p", plan="plus"))
    clock.advance(days=40)
    await ledger.submit(spend("b", 5))
    row = await fetch(database_url, "SELECT allowance_remaining, bonus_credits, seq FROM accounts")
    assert row == [(0, 190, 5)]
    entries = await ledger.entries("acme")
    assert [entry.seq for entry in entries] == [5, 4, 3, 2, 1]
    assert [entry.seq for entry in await ledger.entries("acme", before=3, limit=1)] == [2]
    assert (await ledger.entry_by_key("acme", "b")) == entries[0]
    assert await ledger.entry_by_key("acme", "unused") is None
    await assert_proven(ledger)


async def test_s14_balances_are_right_without_any_job_and_a_sweep_only_writes_it_down(
    ledger: Ledger, clock: FrozenClock
) -> None:
    for n in range(5):
        await opened(ledger, f"acc{n}")
        await ledger.submit(spend("k", 5, f"acc{n}"))
    clock.advance(days=30)
    assert (await ledger.account("acc0")).monthly == 25
    assert (await ledger.account("acc0")).seq == 4
    assert (await ledger.entries("acc0"))[0].seq == 2
    assert await ledger.sweep() == 5
    assert (await ledger.entries("acc0"))[0].seq == 4
    assert await ledger.sweep() == 0
    await assert_proven(ledger)


async def test_s14_a_sweep_ends_although_a_grant_that_is_over_waits_for_the_end_of_a_dispute(
    ledger: Ledger, clock: FrozenClock
) -> None:
    await opened(ledger, "acme")
    granted = await ledger.submit(
        GrantBonus(account_id="acme", key="g", credits=50, expires_at=clock.now + timedelta(days=1))
    )
    await ledger.submit(
        ClawBack(account_id="acme", key="c", grant=granted.entry.seq, total=0, version=1, frozen=True)
    )
    clock.advance(days=2)
    async with asyncio.timeout(5):
        assert await ledger.sweep() == 0
    assert (await ledger.account("acme")).bonus == 50


async def test_s14_a_sweep_gets_past_accounts_for_which_there_is_nothing_to_write(
    database_url: str, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those whose plan has left the catalogue, with all of their allowance used."""
    monkeypatch.setattr(ledgers, "SWEEP_PAGE", 2)
    free = Plan("free", 25)
    before = await Ledger.open(database_url, Catalogue([free, Plan("gone", 5)]), clock)
    for n in range(7):
        await before.submit(OpenAccount(account_id=f"Stuck-{n}", plan="gone"))
        await before.submit(spend("all", 5, f"Stuck-{n}"))
        # Some become due at one instant, others later.
        clock.advance(days=n % 2)
    for name in ("a", "Stuck-2b", "z"):
        await opened(before, name)
    await before.close()
    clock.advance(days=70)
    ledger = await Ledger.open(database_url, Catalogue([free]), clock)
    async with asyncio.timeout(20):
        assert await ledger.sweep() == 3
        assert await ledger.sweep() == 0
    kinds = {name: (await ledger.entries(name))[0].kind for name in ("a", "Stuck-2b", "z", "Stuck-0", "Stuck-6")}
    assert kinds == {
        "a": "allowance_opened",
        "Stuck-2b": "allowance_opened",
        "z": "allowance_opened",
        "Stuck-0": "spent",
        "Stuck-6": "spent",
    }
    await assert_proven(ledger)
    await ledger.close()


@pytest.mark.parametrize("damage", ["state = 'no JSON'", "bonus_credits = 5"], ids=["unreadable", "not its entries'"])
async def test_s8_an_account_whose_row_is_damaged_fails_alone(
    ledger: Ledger, database_url: str, catalogue: Catalogue, clock: FrozenClock, damage: str
) -> None:
    ids = [f"acc-{n}" for n in range(12)]
    for id in ids:
        await opened(ledger, id)
    await execute(database_url, f"UPDATE accounts SET {damage} WHERE id = 'acc-5'")
    # It remembers none of them, so that they are read together.
    fresh = await Ledger.open(database_url, catalogue, clock)
    answers = await asyncio.gather(
        *(fresh.submit(spend(f"k{n}", account_id=id)) for id in ids for n in range(2)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == 10 * [Receipt] + 2 * [LedgerMismatch] + 12 * [Receipt]
    assert [(await fresh.account(id)).available for id in ids if id != "acc-5"] == 11 * [23]
    await fresh.close()


async def test_s14_a_sweep_tells_of_an_account_that_fails_when_all_others_have_had_their_turn(
    ledger: Ledger, database_url: str, catalogue: Catalogue, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "SWEEP_PAGE", 2)
    ids = [f"acc-{n}" for n in range(7)]
    for id in ids:
        await opened(ledger, id)
        clock.advance(minutes=1)
    await execute(database_url, "UPDATE accounts SET state = 'no JSON' WHERE id = 'acc-1'")
    clock.advance(days=40)
    fresh = await Ledger.open(database_url, catalogue, clock)
    with pytest.raises(LedgerMismatch, match="acc-1"):
        await fresh.sweep()
    kinds = {id: (await fresh.entries(id))[0].kind for id in ids if id != "acc-1"}
    assert kinds == dict.fromkeys(kinds, "allowance_opened")
    await fresh.close()


async def test_a_batch_shares_one_transaction_and_a_refusal_does_not_spoil_it(ledger: Ledger) -> None:
    await opened(ledger)
    commits = 0
    commit = ledger.store.commit

    async def counting(commands: object, *, wait: bool) -> object:
        nonlocal commits
        commits += 1
        return await commit(commands, wait=wait)

    lane = Lanes(counting)
    outcomes = await asyncio.gather(
        *(lane.submit(spend(f"k{n}", 30 if n == 3 else 1)) for n in range(10)), return_exceptions=True
    )
    assert [isinstance(outcome, InsufficientCredits) for outcome in outcomes] == [n == 3 for n in range(10)]
    assert commits == 1


async def test_who_is_answered_and_asks_again_at_once_is_in_the_next_batch() -> None:
    sizes = []

    async def commit(commands: Sequence[Command], *, wait: bool) -> list[Outcome]:
        sizes.append(len(commands))
        await asyncio.sleep(0.01)
        return [Settled(0) for _ in commands]

    lane = Lanes(commit)

    async def caller() -> None:
        for _ in range(3):
            await lane.submit(Settle(account_id="alice"))

    first = [asyncio.create_task(caller()) for _ in range(3)]
    await asyncio.sleep(0.005)
    # These wait while the first three are written.
    later = [asyncio.create_task(caller()) for _ in range(4)]
    await asyncio.gather(*first, *later)
    assert sizes == [3, 7, 7, 4]


async def test_a_caller_that_went_away_does_not_spoil_the_batch(ledger: Ledger) -> None:
    await opened(ledger)
    first = asyncio.create_task(ledger.submit(spend("first")))
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(ledger.submit(spend(f"k{n}"))) for n in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    outcomes = await asyncio.gather(first, *waiting, return_exceptions=True)
    assert isinstance(outcomes[2], asyncio.CancelledError)
    assert [type(outcome) for outcome in (outcomes[0], outcomes[1], outcomes[3])] == [Receipt] * 3
    await assert_proven(ledger)


async def test_s8_each_of_many_commands_has_an_outcome_of_its_own_in_their_order(ledger: Ledger) -> None:
    await opened(ledger)
    await ledger.submit(spend("used", 2))
    commands = [spend("a", 20), spend("too-much", 4), spend("used", 3), spend("used", 2), spend("b", 3, "nobody")]
    outcomes = await ledger.submit_all([*commands, spend("c", 3)])
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [Receipt, InsufficientCredits, IdempotencyConflict, Receipt, UnknownAccount, Receipt]
    assert [o.replayed for o in outcomes if isinstance(o, Receipt)] == [False, True, False]
    assert (await ledger.account("acme")).available == 0


async def test_a_caller_of_many_commands_who_goes_away_takes_those_that_have_not_begun(ledger: Ledger) -> None:
    await opened(ledger)
    first = asyncio.create_task(ledger.submit(spend("first")))
    await asyncio.sleep(0)
    many = asyncio.create_task(ledger.submit_all([spend(f"k{n}") for n in range(5)]))
    await asyncio.sleep(0)
    many.cancel()
    assert isinstance((await asyncio.gather(first, many, return_exceptions=True))[1], asyncio.CancelledError)
    await ledger.submit(spend("last"))
    assert [entry.key for entry in await ledger.entries("acme", kind="spent")] == ["last", "first"]
    await assert_proven(ledger)


async def test_a_failed_commit_fails_exactly_its_own_batch() -> None:
    fail = [True, False]

    async def commit(commands: list[Spend], *, wait: bool) -> list[LedgerUnavailable]:
        if fail.pop(0):
            raise LedgerUnavailable("gone")
        return [InsufficientCredits(required=1, available=0, can_buy=False, resets_at=None, ways=[])] * len(commands)

    lane = Lanes(commit, max_batch=2)
    outcomes = await asyncio.gather(*(lane.submit(spend(f"k{n}")) for n in range(4)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LedgerUnavailable] * 2 + [InsufficientCredits] * 2


async def test_a_full_queue_refuses_with_overloaded_instead_of_growing() -> None:
    release = asyncio.Event()

    async def commit(commands: list[Spend], *, wait: bool) -> list[LedgerUnavailable]:
        await release.wait()
        return [LedgerUnavailable("released")] * len(commands)

    lane = Lanes(commit, max_batch=1, max_waiting=2)
    waiting = [lane.submit(spend(f"k{n}")) for n in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        for n in range(2, 6):
            waiting.append(lane.submit(spend(f"k{n}")))
            await asyncio.sleep(0)
            if waiting[-1].done():
                waiting.pop().result()
    release.set()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_verify_names_what_somebody_changed_behind_the_ledgers_back(ledger: Ledger, database_url: str) -> None:
    await opened(ledger, bonus=200)
    await opened(ledger, "other")
    await execute(database_url, "UPDATE accounts SET bonus_credits = 500 WHERE id = 'acme'")
    result = await verify(ledger)
    assert result.accounts == 2
    assert result.differences == ["Account acme: bonus is 500, its entries say 200."]
    await execute(database_url, "DELETE FROM accounts WHERE id = 'other'")
    assert "Account other has no row in accounts." in (await verify(ledger)).differences


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("UPDATE entries SET detail = '[]'", "Account acme, entry 2: it cannot be read"),
        ("UPDATE entries SET detail = '{\"lots\":[[1]]}'", "Account acme, entry 2: it cannot be read"),
        (
            'UPDATE entries SET detail = \'{"grant":[1,"no kind",1,1,1,1]}\'',
            "Account acme, entry 2: it cannot be read",
        ),
        (
            'UPDATE entries SET detail = \'{"grant":[2,"bought","200",50,1769851800000000,null]}\'',
            "Account acme, entry 2: it cannot be replayed",
        ),
        ("UPDATE entries SET kind = 'nothing'", "Account acme, entry 2: it cannot be read"),
        ("UPDATE accounts SET state = 'no JSON'", "Account acme: its row cannot be read"),
        ("UPDATE accounts SET state = state || ' {}'", "Account acme: its row cannot be read"),
        ("UPDATE accounts SET state = '{}'", "Account acme: its row cannot be read"),
        ("UPDATE proofs SET account = 'no JSON'", "Account acme: its last proof cannot be read"),
    ],
)
async def test_verify_tells_what_cannot_be_read_of_its_account_and_proves_the_others(
    ledger: Ledger, database_url: str, statement: str, complaint: str
) -> None:
    await opened(ledger, bonus=200)
    await opened(ledger, "other")
    await verify(ledger)
    of_acme = {
        "entries": "account_id = 'acme' AND seq = 2",
        "accounts": "id = 'acme'",
        "proofs": "account_id = 'acme'",
    }
    table = statement.split()[1]
    await tampered(database_url, f"{statement} WHERE {of_acme[table]}")
    result = await verify(ledger, only_new=table == "proofs")
    assert [difference.partition(" (")[0] for difference in result.differences] == [complaint]
    assert result.accounts == 2
    assert (await verify(ledger, "other")).differences == []


async def test_verify_tells_a_detail_that_is_no_json(
    sqlite_url: str, catalogue: Catalogue, clock: FrozenClock
) -> None:
    """On PostgreSQL the column takes nothing else."""
    ledger = await Ledger.open(sqlite_url, catalogue, clock)
    await opened(ledger, bonus=200)
    for change in ("detail = '{'", "effective_at = 'yesterday'"):
        await tampered(sqlite_url, f"UPDATE entries SET {change} WHERE seq = 2")
        (difference,) = (await verify(ledger)).differences
        assert difference.startswith("Account acme, entry 2: it cannot be read (")
    await ledger.close()


async def test_verify_goes_on_from_the_last_proof_when_only_what_is_new_is_asked_for(
    ledger: Ledger, database_url: str
) -> None:
    await opened(ledger, bonus=200)
    assert (await verify(ledger, only_new=True)).entries == 2
    assert (await verify(ledger, only_new=True)).entries == 0
    await ledger.submit(Spend(account_id="acme", key="s1", amount=30))
    await ledger.submit(Spend(account_id="acme", key="s2", amount=30))
    assert (await verify(ledger, only_new=True)) == Verification(accounts=1, entries=2, differences=[])
    await ledger.submit(Spend(account_id="acme", key="s3", amount=1))
    await execute(database_url, "UPDATE accounts SET bonus_credits = 500 WHERE id = 'acme'")
    # What is off stays off, however often it is asked for.
    for _ in range(2):
        found = await verify(ledger, only_new=True)
        assert (found.entries, found.differences) == (1, ["Account acme: bonus is 500, its entries say 164."])
    assert (await verify(ledger)).entries == 5
