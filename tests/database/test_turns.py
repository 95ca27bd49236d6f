"""Turns at SQLite's one writer: one at a time, in rotation, and never lost with a caller who goes away."""

import asyncio
from contextlib import suppress

import pytest

from tallystick.database.turns import Turns


async def take(turns: Turns, queue: str, seen: list[str]) -> None:
    async with turns.take(queue):
        seen.append(queue)
        await asyncio.sleep(0)


async def test_one_at_a_time_however_many_ask() -> None:
    turns, inside, most = Turns(), 0, 0

    async def one(n: int) -> None:
        nonlocal inside, most
        async with turns.take(str(n % 3)):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(one(n) for n in range(60)))
    assert (most, inside) == (1, 0)


async def test_a_long_queue_does_not_hold_up_another_one() -> None:
    turns, seen = Turns(), list[str]()
    async with turns.take("first"):
        waiting = [asyncio.create_task(take(turns, queue, seen)) for queue in "aaaaabbc"]
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert "".join(seen) == "abcabaaa"


@pytest.mark.parametrize("leaves", [0, 1, 2])
async def test_whoever_goes_away_does_not_take_a_turn_with_him(leaves: int) -> None:
    turns, seen = Turns(), list[str]()
    async with turns.take("first"):
        waiting = [asyncio.create_task(take(turns, queue, seen)) for queue in "abc"]
        await asyncio.sleep(0)
        waiting[leaves].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert len(seen) == 2
    await take(turns, "d", seen)
    assert seen[-1] == "d"


async def test_a_turn_that_was_just_given_is_passed_on_when_its_taker_goes_away() -> None:
    turns, seen = Turns(), list[str]()
    async with turns.take("first"):
        waiting = [asyncio.create_task(take(turns, queue, seen)) for queue in "ab"]
        await asyncio.sleep(0)
    # It has its turn by now, and has not run since.
    waiting[0].cancel()
    with suppress(asyncio.CancelledError):
        await waiting[0]
    await waiting[1]
    assert seen == ["b"]


async def test_a_turn_has_room_for_some_of_one_queue_while_nobody_else_waits() -> None:
    turns, inside, most = Turns(), 0, 0

    async def one() -> None:
        nonlocal inside, most
        async with turns.take("ledger", 2):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(one() for _ in range(20)))
    assert (most, inside) == (2, 0)


async def test_a_turn_with_room_is_never_shared_with_another_queue_and_does_not_keep_it_waiting() -> None:
    turns, seen, inside = Turns(), list[str](), list[str]()

    async def one(queue: str, room: int) -> None:
        async with turns.take(queue, room):
            inside.append(queue)
            assert len(set(inside)) == 1
            seen.append(queue)
            await asyncio.sleep(0)
            inside.remove(queue)

    async def go_on() -> None:
        while "inbox" not in seen:
            await one("ledger", 2)

    ledger = [asyncio.create_task(go_on()) for _ in range(3)]
    await asyncio.sleep(0)
    await one("inbox", 1)
    await asyncio.gather(*ledger)
    # The two that had come in, the one that waited first, and nobody after them.
    assert seen[:4] == ["ledger", "ledger", "ledger", "inbox"]


async def test_who_goes_away_inside_a_shared_turn_leaves_it_to_the_other() -> None:
    turns, seen = Turns(), list[str]()

    async def stay() -> None:
        async with turns.take("ledger", 2):
            seen.append("ledger")
            await asyncio.sleep(60)

    async with turns.take("ledger", 2):
        other = asyncio.create_task(stay())
        waiting = asyncio.create_task(take(turns, "inbox", seen))
        await asyncio.sleep(0)
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
        assert not waiting.done()
        assert seen == ["ledger"]
    await waiting
    assert seen == ["ledger", "inbox"]
