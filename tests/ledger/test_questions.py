"""What is asked of a ledger is checked before its database sees it: both databases answer alike, in words of ours."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from tallystick.domain.account import LAST_ENTRY
from tallystick.domain.commands import GrantBonus, OpenAccount, Settle, Spend
from tallystick.domain.errors import InvalidInput, UnknownAccount, UnknownEntry
from tallystick.ledger import Ledger
from tallystick.ledger.verify import verify
from tests.conftest import FrozenClock

IMPOSSIBLE_IDS = ("", "a b", "\0", "\ud800", "a" * 256, None, 5)
NO_NUMBERS = (-1, 10**30, 10**5_000, 2.5, "1", True)


@pytest.fixture
async def asked(ledger: Ledger) -> Ledger:
    await ledger.submit(OpenAccount(account_id="a", plan="free"))
    await ledger.submit(Spend(account_id="a", key="k", amount=3))
    return ledger


async def test_how_many_entries_is_a_whole_number_from_0(asked: Ledger) -> None:
    limit: Any
    for limit in (*NO_NUMBERS, None):
        with pytest.raises(InvalidInput, match="limit must be a whole number from 0 to 9,223,372,036,854,775,807"):
            await asked.entries("a", limit=limit)
    assert [entry.seq for entry in await asked.entries("a", limit=LAST_ENTRY)] == [2, 1]
    assert await asked.entries("a", limit=0) == []


async def test_the_number_of_an_entry_is_a_whole_number_from_1(asked: Ledger) -> None:
    number: Any
    for number in (*NO_NUMBERS, 0):
        for ask in (
            asked.entries("a", before=number),
            asked.explain("a", number),
            asked.entries_up_to("a", number),
        ):
            with pytest.raises(InvalidInput, match="must be a whole number from 1 to 9,223,372,036,854,775,807"):
                await ask
    assert [entry.seq for entry in await asked.entries("a", before=LAST_ENTRY)] == [2, 1]
    with pytest.raises(UnknownEntry):
        await asked.explain("a", LAST_ENTRY)


def questions(ledger: Ledger, clock: FrozenClock) -> list[Callable[[Any], Awaitable[object]]]:
    return [
        ledger.account,
        ledger.entries,
        lambda id: ledger.entries(id, before=1),
        lambda id: ledger.entry_at(id, clock.now),
        lambda id: ledger.entry_at(id, clock.now - timedelta(days=1)),
        lambda id: ledger.explain(id, 1),
        lambda id: ledger.entries_up_to(id, 1),
    ]


@pytest.mark.parametrize("id", IMPOSSIBLE_IDS)
async def test_an_id_that_no_account_can_have_is_told_so(asked: Ledger, clock: FrozenClock, id: Any) -> None:
    asks = [
        *questions(asked, clock),
        lambda id: asked.entry_by_key(id, "k"),
        lambda id: asked.entry_by_key("a", id),
    ]
    for ask in asks:
        with pytest.raises(InvalidInput, match="must be 1 to 255 visible ASCII characters"):
            await ask(id)


@pytest.mark.parametrize("id", ["a b", "\0", "\ud800"])
async def test_verify_of_an_id_that_no_account_can_have_is_told_so(asked: Ledger, id: str) -> None:
    with pytest.raises(InvalidInput, match="must be 1 to 255 visible ASCII characters"):
        await verify(asked, id)


async def test_whatever_is_asked_of_an_account_that_is_not_there_it_is_unknown(
    asked: Ledger, clock: FrozenClock
) -> None:
    for ask in questions(asked, clock):
        with pytest.raises(UnknownAccount):
            await ask("nobody")
    # Of one that is there, it is only the page that is empty.
    assert await asked.entries("a", before=1) == []
    assert await asked.entry_by_key("nobody", "k") is None


@pytest.mark.parametrize("spent", [0, 10, 25])
@pytest.mark.parametrize("days", [20, 45, 75, 140])
async def test_s14_what_an_account_had_at_an_instant_does_not_depend_on_who_looked_when(
    ledger: Ledger, clock: FrozenClock, spent: int, days: int
) -> None:
    """One account is looked at every day, of the other two what time did is written down at the end, or not at all."""
    start = clock.now
    for id in ("daily", "at-the-end", "never"):
        await ledger.submit(OpenAccount(account_id=id, plan="free"))
        await ledger.submit(GrantBonus(account_id=id, key="g", credits=7, expires_at=start + timedelta(days=40)))
        if spent:
            await ledger.submit(Spend(account_id=id, key="k", amount=spent))
    had = []
    for _ in range(days):
        clock.advance(days=1)
        await ledger._lanes.submit(Settle(account_id="daily"))
        had.append((await ledger.account("daily")).available)
    await ledger._lanes.submit(Settle(account_id="at-the-end"))
    for id in ("daily", "at-the-end", "never"):
        at = [await ledger.entry_at(id, start + timedelta(days=day + 1)) for day in range(days)]
        assert [entry.available for entry in at if entry is not None] == had, id
    clock.advance(days=40)
    await ledger.submit(Spend(account_id="never", key="late", amount=1))
    at = [await ledger.entry_at("never", start + timedelta(days=day + 1)) for day in range(days)]
    assert [entry.available for entry in at if entry is not None] == had


async def test_s14_a_period_is_missed_also_among_many_grants_that_lapse(ledger: Ledger, clock: FrozenClock) -> None:
    start = clock.now
    await ledger.submit(OpenAccount(account_id="a", plan="free"))
    lapsing = [
        GrantBonus(account_id="a", key=f"g{n}", credits=1, expires_at=start + timedelta(days=50, seconds=n))
        for n in range(60)
    ]
    await ledger.submit_all(lapsing)
    clock.advance(days=125)
    instant = start + timedelta(days=45)
    before = await ledger.entry_at("a", instant)
    await ledger.submit(Spend(account_id="a", key="k", amount=1))
    after = await ledger.entry_at("a", instant)
    assert before is not None
    assert after is not None
    assert (before.monthly, before.bonus) == (after.monthly, after.bonus) == (25, 60)
