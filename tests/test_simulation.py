"""The simulator: that the ledger comes through rough days, and that a ledger with a fault does not."""

import asyncio
import re
import subprocess
import sys
from datetime import datetime, timedelta
from typing import Any

import pytest

from tallystick import Pack, Plan, Tallystick
from tallystick.domain.errors import HoldNotOpen, InvalidInput, InvalidInstant, LedgerUnavailable
from tallystick.ledger.batch import NO_HISTORY, decide_batch
from tallystick.ledger.sqlite_store import SqliteStore
from tallystick.testing import FaultRates, InvariantBroken, LoopIsRunning, VirtualClock, simulate

PLANS = (Plan("free", 25), Plan("plus", 500, can_buy=True, stripe_price="price_plus"), Plan("team", 100))
PACKS = (Pack("credits_200", credits=200, price="5.99 USD", stripe_price="price_pack"),)


@pytest.mark.parametrize("tens", range(8))
def test_s4_to_s9_hold_on_rough_days(tens: int) -> None:
    days = [simulate(PLANS, PACKS, seed=seed, steps=80) for seed in range(1_000 + tens * 10, 1_010 + tens * 10)]
    # Days on which nothing failed, or nothing was done, would prove nothing.
    assert all(day.steps == 80 for day in days)
    assert sum(day.accepted for day in days) > 300
    assert sum(day.refused for day in days) > 100
    happened = set().union(*(day.faults for day in days))
    assert happened == set(FaultRates.__slots__)


def test_the_same_seed_is_the_same_day() -> None:
    first, again, other = (simulate(PLANS, PACKS, seed=seed, steps=60) for seed in (7, 7, 8))
    assert first == again
    assert first.digest != other.digest


def test_without_faults_every_command_is_answered() -> None:
    day = simulate(PLANS, seed=1, steps=60, rates=FaultRates(0, 0, 0, 0, 0, 0, 0))
    assert (day.unknown, day.crashes, day.faults) == (0, 0, {})


@pytest.mark.parametrize("name", ["steps", "callers", "accounts"])
def test_a_day_on_which_nothing_could_happen_is_refused(name: str) -> None:
    asked: Any
    for asked in (0, -1, 2.5, None):
        with pytest.raises(InvalidInput, match=f"{name} must be a whole number from 1"):
            simulate(PLANS, seed=1, **{name: asked})


@pytest.mark.filterwarnings("error")
async def test_a_day_inside_a_running_loop_is_refused_with_the_way_out() -> None:
    with pytest.raises(LoopIsRunning, match=r"asyncio\.to_thread\(simulate"):
        simulate(PLANS, seed=1)
    day = await asyncio.to_thread(simulate, PLANS, seed=1, steps=5)
    assert day == await asyncio.to_thread(simulate, PLANS, seed=1, steps=5)


@pytest.mark.parametrize("words", [["--steps", "0"], ["--seeds", "-1"]])
def test_many_days_on_which_nothing_could_happen_are_refused(words: list[str]) -> None:
    command = [sys.executable, "-m", "tallystick.testing", *words]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 2
    assert f"argument {words[0]}: invalid count value" in answer.stderr


async def test_s2_s14_a_virtual_clock_is_an_applications_clock(database_url: str) -> None:
    clock = VirtualClock()
    start = clock()
    async with Tallystick(database_url, plans=PLANS, clock=clock) as credits:
        assert (await credits.open_account("a")).available == 25
        await credits.spend("a", 5, key="s")
        assert (await credits.entries("a", limit=1))[0].recorded_at == start == clock()
        clock.advance(timedelta(days=31))
        balance = await credits.balance("a")
        assert balance.available == 25
        async with credits.hold("a", 5, seconds=60) as hold:
            clock.advance(timedelta(seconds=60))
            with pytest.raises(HoldNotOpen):
                await hold.capture(5)


def test_s2_a_virtual_clock_begins_at_an_instant() -> None:
    with pytest.raises(InvalidInstant, match="timezone"):
        VirtualClock(datetime(2026, 1, 31))  # noqa: DTZ001


def test_s8_a_store_that_answers_before_it_has_written_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = SqliteStore.commit

    async def hasty(self: SqliteStore, commands: Any, *, wait: bool) -> Any:
        try:
            return await honest(self, commands, wait=wait)
        except LedgerUnavailable:
            accounts = {c.account_id: await self.account(c.account_id) for c in commands}
            there = {id: account for id, account in accounts.items() if account is not None}
            return decide_batch(commands, there, {}, NO_HISTORY, self._clock(), self._catalogue).outcomes

    monkeypatch.setattr(SqliteStore, "commit", hasty)
    with pytest.raises(InvariantBroken, match=r"S[78] was broken with seed \d+"):
        for seed in range(40):
            simulate(PLANS, PACKS, seed=seed, steps=60)


def test_s5_a_row_that_is_not_what_its_entries_say_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = SqliteStore._rows

    def generous(self: SqliteStore, batch: Any) -> Any:
        return [(*row[:-1], one_more_than(row[-1]) if row[1] == 5 else row[-1]) for row in honest(self, batch)]

    def one_more_than(state: str | None) -> str | None:
        return state and re.sub(
            r'(\[\d+,"\w+",)(\d+)', lambda grant: grant[1] + str(int(grant[2]) + 1), state, count=1
        )

    monkeypatch.setattr(SqliteStore, "_rows", generous)
    with pytest.raises(InvariantBroken, match="S5"):
        for seed in range(20):
            simulate(PLANS, PACKS, seed=seed, steps=60)
