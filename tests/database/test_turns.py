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
