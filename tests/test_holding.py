"""`async with credits.hold(...)`, and the questions a library user asks of the past, on both databases."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tallystick import InsufficientCredits, Plan, Tallystick
from tallystick.domain.account import GrantKind
from tallystick.domain.errors import AlreadyReversed, HoldNotOpen, UnknownEntry
from tallystick.holding import HoldClosed
from tests.conftest import FrozenClock


@pytest.fixture
async def credits(database_url: str, clock: FrozenClock) -> AsyncIterator[Tallystick]:
    async with Tallystick(database_url, plans=[Plan("free", 25)], clock=clock) as made:
        await made.open_account("a")
        yield made


async def available(credits: Tallystick) -> int:
    return (await credits.balance("a")).available


async def test_s12_a_hold_captures_what_the_work_cost(credits: Tallystick) -> None:
    async with credits.hold("a", 20, operation="generate") as hold:
        assert await available(credits) == 5
        receipt = await hold.capture(7)
    assert (receipt.entry.reason, receipt.entry.available) == ("generate", 18)


async def test_s12_a_hold_is_released_when_the_work_fails_or_costs_nothing(credits: Tallystick) -> None:
    with pytest.raises(RuntimeError, match="model is down"):
        async with credits.hold("a", 20):
            raise RuntimeError("model is down")
    async with credits.hold("a", 20) as hold:
        await hold.capture(0)
    async with credits.hold("a", 20):
        pass
    assert await available(credits) == 25


async def test_s12_a_hold_is_captured_once_and_only_inside_its_block(credits: Tallystick) -> None:
    hold = credits.hold("a", 20)
    with pytest.raises(HoldClosed):
        await hold.capture(1)
    async with hold:
        await hold.capture(1)
        with pytest.raises(HoldClosed):
            await hold.capture(2)


async def test_s12_a_capture_after_the_deadline_is_refused(credits: Tallystick, clock: FrozenClock) -> None:
    with pytest.raises(HoldNotOpen):
        async with credits.hold("a", 20, seconds=60) as hold:
            clock.advance(seconds=60)
            await hold.capture(5)
    assert await available(credits) == 25


async def test_s12_a_hold_is_extended(credits: Tallystick, clock: FrozenClock) -> None:
    async with credits.hold("a", 10, seconds=60) as hold:
        await hold.extend(5, seconds=120)
        assert (hold.amount, hold.expires_at) == (15, clock.now + timedelta(seconds=120))
        with pytest.raises(InsufficientCredits):
            await hold.extend(11)
        clock.advance(seconds=90)
        await hold.capture(15)
    assert await available(credits) == 10


async def test_s12_streamed_work_draws_as_it_goes_and_stops_cleanly_when_the_account_is_empty(
    credits: Tallystick,
) -> None:
    closed = []

    async def words() -> AsyncIterator[int]:
        try:
            for n in range(100):
                yield n
        finally:
            closed.append(True)

    seen = []
    async with credits.hold("a", 10) as hold:
        async for word in hold.metered(words(), cost=lambda n: n % 2):
            seen.append(word)
    assert (hold.exhausted, hold.drawn, seen[-1]) == (True, 25, 50)
    assert closed == [True]
    assert await available(credits) == 0


async def test_s12_what_was_drawn_is_captured_when_the_stream_breaks_off(credits: Tallystick) -> None:
    with pytest.raises(RuntimeError):
        async with credits.hold("a", 10) as hold:
            await hold.draw(4)
            raise RuntimeError
    assert await available(credits) == 21


async def test_s13_a_spend_is_reversed(credits: Tallystick) -> None:
    spent = await credits.spend("a", 5, key="s")
    entry = await credits.reverse("a", spent.seq, key="r", reason="failed")
    assert (entry.amount, entry.available, entry.reverses) == (5, 25, spent.seq)
    with pytest.raises(AlreadyReversed):
        await credits.reverse("a", spent.seq, key="r2")


async def test_an_operator_adjusts_both_ways(credits: Tallystick) -> None:
    assert (await credits.adjust("a", 10, key="up", reason="sorry")).bonus == 10
    assert (await credits.adjust("a", -12, key="down", reason="granted twice")).available == 23


async def test_s14_the_balance_at_an_instant_counts_what_time_did_at_its_exact_moment(
    credits: Tallystick, clock: FrozenClock
) -> None:
    start = clock.now
    clock.advance(hours=1)
    await credits.spend("a", 5, key="s")
    clock.advance(days=40)
    before = await credits.balance_at("a", start + timedelta(minutes=30))
    after = await credits.balance_at("a", start + timedelta(hours=1))
    renewed = await credits.balance_at("a", clock.now)
    assert before is not None
    assert after is not None
    assert renewed is not None
    assert (before.available, after.available, renewed.available) == (25, 20, 25)
    assert await credits.balance_at("a", start - timedelta(seconds=1)) is None


async def test_an_entry_is_explained_with_its_rule_and_its_grants(credits: Tallystick) -> None:
    await credits.grant("a", 10, key="g", kind=GrantKind.GIFTED, reason="welcome")
    spent = await credits.spend("a", 30, key="s")
    explanation = await credits.explain("a", spent.seq)
    assert explanation.rule.startswith("S10")
    assert [(g.kind, g.amount, g.remained_before, g.remained_after) for g in explanation.grants] == [
        (GrantKind.ALLOWANCE, 25, 25, 0),
        (GrantKind.GIFTED, 5, 10, 5),
    ]
    assert explanation.grants[1].source == "welcome"
    with pytest.raises(UnknownEntry):
        await credits.explain("a", 99)
