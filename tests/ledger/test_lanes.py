"""S9: how commands come together in batches, whichever of them are under way at once."""

import asyncio
import random
from collections.abc import Callable, Sequence

import pytest

from tallystick.domain.commands import Command, Settle
from tallystick.domain.errors import LedgerUnavailable, Overloaded
from tallystick.ledger.batch import Outcome, Settled
from tallystick.ledger.lanes import Lanes

ACCOUNTS = [f"acc{n}" for n in range(12)]


class Database:
    """Takes a moment for each batch, and keeps what it did, in order. Another process is at work with some accounts."""

    def __init__(self, busy: Callable[[str], bool] = lambda account_id: False, takes: float = 0.001) -> None:
        self.busy = busy
        self.takes = takes
        self.waited = 0
        self.under_way: list[set[str]] = []
        self.most = 0
        self.batches: list[list[str]] = []

    async def commit(self, commands: Sequence[Command], *, wait: bool) -> list[Outcome | None]:
        accounts = {command.account_id for command in commands}
        for others in self.under_way:
            assert not accounts & others
        self.under_way.append(accounts)
        self.most = max(self.most, len(self.under_way))
        self.waited += wait
        busy = {account for account in sorted(accounts) if not wait and self.busy(account)}
        if busy == accounts:
            busy.clear()
        self.batches.append([command.account_id for command in commands if command.account_id not in busy])
        await asyncio.sleep(self.takes)
        self.under_way.remove(accounts)
        return [None if command.account_id in busy else Settled(len(self.batches)) for command in commands]


@pytest.mark.parametrize("seed", range(20))
async def test_s9_no_two_batches_under_way_are_about_the_same_account_however_lanes_are_taken(seed: int) -> None:
    chance = random.Random(seed)
    database = Database(busy=lambda account_id: chance.random() < 0.5)
    lanes = Lanes(database.commit, 3, in_one=lambda: chance.random() < 0.5, max_batch=7)

    async def call() -> None:
        for _ in range(20):
            # The later of two on one account, of which the first is not waited for, is in no earlier batch.
            account = chance.choice(ACCOUNTS)
            first, second = [lanes.submit(Settle(account_id=account)) for _ in range(2)]
            answers = await asyncio.gather(first, second)
            assert answers[0].entries <= answers[1].entries

    await asyncio.gather(*(call() for _ in range(10)))
    assert sum(map(len, database.batches)) == 10 * 20 * 2
    assert max(map(len, database.batches)) <= 7
    assert database.most > 1
    await lanes.close()


async def test_s9_what_is_put_off_comes_before_what_is_asked_later_of_its_account_and_is_waited_for_in_the_end() -> (
    None
):
    database = Database(busy=lambda account_id: account_id == "acc1")
    lanes = Lanes(database.commit, max_batch=3)
    asked = [lanes.submit(Settle(account_id=f"acc{n}")) for n in (1, 0, 0, 0, 0, 0, 0, 0, 1)]
    await asyncio.gather(*asked)
    # Nobody else waits with it.
    assert database.batches == [["acc0", "acc0"]] * 3 + [["acc1"], ["acc0"], ["acc1"]]
    assert database.waited == 1
    await lanes.close()


async def test_s9_accounts_that_were_put_off_too_often_are_waited_for_one_at_a_time() -> None:
    database = Database(busy=lambda account_id: account_id in ("acc1", "acc2"))
    lanes = Lanes(database.commit, max_batch=5)
    asked = [lanes.submit(Settle(account_id=f"acc{n}")) for n in (1, 2, 1, 0, 2, 0, 0, 2)]
    await asyncio.gather(*asked)
    # The last one came too late to be put off.
    assert database.batches == [["acc0"], ["acc0"], ["acc0"], ["acc1", "acc1"], ["acc2", "acc2"], ["acc2"]]
    assert database.waited == 2
    await lanes.close()


async def test_what_was_put_off_is_refused_when_it_has_waited_for_too_long() -> None:
    database = Database(busy=lambda account_id: account_id == "acc1", takes=0.05)
    lanes = Lanes(database.commit, max_batch=2, max_wait_seconds=0.07)
    busy, *others = [lanes.submit(Settle(account_id=f"acc{n}")) for n in (1, 0, 0, 0, 0)]
    with pytest.raises(Overloaded, match="it was not taken"):
        await busy
    await asyncio.gather(*others, return_exceptions=True)
    assert ["acc1"] not in database.batches
    await lanes.close()


async def test_what_was_put_off_is_not_carried_out_when_its_caller_has_gone_away() -> None:
    database = Database(busy=lambda account_id: account_id == "acc1")
    lanes = Lanes(database.commit)
    gone, _, stays = [lanes.submit(Settle(account_id=account)) for account in ("acc1", "acc0", "acc1")]
    await asyncio.sleep(0.0005)
    gone.cancel()
    await stays
    assert database.batches == [["acc0"], ["acc1"]]
    await lanes.close()


async def test_s9_what_was_put_off_while_lanes_are_closed_is_finished() -> None:
    database = Database(busy=lambda account_id: account_id == "acc1")
    lanes = Lanes(database.commit)
    asked = [lanes.submit(Settle(account_id=f"acc{n}")) for n in range(3)]
    await asyncio.sleep(0)
    await lanes.close()
    assert database.batches == [["acc0", "acc2"], ["acc1"]]
    assert all(answer.done() and answer.exception() is None for answer in asked)


async def test_s9_of_a_batch_at_which_something_fails_nothing_is_put_off() -> None:
    seen: list[tuple[list[str], bool]] = []

    async def commit(commands: Sequence[Command], *, wait: bool) -> list[Outcome | None]:
        accounts = [command.account_id for command in commands]
        seen.append((accounts, wait))
        if "bad" in accounts:
            raise ZeroDivisionError
        return [Settled(len(seen)) for _ in commands]

    lanes = Lanes(commit)
    asked = [lanes.submit(Settle(account_id=account)) for account in ("acc1", "bad", "acc1", "acc1")]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [isinstance(answer, ZeroDivisionError) for answer in answers] == [False, True, False, False]
    assert [wait for _, wait in seen] == [False, True, True, True, True]
    await lanes.close()


async def test_one_batch_of_all_lanes_is_under_way_at_a_time_when_that_is_better_and_each_lane_has_its_share() -> (
    None
):
    database = Database()
    lanes = Lanes(
        database.commit, 2, spread=lambda account_id: int(account_id[3:]), in_one=lambda: True, max_batch=10
    )
    # Two accounts of one lane ask far more often than one of the other.
    asked = [lanes.submit(Settle(account_id=f"acc{n % 2 * 2}")) for n in range(40)]
    asked += [lanes.submit(Settle(account_id="acc1")) for _ in range(8)]
    await asyncio.gather(*asked)
    assert database.most == 1
    assert [batch.count("acc1") for batch in database.batches] == [5, 3, 0, 0, 0]
    assert [len(batch) for batch in database.batches] == [10, 10, 10, 10, 8]


async def test_callers_who_ask_again_at_once_are_divided_evenly_over_the_lanes_whatever_their_accounts_are_called() -> (
    None
):
    database = Database()
    lanes = Lanes(database.commit, 2)
    todo = iter(range(2_000))

    async def call(account: str) -> None:
        for _ in todo:
            await lanes.submit(Settle(account_id=account))

    await asyncio.gather(*(call(f"acc{n}") for n in range(100)))
    usual = database.batches[10:-10]
    assert len(usual) > 10
    assert all(40 <= len(batch) <= 60 for batch in usual)
    await lanes.close()


async def test_whatever_became_of_a_command_it_leaves_its_lane() -> None:
    told = " ".join([await _rough_life(seed) for seed in range(10)])
    for became in ("Settled", "Cancelled", "gone", "ZeroDivision", "waiting already", "its turn", "is closed"):
        assert became in told


async def _rough_life(seed: int) -> str:
    """What became of many commands to lanes, in which nobody is left at the end."""
    chance = random.Random(seed)
    database = Database(busy=lambda account_id: chance.random() < 0.3, takes=0.005)

    async def commit(commands: Sequence[Command], *, wait: bool) -> list[Outcome | None]:
        if chance.random() < 0.1:
            raise LedgerUnavailable("gone")
        if any(command.account_id == "acc0" for command in commands):
            raise ZeroDivisionError
        return await database.commit(commands, wait=wait)

    lanes = Lanes(commit, 2, max_batch=5, max_waiting=20, max_wait_seconds=0.01)
    asked = []
    for _ in range(300):
        asked.append(lanes.submit(Settle(account_id=chance.choice(ACCOUNTS))))
        if chance.random() < 0.1:
            chance.choice(asked).cancel()
        if chance.random() < 0.1:
            await asyncio.sleep(0.002)
    await lanes.close()
    asked.append(lanes.submit(Settle(account_id="acc1")))
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert (lanes._places._accounts, lanes._places._taken) == ({}, [0, 0])
    return repr(answers)


async def test_lanes_that_are_closed_first_finish_what_they_took() -> None:
    database = Database()
    in_one = [True]
    lanes = Lanes(database.commit, 2, in_one=lambda: in_one[0], max_batch=2)
    asked = [lanes.submit(Settle(account_id=account)) for account in ACCOUNTS]
    await asyncio.sleep(0.0015)
    in_one[0] = False
    await lanes.close()
    assert all(answer.done() and answer.exception() is None for answer in asked)
    assert database.most == 2


async def test_a_lane_that_had_to_wait_for_another_begins_as_soon_as_it_need_not_however_busy_that_one_is() -> None:
    database = Database()
    in_one = [False]
    lanes = Lanes(database.commit, 2, spread=lambda account_id: int(account_id[3:]), in_one=lambda: in_one[0])
    going_on = True

    async def keep_busy() -> None:
        while going_on:
            await lanes.submit(Settle(account_id="acc0"))

    busy = [asyncio.create_task(keep_busy()) for _ in range(2)]
    await asyncio.sleep(0)
    in_one[0] = True
    # Lane 0 has a batch under way, so nothing begins for this one now.
    waiting = lanes.submit(Settle(account_id="acc1"))
    in_one[0] = False
    try:
        await asyncio.wait_for(waiting, 5)
    finally:
        going_on = False
        await asyncio.gather(*busy)
        await lanes.close()
