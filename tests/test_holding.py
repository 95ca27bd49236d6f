"""`async with credits.hold(...)`, and the questions a library user asks of the past, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from tallystick import (
    Balance,
    InsufficientCredits,
    InvalidAmount,
    InvalidInput,
    LedgerUnavailable,
    Plan,
    Tallystick,
)
from tallystick.domain.account import GrantKind
from tallystick.domain.errors import AlreadyReversed, HoldNotOpen, UnknownEntry, WorkNotCharged
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


async def chunks(clock: FrozenClock, costs: list[Any], minutes: int = 0) -> AsyncIterator[Any]:
    for cost in costs:
        yield cost
        clock.advance(minutes=minutes)


async def test_s12_a_stream_that_takes_longer_than_its_hold_keeps_it_and_is_paid(
    credits: Tallystick, clock: FrozenClock
) -> None:
    async with credits.hold("a", 10) as hold:
        passed = [chunk async for chunk in hold.metered(chunks(clock, [1] * 9, minutes=7))]
    assert (len(passed), hold.drawn, await available(credits)) == (9, 9, 16)


async def test_s12_a_stream_whose_hold_has_run_out_stops_and_says_what_was_not_captured(
    credits: Tallystick, clock: FrozenClock
) -> None:
    passed = []
    with capture_logs() as logs, pytest.raises(HoldNotOpen):
        async with credits.hold("a", 10) as hold:
            async for chunk in hold.metered(chunks(clock, [2, 3, 4], minutes=20)):
                passed.append(chunk)
    assert (passed, hold.drawn, await available(credits)) == ([2], 1, 25)
    assert [(log["event"], log["drawn"]) for log in logs if "hold" in log] == [("hold_left_open", 1)]


async def test_s12_a_block_that_ends_after_its_hold_says_that_what_was_drawn_is_not_captured(
    credits: Tallystick, clock: FrozenClock
) -> None:
    with pytest.raises(HoldNotOpen):
        async with credits.hold("a", 10) as hold:
            await hold.draw(3)
            clock.advance(minutes=15)
    async with credits.hold("a", 10):
        # Nothing was drawn: that it is over is nothing to be told.
        clock.advance(minutes=15)
    assert await available(credits) == 25


async def test_s12_what_cannot_be_captured_at_the_end_is_an_error_unless_there_is_one_already(
    credits: Tallystick, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(command: Any) -> Any:
        raise LedgerUnavailable("It is gone.")

    with pytest.raises(LedgerUnavailable):
        async with credits.hold("a", 10) as hold:
            await hold.draw(3)
            monkeypatch.setattr(credits.ledger, "submit", gone)
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="model is down"):
        async with credits.hold("a", 10) as hold:
            await hold.draw(3)
            monkeypatch.setattr(credits.ledger, "submit", gone)
            raise RuntimeError("model is down")


async def test_s7_s12_nothing_is_drawn_of_a_hold_whose_work_was_paid_for(
    credits: Tallystick, clock: FrozenClock
) -> None:
    async with credits.hold("a", 10, key="request-1") as hold:
        assert len([chunk async for chunk in hold.metered(chunks(clock, [1] * 4))]) == 4
    with pytest.raises(HoldNotOpen):
        async with credits.hold("a", 10, key="request-1") as hold:
            await hold.draw(1)
    # What was captured is told again.
    async with credits.hold("a", 10, key="request-1") as hold:
        assert (await hold.capture(4)).replayed
    assert await available(credits) == 21


@pytest.mark.parametrize("ends", ["fails", "runs out", "costs nothing"])
async def test_s7_s12_work_that_nobody_paid_for_is_not_begun_again_under_its_key(
    credits: Tallystick, clock: FrozenClock, ends: str
) -> None:
    if ends == "fails":
        with pytest.raises(RuntimeError, match="model is down"):
            async with credits.hold("a", 10, key="request-1"):
                raise RuntimeError("model is down")
    elif ends == "runs out":
        await credits.hold("a", 10, key="request-1").__aenter__()
        clock.advance(minutes=15)
    else:
        async with credits.hold("a", 10, key="request-1"):
            pass
    # Other work that was paid for says nothing of this one.
    async with credits.hold("a", 1, key="request-2") as hold:
        await hold.capture(1)
    begun = False
    with pytest.raises(WorkNotCharged, match="'request-1' was released, or ran out"):
        async with credits.hold("a", 10, key="request-1"):
            begun = True
    assert not begun
    async with credits.hold("a", 10, key="request-1-again") as hold:
        await hold.capture(4)
    assert await available(credits) == 20


async def test_s12_tasks_that_draw_at_once_are_all_paid_for(credits: Tallystick) -> None:
    delivered = 0

    async def tool(amount: int) -> None:
        nonlocal delivered
        await hold.draw(amount)
        delivered += amount

    async with credits.hold("a", 5) as hold:
        outcomes = await asyncio.gather(*(tool(5) for _ in range(7)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes if outcome] == [InsufficientCredits] * 2
        assert (await credits.balance("a")).held == hold.amount == hold.drawn == delivered == 25
    assert await available(credits) == 0


async def test_s12_tasks_that_extend_at_once_each_set_aside(credits: Tallystick) -> None:
    async with credits.hold("a", 5) as hold:
        await asyncio.gather(hold.extend(4), hold.extend(4), hold.extend(4, seconds=60))
        assert (await credits.balance("a")).held == hold.amount == 17


async def test_s12_what_is_drawn_as_the_block_ends_is_captured_or_not_delivered(credits: Tallystick) -> None:
    delivered = 0

    async def go_on() -> None:
        nonlocal delivered
        with pytest.raises(HoldClosed):
            while True:
                await hold.draw(1)
                delivered += 1
                await asyncio.sleep(0)

    async with credits.hold("a", 5) as hold:
        others = [asyncio.create_task(go_on()) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.gather(*others)
    assert await available(credits) == 25 - delivered
    assert delivered > 0


async def test_s7_s12_work_that_died_goes_on_with_the_hold_that_it_had(
    credits: Tallystick, clock: FrozenClock
) -> None:
    died = await credits.hold("a", 5, key="request-1").__aenter__()
    await died.draw(14)
    again = await credits.hold("a", 5, key="request-1").__aenter__()
    assert (again.amount, again.drawn) == (14, 0)
    await again.draw(12)
    assert (again.amount, await available(credits)) == (14, 11)
    # Other amounts than the first time are no conflict.
    await again.draw(6)
    await again.capture(18)
    assert await available(credits) == 7


@pytest.mark.parametrize("length", [240, 255])
async def test_s12_a_hold_with_the_longest_key_is_extended_captured_and_released(
    credits: Tallystick, length: int
) -> None:
    async with credits.hold("a", 5, key="k" * length) as hold:
        await hold.extend(2, seconds=600)
        await hold.capture(3)
    async with credits.hold("a", 5, key="l" * length):
        pass
    assert await available(credits) == 22


async def test_s12_a_hold_whose_placing_was_cancelled_is_released(credits: Tallystick) -> None:
    async def work() -> None:
        async with credits.hold("a", 5):
            await asyncio.sleep(60)

    for turns in range(12):
        task = asyncio.create_task(work())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await credits.balance("a")).held == 0
    # Also where the cancellation comes as the answer does.
    for delay in range(8):
        task = asyncio.create_task(work())
        await asyncio.sleep(delay / 2_000)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await credits.balance("a")).held == 0


async def settled(credits: Tallystick) -> Balance:
    """The balance once nothing is held any more, or after a while."""
    for _ in range(100):
        if (await credits.balance("a")).held == 0:
            break
        await asyncio.sleep(0.02)
    return await credits.balance("a")


async def test_s12_what_was_drawn_is_captured_though_the_block_is_cancelled_over_and_over(
    credits: Tallystick,
) -> None:
    drawn = asyncio.Event()

    async def work() -> None:
        async with credits.hold("a", 20) as hold:
            await hold.draw(4)
            drawn.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await drawn.wait()
    # As web frameworks do when a client goes away: whatever is waited for, the end of the block included.
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    balance = await settled(credits)
    assert (balance.held, balance.available) == (0, 21)


async def test_s12_a_run_that_is_cancelled_while_it_finds_the_hold_of_another_leaves_it_to_that(
    credits: Tallystick,
) -> None:
    async def again() -> None:
        async with credits.hold("a", 10, key="request-1"):
            await asyncio.sleep(60)

    async with credits.hold("a", 10, key="request-1") as hold:
        await hold.draw(4)
        task = asyncio.create_task(again())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await available(credits) == 21


async def test_s12_a_hold_that_is_refused_as_its_placing_is_cancelled_is_no_hold_left_open(
    credits: Tallystick,
) -> None:
    with capture_logs() as logs:
        task = asyncio.create_task(credits.hold("a", 100).__aenter__())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [log for log in logs if log["event"] == "hold_left_open"] == []


async def test_s7_s12_a_run_that_goes_on_sets_aside_what_it_draws(credits: Tallystick) -> None:
    died = await credits.hold("a", 5, key="request-1").__aenter__()
    await died.draw(14)
    async with credits.hold("a", 5, key="request-1") as hold:
        await hold.draw(12)
        # As much more as the run that died had set aside by then.
        await hold.draw(11)
        assert (await credits.balance("a")).held == hold.amount == 23
    assert await available(credits) == 2


async def test_s7_s12_a_run_that_goes_on_extends_its_hold_from_now(credits: Tallystick, clock: FrozenClock) -> None:
    died = await credits.hold("a", 5, key="request-1").__aenter__()
    await died.extend(2, seconds=3600)
    clock.advance(minutes=50)
    async with credits.hold("a", 5, key="request-1") as hold:
        await hold.extend(2, seconds=3600)
        assert (hold.amount, hold.expires_at) == (7, clock.now + timedelta(hours=1))
        await hold.extend(3)
        assert (await credits.balance("a")).held == hold.amount == 10


async def test_s12_chunks_that_cost_nothing_keep_the_hold_of_what_was_drawn(
    credits: Tallystick, clock: FrozenClock
) -> None:
    async with credits.hold("a", 10) as hold:
        async for _ in hold.metered(chunks(clock, [5, 0, 0, 0, 0], minutes=6), cost=lambda chunk: chunk):
            pass
    assert await available(credits) == 20


async def test_s7_s12_an_extension_that_was_cut_off_does_not_stand_in_the_way_of_another(credits: Tallystick) -> None:
    async with credits.hold("a", 5) as hold:
        cut_off = asyncio.create_task(hold.extend(2))
        await asyncio.sleep(0)
        cut_off.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cut_off
        await hold.extend(1)
        await hold.capture(8)
    assert await available(credits) == 17


@pytest.mark.parametrize("cost", [None, "x", 1.0, True, -1])
async def test_s1_a_chunk_costs_a_whole_number(credits: Tallystick, clock: FrozenClock, cost: object) -> None:
    with pytest.raises(InvalidInput, match="whole number of credits"):
        async with credits.hold("a", 10) as hold:
            async for _ in hold.metered(chunks(clock, [2, cost]), cost=lambda chunk: chunk):
                pass
    assert await available(credits) == 23


async def test_s1_only_a_whole_nothing_releases(credits: Tallystick) -> None:
    async with credits.hold("a", 10) as hold:
        for wrong in (0.0, False):
            with pytest.raises(InvalidAmount):
                await hold.capture(wrong)  # type: ignore[arg-type]


async def test_s13_a_spend_is_reversed(credits: Tallystick) -> None:
    spent = await credits.spend("a", 5, key="s")
    entry = await credits.reverse("a", spent.seq, key="r", reason="failed")
    assert (entry.amount, entry.available, entry.reverses) == (5, 25, spent.seq)
    with pytest.raises(AlreadyReversed):
        await credits.reverse("a", spent.seq, key="r2")


async def test_an_operator_adjusts_both_ways(credits: Tallystick) -> None:
    assert (await credits.adjust("a", 10, key="up", reason="sorry")).bonus == 10
    assert (await credits.adjust("a", -12, key="down", reason="granted twice")).available == 23


@pytest.mark.parametrize("reason", ["", " \n", None, "\0"])
async def test_an_adjustment_has_a_reason_both_ways(credits: Tallystick, reason: Any) -> None:
    for amount in (5, -5):
        with pytest.raises(InvalidInput, match="reason"):
            await credits.adjust("a", amount, key="k", reason=reason)
    assert [entry.seq for entry in await credits.entries("a")] == [1]


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
