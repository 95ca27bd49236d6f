"""Natural batching: what arrives meanwhile goes together, answers belong to their askers, failures to their batch."""

import asyncio
from collections.abc import Sequence
from itertools import chain

import pytest

from tallystick.billing import together
from tallystick.billing.together import Together
from tallystick.domain.errors import Overloaded


class Door:
    """Does what it is asked while it is open, and remembers in which batches."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.batches: list[list[int]] = []

    async def do(self, asked: Sequence[int]) -> list[int]:
        self.batches.append(list(asked))
        await self.open.wait()
        if 13 in asked:
            raise ZeroDivisionError
        return [10 * number for number in asked]


async def test_what_arrives_while_one_is_under_way_goes_into_the_next_batch() -> None:
    door = Door()
    queue = Together(door.do)
    asking = [asyncio.create_task(queue.submit(number)) for number in range(5)]
    await asyncio.sleep(0.01)
    door.open.set()
    assert await asyncio.gather(*asking) == [0, 10, 20, 30, 40]
    assert list(chain.from_iterable(door.batches)) == [0, 1, 2, 3, 4]
    assert len(door.batches) <= 2


async def test_a_batch_that_fails_fails_for_those_in_it_alone() -> None:
    door = Door()
    queue = Together(door.do)
    first = asyncio.create_task(queue.submit(1))
    await asyncio.sleep(0.01)
    second = [asyncio.create_task(queue.submit(number)) for number in (13, 2)]
    await asyncio.sleep(0.01)
    door.open.set()
    assert await first == 10
    for failed in second:
        with pytest.raises(ZeroDivisionError):
            await failed
    assert await queue.submit(3) == 30


async def test_whoever_goes_away_does_not_spoil_the_batch() -> None:
    door = Door()
    queue = Together(door.do)
    asking = [asyncio.create_task(queue.submit(number)) for number in range(3)]
    await asyncio.sleep(0.01)
    asking[1].cancel()
    door.open.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert (answers[0], answers[2]) == (0, 20)


async def test_more_than_can_wait_are_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "MOST_WAITING", 3)
    door = Door()
    queue = Together(door.do)
    first = asyncio.create_task(queue.submit(0))
    await asyncio.sleep(0.01)
    asking = [asyncio.create_task(queue.submit(number)) for number in range(3)]
    await asyncio.sleep(0.01)
    with pytest.raises(Overloaded):
        await queue.submit(4)
    door.open.set()
    await asyncio.gather(first, *asking)
    await queue.close()
    assert list(chain.from_iterable(door.batches)) == [0, 0, 1, 2]
