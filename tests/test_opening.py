"""Opening and closing `Tallystick`, also by several at once, on both databases."""

import asyncio

import pytest

from tallystick import InvalidInput, Plan, Tallystick
from tallystick.service import NotOpen
from tallystick.sync import SyncTallystick


def background() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("tallystick")]


@pytest.fixture
def credits(database_url: str) -> Tallystick:
    return Tallystick(database_url, plans=[Plan("free", 25)])


async def test_opening_twice_at_once_opens_once(credits: Tallystick) -> None:
    await asyncio.gather(credits.open(), credits.open(), credits.open())
    assert background() == ["tallystick sweep"]
    await credits.close()
    assert background() == []


async def test_who_opens_meanwhile_comes_back_when_it_is_open(credits: Tallystick) -> None:
    async def use() -> int:
        await credits.open()
        return (await credits.open_account("a")).available

    assert await asyncio.gather(use(), use()) == [25, 25]
    await credits.close()


async def test_who_opens_meanwhile_opens_it_when_the_first_gave_up(credits: Tallystick) -> None:
    first, second = asyncio.create_task(credits.open()), asyncio.create_task(credits.open())
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert first.cancelled()
    assert (await credits.open_account("a")).available == 25
    await credits.close()
    assert background() == []


async def test_closing_while_it_is_being_opened_leaves_it_closed(credits: Tallystick) -> None:
    await asyncio.gather(credits.open(), credits.close())
    with pytest.raises(NotOpen):
        await credits.balance("a")
    assert background() == []


def test_one_object_is_opened_by_several_at_once_on_one_event_loop_after_another(sqlite_url: str) -> None:
    credits = Tallystick(sqlite_url, plans=[Plan("free", 25)])

    async def both() -> None:
        await asyncio.gather(credits.open(), credits.open())
        await credits.close()

    asyncio.run(both())
    asyncio.run(both())


async def test_as_many_accounts_are_remembered_as_was_asked_for(database_url: str) -> None:
    async with Tallystick(database_url, plans=[Plan("free", 25)], remembered_accounts=1_000) as credits:
        await credits.open_account("first")
        store = credits._opened.ledger.store
        for n in range(3):
            await asyncio.gather(*(credits.open_account(f"acc{n}-{m}") for m in range(333)))
        assert store._memory.get("first") is not None
        await credits.open_account("one-more")
        assert store._memory.get("first") is None
        # What is forgotten is read again.
        assert (await credits.spend("first", 5, key="k")).available == 20


@pytest.mark.parametrize("number", [0, 999, -1, 100_000_001, 10**30, 5_000.0, True, "5000", None])
@pytest.mark.parametrize("kind", [Tallystick, SyncTallystick])
def test_what_is_no_number_of_accounts_is_refused_before_anything_is_opened(kind: type, number: object) -> None:
    with pytest.raises(InvalidInput, match="remembered_accounts must be a whole number from 1,000") as told:
        kind("sqlite:///never.db", plans=[Plan("free", 25)], remembered_accounts=number)
    assert told.value.details == {"name": "remembered_accounts"}
