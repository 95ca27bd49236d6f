"""S27, S28: leases that run out, outages that last, and several workers on one inbox."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tallystick.billing import EventStatus, StoredEvent
from tallystick.billing import inbox as inboxes
from tallystick.billing.errors import NeedsOperator, StripeUnavailable
from tallystick.billing.event_records import EventRecords, Sought
from tallystick.billing.inbox import AT_ONCE, LEASE, MOST_ATTEMPTS, OUTAGE_PAUSE, About, Inbox
from tallystick.billing.webhooks import VerifiedEvent
from tallystick.database.engine import Database
from tallystick.domain.errors import InvalidInput
from tests.conftest import FrozenClock

KIND = "invoice.paid"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database.connect(database_url)
    yield database
    await database.close()


def an_event(n: int = 1) -> VerifiedEvent:
    return VerifiedEvent(f"evt_{n}", KIND, None, f'{{"object": "event", "data": {{"object": {{"id": "in_{n}"}}}}}}')


async def all_of(database: Database) -> list[StoredEvent]:
    return await EventRecords(database).latest(100, Sought())


async def only(database: Database) -> StoredEvent:
    (event,) = await all_of(database)
    return event


def inbox_with(database: Database, clock: FrozenClock, act: Callable[[str], Awaitable[None]]) -> Inbox:
    async def handle(id: str, _: dict[str, Any]) -> About:
        await act(id)
        return About()

    return Inbox(database, {KIND: handle}, no_thin_ones, clock)


async def no_thin_ones(_: str) -> dict[str, Any]:
    raise AssertionError("these events are no thin ones")


class SlowThenFailing:
    """Acts on an event until it is told to go on, and fails then."""

    def __init__(self) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, _: str) -> None:
        self.begun.set()
        await self.go_on.wait()
        raise StripeUnavailable


async def quick(_: str) -> None:
    return


async def test_s27_a_worker_whose_lease_ran_out_does_not_undo_what_another_one_did(
    database: Database, clock: FrozenClock
) -> None:
    act = SlowThenFailing()
    slow, other = inbox_with(database, clock, act), inbox_with(database, clock, quick)
    await slow.store(an_event())
    working = asyncio.create_task(slow.work())
    await asyncio.wait_for(act.begun.wait(), 10)
    clock.now += LEASE
    assert await other.work() == 1
    act.go_on.set()
    assert await working == 1
    event = await only(database)
    assert (event.status, event.attempts, event.last_error) == (EventStatus.DONE, 2, None)
    clock.advance(days=1)
    assert await slow.work() == 0


async def test_s28_a_worker_whose_lease_ran_out_does_not_undo_what_a_replay_did(
    database: Database, clock: FrozenClock
) -> None:
    act = SlowThenFailing()

    async def hopeless(_: str) -> None:
        raise NeedsOperator("Nobody knows it.")

    slow, other = inbox_with(database, clock, act), inbox_with(database, clock, hopeless)
    await slow.store(an_event())
    working = asyncio.create_task(slow.work())
    await asyncio.wait_for(act.begun.wait(), 10)
    clock.now += LEASE
    await other.work()
    assert (await only(database)).status is EventStatus.PARKED
    # Its tries are counted from 1 again, which is what the slow one's try was too.
    await inbox_with(database, clock, quick).replay(["evt_1"])
    act.go_on.set()
    assert await working == 1
    event = await only(database)
    assert (event.status, event.attempts, event.last_error) == (EventStatus.DONE, 1, None)
    clock.advance(days=1)
    assert await slow.work() == 0


async def test_s28_a_replayed_event_has_as_many_tries_as_a_new_one_and_is_its_replayers_alone(
    database: Database, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inboxes, "MOST_ATTEMPTS", 3)
    acted = 0

    async def act(_: str) -> None:
        nonlocal acted
        acted += 1
        # While it is replayed nobody else takes it up.
        assert await inbox.work() == 0
        raise InvalidInput("Not this time.")

    inbox = inbox_with(database, clock, act)
    await inbox.store(an_event())
    for again in (0, 1):
        for _ in range(3 - again):
            assert await inbox.work() == 1
            clock.advance(hours=1)
        assert (await only(database)).status is EventStatus.PARKED
        assert acted == 3 * (again + 1)
        if not again:
            await inbox.replay(["evt_1"])
            assert ((await only(database)).status, acted) == (EventStatus.PENDING, 3 + 1)
            clock.advance(hours=1)


async def test_s28_an_outage_of_stripe_parks_nothing_however_long_it_lasts(
    database: Database, clock: FrozenClock
) -> None:
    down = True

    async def act(_: str) -> None:
        if down:
            raise StripeUnavailable

    inbox = inbox_with(database, clock, act)
    await inbox.store(an_event())
    for _ in range(MOST_ATTEMPTS * 5):
        assert await inbox.work() == 1
        assert await inbox.work() == 0
        assert (await only(database)).status is EventStatus.PENDING
        clock.now += OUTAGE_PAUSE
    down = False
    assert await inbox.work() == 1
    assert (await only(database)).status is EventStatus.DONE


async def test_s28_tries_that_end_in_an_outage_do_not_count_and_others_do(
    database: Database, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inboxes, "MOST_ATTEMPTS", 3)
    fails: Exception = StripeUnavailable()

    async def act(_: str) -> None:
        raise fails

    inbox = inbox_with(database, clock, act)
    await inbox.store(an_event())
    for tries in range(3):
        fails = StripeUnavailable()
        for _ in range(5):
            assert await inbox.work() == 1
            assert ((await only(database)).status, (await only(database)).attempts) == (EventStatus.PENDING, tries)
            clock.advance(hours=1)
        fails = InvalidInput("Not this time.")
        assert await inbox.work() == 1
        assert (await only(database)).attempts == tries + 1
        clock.advance(hours=1)
    assert (await only(database)).status is EventStatus.PARKED


async def test_s28_the_pauses_of_an_outage_grow_up_to_a_minute(database: Database, clock: FrozenClock) -> None:
    async def act(_: str) -> None:
        raise StripeUnavailable

    inbox = inbox_with(database, clock, act)
    await inbox.store(an_event())
    pauses = []
    for _ in range(9):
        assert await inbox.work() == 1
        due_at = (await only(database)).due_at
        assert due_at is not None
        pauses.append((due_at - clock.now).total_seconds())
        clock.now = due_at
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_s28_a_try_whose_worker_died_counts(
    database: Database, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inboxes, "MOST_ATTEMPTS", 3)

    async def act(_: str) -> None:
        raise InvalidInput("Not this time.")

    inbox = inbox_with(database, clock, act)
    await inbox.store(an_event())
    for tries in (1, 2):
        assert len(await inbox._lease(1)) == 1
        assert (await only(database)).attempts == tries
        clock.now += LEASE
    assert await inbox.work() == 1
    assert ((await only(database)).status, (await only(database)).attempts) == (EventStatus.PARKED, 3)


async def test_s27_many_workers_on_one_inbox_act_once_on_each_event(database: Database, clock: FrozenClock) -> None:
    acted: Counter[str] = Counter()
    at_once = most = 0

    async def act(id: str) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.001)
        acted[id] += 1
        at_once -= 1

    workers = [inbox_with(database, clock, act) for _ in range(3)]
    for n in range(60):
        await workers[0].store(an_event(n))

    async def work(inbox: Inbox) -> None:
        while await inbox.work():
            pass

    await asyncio.gather(*map(work, workers))
    assert acted == Counter({f"in_{n}": 1 for n in range(60)})
    assert most <= AT_ONCE * len(workers)
    assert {event.status for event in await all_of(database)} == {EventStatus.DONE}


async def test_s28_one_event_that_breaks_its_handler_does_not_hold_up_the_others(
    database: Database, clock: FrozenClock
) -> None:
    async def act(id: str) -> None:
        if id == "in_1":
            raise ZeroDivisionError

    inbox = inbox_with(database, clock, act)
    for n in range(1, 4):
        await inbox.store(an_event(n))
    assert await inbox.work() == 3
    found = {event.id: event for event in await all_of(database)}
    assert found["evt_1"].status is EventStatus.PENDING
    assert found["evt_1"].last_error == "ZeroDivisionError"
    assert found["evt_2"].status is found["evt_3"].status is EventStatus.DONE


async def test_s27_a_stored_event_wakes_the_worker_and_stopping_finishes_what_is_under_way(
    database: Database, clock: FrozenClock
) -> None:
    begun, finished, stopping = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def act(_: str) -> None:
        begun.set()
        await asyncio.sleep(0.05)
        finished.set()

    inbox = inbox_with(database, clock, act)
    running = asyncio.create_task(inbox.run(stopping))
    await asyncio.sleep(0.05)
    await inbox.store(an_event())
    await begun.wait()
    stopping.set()
    await running
    assert finished.is_set()
    assert (await only(database)).status is EventStatus.DONE
