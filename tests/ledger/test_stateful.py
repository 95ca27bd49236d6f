"""A random life of a ledger against a naive model, on both databases, with restarts and repeated commands."""

import asyncio
import shutil
import tempfile
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
from tallystick.domain.errors import IdempotencyConflict, InsufficientCredits, Refusal
from tallystick.domain.periods import period_containing
from tallystick.ledger import Ledger
from tallystick.ledger.verify import verify
from tests.conftest import FrozenClock

T0 = datetime(2026, 1, 31, tzinfo=UTC)
CATALOGUE = Catalogue([Plan("free", 25), Plan("team", 100)])
ALLOWANCE = {"free": 25, "team": 100}
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
    """Commands, clock jumps, repeats and restarts on a real store."""

    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = FrozenClock(T0)
        self.ledger = self.run_(Ledger.open(self.url, CATALOGUE, self.clock))
        self.models: dict[str, Model] = {}
        self.accepted: list[KeyedCommand] = []
        self.prefix = datetime.now(UTC).isoformat()

    def run_(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def submit(self, command: KeyedCommand) -> Any:
        try:
            receipt = self.run_(self.ledger.submit(command))
        except Refusal as refusal:
            return refusal
        self.accepted.append(command)
        return receipt

    def id(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def model(self, name: str) -> Model:
        if name not in self.models:
            self.submit(OpenAccount(account_id=self.id(name), plan="free"))
            self.models[name] = Model(self.clock.now)
        self.models[name].settle(self.clock.now)
        return self.models[name]

    def key(self) -> str:
        return f"k{len(self.accepted)}-{self.clock.now.timestamp()}"

    @rule(name=names, amount=st.integers(1, 120))
    def spend(self, name: str, amount: int) -> None:
        model = self.model(name)
        answer = self.submit(Spend(account_id=self.id(name), key=self.key(), amount=amount))
        assert isinstance(answer, InsufficientCredits) == (amount > model.total)
        if amount <= model.total:
            model.spend(amount)

    @rule(name=names, amount=st.integers(1, 120), cost=st.integers(0, 130))
    def work(self, name: str, amount: int, cost: int) -> None:
        """A hold that is captured, or released when the work cost nothing or more than there is (S12)."""
        model, id = self.model(name), self.id(name)
        held = self.submit(PlaceHold(account_id=id, key=self.key(), amount=amount))
        assert isinstance(held, InsufficientCredits) == (amount > model.total)
        if isinstance(held, Refusal):
            return
        hold = held.entry.seq
        assert self.run_(self.ledger.account(id)).available == model.total - amount
        if 0 < cost <= model.total:
            self.submit(Capture(account_id=id, key=self.key(), hold=hold, amount=cost))
            model.spend(cost)
            return
        if cost:
            refused = self.submit(Capture(account_id=id, key=self.key(), hold=hold, amount=cost))
            assert isinstance(refused, InsufficientCredits)
        self.submit(Release(account_id=id, key=self.key(), hold=hold))

    @rule(name=names, amount=st.integers(1, 120))
    def undo(self, name: str, amount: int) -> None:
        """A spend that is reversed leaves everything as it was (S13)."""
        model, id = self.model(name), self.id(name)
        if amount > model.total:
            return
        spent = self.submit(Spend(account_id=id, key=self.key(), amount=amount))
        self.submit(Reverse(account_id=id, key=self.key(), entry=spent.entry.seq))

    @rule(name=names, minutes=st.integers(1, 40))
    def forgotten_work(self, name: str, minutes: int) -> None:
        """A hold nobody resolves runs out by itself (S12)."""
        model, id = self.model(name), self.id(name)
        if not model.total:
            return
        self.submit(PlaceHold(account_id=id, key=self.key(), amount=model.total, seconds=60 * minutes))
        assert self.run_(self.ledger.account(id)).available == 0
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
        assert self.run_(self.ledger.submit(command)).replayed
        if isinstance(command, Spend):
            other = Spend(account_id=command.account_id, key=command.key, amount=command.amount + 1)
            assert isinstance(self.submit(other), IdempotencyConflict)

    @rule()
    def restart(self) -> None:
        self.run_(self.ledger.close())
        self.ledger = self.run_(Ledger.open(self.url, CATALOGUE, self.clock))

    @rule()
    def sweep(self) -> None:
        self.run_(self.ledger.sweep())

    @invariant()
    def agrees_with_the_model(self) -> None:
        for name, model in self.models.items():
            model.settle(self.clock.now)
            account = self.run_(self.ledger.account(self.id(name)))
            assert (account.monthly, account.monthly + account.bonus) == (model.monthly, model.total)

    def teardown(self) -> None:
        for name in self.models:
            assert self.run_(verify(self.ledger, self.id(name))).differences == []
        self.run_(self.ledger.close())
        self.loop.close()


def live(url: str, examples: int) -> None:
    machine = type("LifeOnOneDatabase", (Life,), {"url": url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_s5_to_s18_any_life_on_sqlite_agrees_with_the_model(sqlite_template: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(sqlite_template, Path(folder) / "life.db")
        live(f"sqlite:///{folder}/life.db", 120)


@pytest.mark.usefixtures("postgres_template")
def test_s5_to_s18_any_life_on_postgresql_agrees_with_the_model(postgres_url: str) -> None:
    live(postgres_url, 60)
