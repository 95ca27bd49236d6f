"""A random life of a ledger against a naive model: on both databases, called directly and over HTTP."""

import asyncio
import itertools
import os
import shutil
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
    closing,
    contextmanager,
)
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tallystick.domain.account import GrantKind
from tallystick.domain.catalogue import Catalogue, Plan
from tallystick.domain.commands import (
    Capture,
    ClawBack,
    ExtendHold,
    GrantBonus,
    KeyedCommand,
    OpenAccount,
    PlaceHold,
    Release,
    Remove,
    RenewAllowance,
    Reverse,
    SetPlan,
    Spend,
)
from tallystick.domain.periods import Period
from tallystick.ledger import archiving
from tests.conftest import FrozenClock
from tests.ledger.doors import Answer, DirectDoor, Door, HttpDoor
from tests.ledger.model import BONUS, PROMOTIONAL, Hold, Lot, Model, month

T0 = datetime(2026, 1, 31, tzinfo=UTC)
SIZES = {"free": 25, "team": 100, "pro": 60}
PAID = {"pro"}
CATALOGUE = Catalogue([Plan("free", 25), Plan("team", 100), Plan("pro", 60, stripe_price="price_pro")])
INSUFFICIENT = "insufficient_credits"
HOUSEKEEPING = ("restart", "sweep")
"""What changes nothing: one after the other is tried by nothing but itself."""

names = st.sampled_from(["ann", "bob"])
amounts = st.integers(1, 120)


class Kept:
    """What a life remembers of one account beside its model: what can be referred to later."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.spent: dict[int, dict[Lot, int] | None] = {}
        """What each spend took, by the number of its entry; None once it was reversed."""
        self.holds: dict[int, Hold] = {}
        self.bought: dict[int, Lot] = {}
        self.versions = itertools.count(1)


class Life(RuleBasedStateMachine):
    """Commands, clock jumps, repeats, crashes and restarts, through one of the doors."""

    open_door: Callable[[FrozenClock], Door]
    steps: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.clock = FrozenClock(T0)
        self.door = type(self).open_door(self.clock)
        self.accounts: dict[str, Kept] = {}
        self.accepted: list[KeyedCommand] = []
        self.keys = itertools.count()
        self.prefix = uuid.uuid4().hex
        self.last = ""
        self.aged = False
        """Whether there may be something for the archive that was not tried yet."""

    def submit(self, command: KeyedCommand) -> Answer:
        answer = self.door.submit(command)
        if not answer.refused:
            self.accepted.append(command)
        return answer

    def on(self, name: str) -> tuple[Kept, Model, dict[str, str]]:
        """An account, its model at this instant, and what a new command for it has."""
        id = f"{self.prefix}-{name}"
        if name not in self.accounts:
            self.submit(OpenAccount(account_id=id, plan="free"))
            self.accounts[name] = Kept(Model(SIZES, PAID, "free", self.clock.now))
        kept = self.accounts[name]
        kept.model.pass_time(self.clock.now)
        return kept, kept.model, {"account_id": id, "key": f"k{next(self.keys)}"}

    def some(self, what: str) -> bool:
        return any(getattr(kept, what) for kept in self.accounts.values())

    def having(self, what: str, name: str) -> str:
        """That account if it has some, else one that has."""
        first = sorted(self.accounts, key=lambda other: other != name)
        return next(other for other in first if getattr(self.accounts[other], what))

    def done(self, step: str) -> None:
        type(self).steps[step] += 1
        self.last = step

    @rule(name=names, amount=amounts)
    def spend(self, name: str, amount: int) -> None:
        kept, model, new = self.on(name)
        can = amount <= model.available
        answer = self.submit(Spend(**new, amount=amount))
        assert answer.refused == ("" if can else INSUFFICIENT)
        if can:
            kept.spent[answer.seq] = model.take(amount)
        self.done("spend" if can else "spend too much")

    @rule(name=names, amount=amounts)
    def remove(self, name: str, amount: int) -> None:
        _, model, new = self.on(name)
        can = amount <= model.available
        answer = self.submit(Remove(**new, amount=amount, reason="a correction"))
        assert answer.refused == ("" if can else INSUFFICIENT)
        if can:
            model.take(amount)
        self.done("remove")

    @precondition(lambda self: self.some("spent"))
    @rule(name=names, data=st.data())
    def undo(self, name: str, data: st.DataObject) -> None:
        """A spend or a capture is reversed once, however long ago it was (S13)."""
        kept, model, new = self.on(self.having("spent", name))
        entry = data.draw(st.sampled_from(sorted(kept.spent)))
        parts = kept.spent[entry]
        answer = self.submit(Reverse(**new, entry=entry))
        if entry < self.door.archived(new["account_id"]):
            assert answer.refused == "entry_archived"
        elif parts is None:
            assert answer.refused == "already_reversed"
        else:
            assert answer.refused == ""
            model.give_back(parts, self.clock.now)
            kept.spent[entry] = None
        self.done("undo")

    @rule(name=names, amount=st.integers(1, 60), minutes=st.integers(1, 24 * 60))
    def hold(self, name: str, amount: int, minutes: int) -> None:
        kept, model, new = self.on(name)
        can = amount <= model.available
        answer = self.submit(PlaceHold(**new, amount=amount, seconds=60 * minutes))
        assert answer.refused == ("" if can else INSUFFICIENT)
        if can:
            kept.holds[answer.seq] = model.hold(amount, self.clock.now + timedelta(minutes=minutes))
        self.done("hold")

    @precondition(lambda self: self.some("holds"))
    @rule(name=names, data=st.data(), amount=st.none() | st.integers(1, 40), minutes=st.integers(1, 24 * 60))
    def extend(self, name: str, data: st.DataObject, amount: int | None, minutes: int) -> None:
        kept, model, new = self.on(self.having("holds", name))
        id = data.draw(st.sampled_from(sorted(kept.holds)))
        hold = kept.holds[id]
        answer = self.submit(ExtendHold(**new, hold=id, amount=amount, seconds=60 * minutes))
        if hold not in model.holds:
            assert answer.refused == "hold_not_open"
        elif (amount or 0) > model.available:
            assert answer.refused == INSUFFICIENT
        else:
            assert answer.refused == ""
            hold.until = max(hold.until, self.clock.now + timedelta(minutes=minutes))
            model.hold_more(hold, amount or 0)
        self.done("extend")

    @precondition(lambda self: self.some("holds"))
    @rule(name=names, data=st.data(), cost=st.integers(0, 80))
    def resolve(self, name: str, data: st.DataObject, cost: int) -> None:
        """The work is done and cost so much, or nothing; or the hold had run out by then (S12)."""
        kept, model, new = self.on(self.having("holds", name))
        id = data.draw(st.sampled_from(sorted(kept.holds)))
        hold = kept.holds[id]
        command = Capture(**new, hold=id, amount=cost) if cost else Release(**new, hold=id)
        answer = self.submit(command)
        if hold not in model.holds:
            assert answer.refused == "hold_not_open"
        elif cost > hold.amount + model.available:
            assert answer.refused == INSUFFICIENT
        elif cost:
            kept.spent[answer.seq] = model.capture(hold, cost, self.clock.now)
        else:
            assert answer.refused == ""
            model.release(hold)
        self.done("resolve")

    @rule(
        name=names,
        credits=st.integers(1, 50),
        kind=st.sampled_from([k for k in GrantKind if k is not GrantKind.ALLOWANCE]),
        starts=st.none() | st.integers(-48, 24 * 40),
        lasts=st.none() | st.integers(1, 24 * 60),
    )
    def grant(self, name: str, credits: int, kind: GrantKind, starts: int | None, lasts: int | None) -> None:
        kept, model, new = self.on(name)
        now = self.clock.now
        begin = None if starts is None else now + timedelta(hours=starts)
        end = None if lasts is None else (begin or now) + timedelta(hours=lasts)
        answer = self.submit(GrantBonus(**new, credits=credits, kind=kind, effective_at=begin, expires_at=end))
        assert answer.refused == ("grant_expired" if end is not None and end <= now else "")
        if not answer.refused:
            place = PROMOTIONAL if kind is GrantKind.PROMOTIONAL else BONUS
            lot = model.grant(place, credits, begin or now, end, now)
            if end is None:
                kept.bought[answer.seq] = lot
        self.done("grant")

    @precondition(lambda self: self.some("bought"))
    @rule(name=names, data=st.data(), share=st.integers(0, 4), frozen=st.booleans())
    def take_back(self, name: str, data: st.DataObject, share: int, frozen: bool) -> None:
        """A refund in part or in full, a dispute, its end: more or less is taken back, and debt comes and goes."""
        kept, model, new = self.on(self.having("bought", name))
        id = data.draw(st.sampled_from(sorted(kept.bought)))
        lot = kept.bought[id]
        total = lot.granted * share // 4
        answer = self.submit(ClawBack(**new, grant=id, total=total, version=next(kept.versions), frozen=frozen))
        assert answer.refused == ""
        model.claw_back(lot, total, frozen, self.clock.now)
        self.done("take back")

    @rule(name=names, plan=st.sampled_from(sorted(SIZES)))
    def change_plan(self, name: str, plan: str) -> None:
        _, model, new = self.on(name)
        assert self.submit(SetPlan(**new, plan=plan)).refused == ""
        model.change_plan(plan, self.clock.now)
        self.done("change plan")

    @rule(name=names, months=st.sampled_from([1, 12]), ago=st.integers(0, 24 * 40))
    def pay(self, name: str, months: int, ago: int) -> None:
        """An invoice of the paid plan is paid, maybe long after its period began (S15)."""
        _, model, new = self.on(name)
        begins = self.clock.now - timedelta(hours=ago)
        period = Period(begins, month(begins, months))
        assert self.submit(RenewAllowance(**new, plan="pro", period=period, months=months)).refused == ""
        model.pay("pro", begins, months, self.clock.now)
        self.done("pay")

    @rule(minutes=st.integers(1, 120) | st.integers(1, 60 * 24 * 40) | st.just(60 * 24 * 95))
    def wait(self, minutes: int) -> None:
        self.clock.advance(minutes=minutes)
        self.aged = self.clock.now > T0 + archiving.YOUNGEST
        self.done("wait")

    @precondition(lambda self: self.accepted)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """Said again it is answered again; another request under its key is a conflict (S7)."""
        command = data.draw(st.sampled_from(self.accepted))
        assert self.door.submit(command).replayed or isinstance(command, OpenAccount | SetPlan)
        if isinstance(command, Spend):
            other = Spend(account_id=command.account_id, key=command.key, amount=command.amount + 1)
            assert self.submit(other).refused == "idempotency_conflict"
        self.done("repeat")

    @precondition(lambda self: self.last not in HOUSEKEEPING)
    @rule()
    def restart(self) -> None:
        self.door.restart()
        self.done("restart")

    @rule(name=names)
    def crash(self, name: str) -> None:
        """It happened or it did not; whichever, it is still so afterwards, and saying it again does it once (S7)."""
        kept, model, new = self.on(name)
        if not model.available:
            return
        command = Spend(**new, amount=1)
        happened = self.door.crash(command)
        answer = self.submit(command)
        assert answer.replayed == happened
        kept.spent[answer.seq] = model.take(1)
        self.done("crash")

    @precondition(lambda self: self.last not in HOUSEKEEPING)
    @rule()
    def sweep(self) -> None:
        self.door.sweep()
        self.done("sweep")

    @precondition(lambda self: self.aged)
    @rule()
    def archive(self) -> None:
        """What is old enough leaves the database, and nothing else changes (S5)."""
        self.aged = False
        self.door.archive(self.clock.now - archiving.YOUNGEST)
        self.done("archive")

    @invariant()
    def agrees_with_the_model(self) -> None:
        for name, kept in self.accounts.items():
            model = kept.model
            model.pass_time(self.clock.now)
            found = self.door.balances(f"{self.prefix}-{name}")
            expected = (model.monthly, model.bonus, model.available, model.debt)
            assert found == expected

    def teardown(self) -> None:
        for name in self.accounts:
            assert self.door.differences(f"{self.prefix}-{name}") == []
        self.door.close()


STEPS_OF_A_LIFE = 50
LIVES_OF_A_DATABASE = 10
"""Sweeping and archiving go through all accounts: in one database, every step would cost more than the one before."""
LIVES_OF_A_SEED = 500
"""Hypothesis remembers every life that it drew, and looks each up among them."""
SEEDS_OF_A_RUN = 1_000_000
"""So far apart are the seeds of two runs, which so have no life in common."""
KINDS = "spend,undo,hold,extend,resolve,grant,take back,change plan,pay,crash,archive".split(",")
ENOUGH_FOR_ALL = 5_000
"""With so many steps every kind of command must have been among them."""


class Databases:
    """One after the other, each for a few lives."""

    def __init__(self, fresh: Callable[[], AbstractContextManager[str]]) -> None:
        self._fresh = fresh
        self._lives = itertools.count()
        self._current = ExitStack()
        self._url = ""

    def next(self) -> str:
        """The address of the one for the next life."""
        if next(self._lives) % LIVES_OF_A_DATABASE == 0:
            self.close()
            self._url = self._current.enter_context(self._fresh())
        return self._url

    def close(self) -> None:
        self._current.close()


def live(
    door: Callable[[str, Catalogue, FrozenClock], Door],
    fresh: Callable[[], AbstractContextManager[str]],
    steps: int,
) -> None:
    """At least `steps` steps in all, counted.

    TALLYSTICK_STATEFUL_TIMES multiplies them for a long run; TALLYSTICK_STATEFUL_SEED draws other lives.
    """
    steps *= int(os.environ.get("TALLYSTICK_STATEFUL_TIMES", "1"))
    first = int(os.environ.get("TALLYSTICK_STATEFUL_SEED", "1"))
    taken: Counter[str] = Counter()
    databases = Databases(fresh)
    open_door = staticmethod(lambda clock: door(databases.next(), CATALOGUE, clock))
    machine: type[Life] = type("LifeThroughOneDoor", (Life,), {"open_door": open_door, "steps": taken})
    with pytest.MonkeyPatch.context() as patch, closing(databases):
        patch.setattr(archiving, "LEAST", 1)
        for more in itertools.count():
            seed(first * SEEDS_OF_A_RUN + more)(machine)
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=max(1, min(LIVES_OF_A_SEED, (steps - taken.total()) // STEPS_OF_A_LIFE)),
                    stateful_step_count=STEPS_OF_A_LIFE,
                    deadline=None,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
            if taken.total() >= steps:
                break
    print(f"{taken.total():,} steps: {dict(taken)}")
    assert steps < ENOUGH_FOR_ALL or min(taken[kind] for kind in KINDS) > 0


@pytest.mark.parametrize("door", [DirectDoor, HttpDoor])
def test_s5_to_s18_any_life_on_sqlite_agrees_with_the_model(sqlite_template: Path, door: Any) -> None:
    @contextmanager
    def fresh() -> Iterator[str]:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(sqlite_template, Path(folder) / "life.db")
            yield f"sqlite:///{folder}/life.db"

    live(door, fresh, 7_000 if door is DirectDoor else 400)


@pytest.mark.parametrize("door", [DirectDoor, HttpDoor])
def test_s5_to_s18_any_life_on_postgresql_agrees_with_the_model(
    fresh_postgres: Callable[[], AbstractAsyncContextManager[str]], door: Any
) -> None:
    @contextmanager
    def fresh() -> Iterator[str]:
        database = AsyncExitStack()
        url = asyncio.run(database.enter_async_context(fresh_postgres()))
        try:
            yield url
        finally:
            asyncio.run(database.aclose())

    live(door, fresh, 2_600 if door is DirectDoor else 200)
