"""One account driven like a ledger would, on the pure function: what the tests of its rules share."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tallystick.domain.account import Account, Entry
from tallystick.domain.catalogue import Catalogue, Plan
from tallystick.domain.commands import (
    ClawBack,
    Command,
    GrantBonus,
    OpenAccount,
    PlaceHold,
    RenewAllowance,
    Reverse,
    SetPlan,
    Settle,
    Spend,
)
from tallystick.domain.decide import decide
from tallystick.domain.errors import Refusal
from tallystick.domain.periods import Period
from tallystick.domain.replay import replay
from tallystick.domain.taking_back import Past

CATALOGUE = Catalogue(
    [
        Plan("free", allowance=25),
        Plan("plus", allowance=500, can_buy=True, stripe_price="price_plus"),
        Plan("pro", allowance=2_000, can_buy=True, stripe_price="price_pro", stripe_price_yearly="price_pro_yearly"),
        Plan("team", allowance=100),
        Plan("payg", allowance=0, can_buy=True),
    ]
)
T0 = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)


class Book:
    """One account and all its entries, driven like a ledger would."""

    def __init__(self, plan: str = "free") -> None:
        self.now = T0
        self.account: Account | None = None
        self.entries: list[Entry] = []
        self.keys = 0
        self.do(OpenAccount(account_id="acme", plan=plan))

    def try_(self, command: Command) -> Refusal | list[Entry]:
        outcome = decide(self.account, command, self.now, CATALOGUE, past_of(command, self.entries))
        if isinstance(outcome, Refusal):
            return outcome
        self.account = outcome.account
        self.entries.extend(outcome.entries)
        assert replay("acme", self.entries) == self.account
        return list(outcome.entries)

    def do(self, command: Command) -> list[Entry]:
        outcome = self.try_(command)
        assert not isinstance(outcome, Refusal), outcome
        return outcome

    def key(self) -> str:
        self.keys += 1
        return f"k{self.keys}"

    def spend(self, amount: int) -> Entry:
        return self.do(Spend(account_id="acme", key=self.key(), amount=amount))[-1]

    def grant(self, credits: int, **options: Any) -> Entry:
        return self.do(GrantBonus(account_id="acme", key=self.key(), credits=credits, **options))[-1]

    def set_plan(self, plan: str, **options: Any) -> list[Entry]:
        return self.do(SetPlan(account_id="acme", key=self.key(), plan=plan, **options))

    def renew(self, plan: str, start: datetime, end: datetime, **options: Any) -> list[Entry]:
        paid = Period(start, end)
        return self.do(RenewAllowance(account_id="acme", key=self.key(), plan=plan, period=paid, **options))

    def settle(self) -> list[Entry]:
        return self.do(Settle(account_id="acme"))

    @property
    def balances(self) -> tuple[int, int]:
        assert self.account is not None
        return self.account.monthly, self.account.bonus

    def hold(self, amount: int, **options: Any) -> Entry:
        return self.do(PlaceHold(account_id="acme", key=self.key(), amount=amount, **options))[-1]


def past_of(command: Command, entries: Sequence[Entry]) -> Past:
    """What a store would look up for `command`."""
    by_number = {entry.seq: entry for entry in entries}
    if isinstance(command, ClawBack):
        return Past(origins=by_number)
    if isinstance(command, Reverse):
        done = (entry.seq for entry in entries if entry.reverses == command.entry)
        return Past(by_number.get(command.entry), next(done, None), by_number)
    return Past()
