"""A random life of a ledger against a naive model: on both databases, called directly and over HTTP."""

import itertools
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tallystick.domain.catalogue import Catalogue, Plan
from tallystick.domain.commands import (
    Capture,
    GrantBonus,
    KeyedCommand,
    OpenAccount,
    PlaceHold,
    Release,
    Reverse,
    SetPlan,
    Spend,
)
from tallystick.domain.periods import period_containing
from tests.conftest import FrozenClock
from tests.ledger.doors import Answer, DirectDoor, Door, HttpDoor

T0 = datetime(2026, 1, 31, tzinfo=UTC)
CATALOGUE = Catalogue([Plan("free", 25), Plan("team", 100)])
ALLOWANCE = {"free": 25, "team": 100}
INSUFFICIENT = "insufficient_credits"
names = st.sampled_from(["ann", "bob"])


class Model:
    """What one account should have, worked out the plain way: a monthly number and a list of bonus lots."""

    def __init__(self, now: datetime) -> None:
        self.anchor = now
        self.plan = "free"
        self.period = period_containing(now, now)
        self.promised = 25
        self.monthly = 25
        self.bonus: list[tuple[datetime | None, int]] = []

    def settle(self, now: datetime) -> None:
        self.bonus = [(end, left) for end, left in self.bonus if left and (end is None or now < end)]
        if now >= self.period.end:
            self.period = period_containing(self.anchor, now)
            self.monthly = self.promised = ALLOWANCE[self.plan]

    @property
    def total(self) -> int:
        return self.monthly + sum(left for _, left in self.bonus)

    def spend(self, amount: int) -> None:
        taken = min(self.monthly, amount)
        self.monthly -= taken
        amount -= taken
        self.bonus.sort(key=lambda lot: lot[0] or datetime.max.replace(tzinfo=UTC))
        left = []
        for end, remaining in self.bonus:
            taken = min(remaining, amount)
            amount -= taken
            left.append((end, remaining - taken))
        self.bonus = [lot for lot in left if lot[1]]

    def change_plan(self, plan: str, now: datetime) -> None:
        self.plan = plan
        more = ALLOWANCE[plan] - self.promised
        if more > 0:
            length = self.period.end - self.period.start
            self.monthly += more * (self.period.end - now) // length
            self.promised = ALLOWANCE[plan]


class Life(RuleBasedStateMachine):
    """Commands, clock jumps, repeats, crashes and restarts, through one of the doors."""

    open_door: Callable[[FrozenClock], Door]

    def __init__(self) -> None:
        super().__init__()
        self.clock = FrozenClock(T0)
        self.door = type(self).open_door(self.clock)
        self.models: dict[str, Model] = {}
        self.accepted: list[KeyedCommand] = []
        self.keys = itertools.count()
        self.prefix = uuid.uuid4().hex

    def submit(self, command: KeyedCommand) -> Answer:
        answer = self.door.submit(command)
        if not answer.refused:
            self.accepted.append(command)
        return answer

    def id(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def model(self, name: str) -> Model:
        if name not in self.models:
            self.submit(OpenAccount(account_id=self.id(name), plan="free"))
            self.models[name] = Model(self.clock.now)
        self.models[name].settle(self.clock.now)
        return self.models[name]

    def key(self) -> str:
        return f"k{next(self.keys)}"

    @rule(name=names, amount=st.integers(1, 120))
    def spend(self, name: str, amount: int) -> None:
        model = self.model(name)
        answer = self.submit(Spend(account_id=self.id(name), key=self.key(), amount=amount))
        assert answer.refused == (INSUFFICIENT if amount > model.total else "")
        if amount <= model.total:
            model.spend(amount)

    @rule(name=names, amount=st.integers(1, 120), cost=st.integers(0, 130))
    def work(self, name: str, amount: int, cost: int) -> None:
        """A hold that is captured, or released when the work cost nothing or more than there is (S12)."""
        model, id = self.model(name), self.id(name)
        held = self.submit(PlaceHold(account_id=id, key=self.key(), amount=amount))
        assert held.refused == (INSUFFICIENT if amount > model.total else "")
        if held.refused:
            return
        hold = held.seq
        assert self.door.balances(id)[2] == model.total - amount
        if 0 < cost <= model.total:
            self.submit(Capture(account_id=id, key=self.key(), hold=hold, amount=cost))
            model.spend(cost)
            return
        if cost:
            refused = self.submit(Capture(account_id=id, key=self.key(), hold=hold, amount=cost))
            assert refused.refused == INSUFFICIENT
        self.submit(Release(account_id=id, key=self.key(), hold=hold))

    @rule(name=names, amount=st.integers(1, 120))
    def undo(self, name: str, amount: int) -> None:
        """A spend that is reversed leaves everything as it was (S13)."""
        model, id = self.model(name), self.id(name)
        if amount > model.total:
            return
        spent = self.submit(Spend(account_id=id, key=self.key(), amount=amount))
        self.submit(Reverse(account_id=id, key=self.key(), entry=spent.seq))

    @rule(name=names, minutes=st.integers(1, 40))
    def forgotten_work(self, name: str, minutes: int) -> None:
        """A hold nobody resolves runs out by itself (S12)."""
        model, id = self.model(name), self.id(name)
        if not model.total:
            return
        self.submit(PlaceHold(account_id=id, key=self.key(), amount=model.total, seconds=60 * minutes))
        assert self.door.balances(id)[2] == 0
        self.clock.advance(minutes=minutes)

    @rule(name=names, credits=st.integers(1, 50), days=st.none() | st.integers(1, 60))
    def grant(self, name: str, credits: int, days: int | None) -> None:
        model = self.model(name)
        end = None if days is None else self.clock.now + timedelta(days=days)
        self.submit(GrantBonus(account_id=self.id(name), key=self.key(), credits=credits, expires_at=end))
        model.bonus.append((end, credits))

    @rule(name=names, plan=st.sampled_from(["free", "team"]))
    def change_plan(self, name: str, plan: str) -> None:
        self.model(name).change_plan(plan, self.clock.now)
        self.submit(SetPlan(account_id=self.id(name), key=self.key(), plan=plan))

    @rule(hours=st.integers(1, 24 * 40))
    def wait(self, hours: int) -> None:
        self.clock.advance(hours=hours)

    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        if not self.accepted:
            return
        command = data.draw(st.sampled_from(self.accepted))
        assert self.door.submit(command).replayed or isinstance(command, OpenAccount | SetPlan)
        if isinstance(command, Spend):
            other = Spend(account_id=command.account_id, key=command.key, amount=command.amount + 1)
            assert self.submit(other).refused == "idempotency_conflict"

    @rule()
    def restart(self) -> None:
        self.door.restart()

    @rule(name=names)
    def crash(self, name: str) -> None:
        """It happened or it did not; whichever, it is still so afterwards, and saying it again does it once (S7)."""
        model = self.model(name)
        if not model.total:
            return
        command = Spend(account_id=self.id(name), key=self.key(), amount=1)
        happened = self.door.crash(command)
        assert self.submit(command).replayed == happened
        model.spend(1)

    @rule()
    def sweep(self) -> None:
        self.door.sweep()

    @invariant()
    def agrees_with_the_model(self) -> None:
        for name, model in self.models.items():
            model.settle(self.clock.now)
            monthly, bonus, _ = self.door.balances(self.id(name))
            assert (monthly, monthly + bonus) == (model.monthly, model.total)

    def teardown(self) -> None:
        for name in self.models:
            assert self.door.differences(self.id(name)) == []
        self.door.close()


STEPS_OF_A_LIFE = 40


def live(door: Callable[[str, Catalogue, FrozenClock], Door], url: str, steps: int) -> None:
    """`steps` steps in all; TALLYSTICK_STATEFUL_TIMES multiplies them for a long run."""
    times = int(os.environ.get("TALLYSTICK_STATEFUL_TIMES", "1"))
    open_door = staticmethod(lambda clock: door(url, CATALOGUE, clock))
    machine = type("LifeThroughOneDoor", (Life,), {"open_door": open_door})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=times * steps // STEPS_OF_A_LIFE,
            stateful_step_count=STEPS_OF_A_LIFE,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("door", [DirectDoor, HttpDoor])
def test_s5_to_s18_any_life_on_sqlite_agrees_with_the_model(sqlite_template: Path, door: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(sqlite_template, Path(folder) / "life.db")
        live(door, f"sqlite:///{folder}/life.db", 6_400 if door is DirectDoor else 800)


@pytest.mark.usefixtures("postgres_template")
@pytest.mark.parametrize("door", [DirectDoor, HttpDoor])
def test_s5_to_s18_any_life_on_postgresql_agrees_with_the_model(postgres_url: str, door: Any) -> None:
    live(door, postgres_url, 2_600 if door is DirectDoor else 400)
