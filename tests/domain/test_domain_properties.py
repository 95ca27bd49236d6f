"""Invariants of the ledger under random lives of an account, on the pure function."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.domain.account import Account, Entry, GrantKind
from tallystick.domain.catalogue import Catalogue, Plan
from tallystick.domain.commands import (
    Capture,
    ClawBack,
    Command,
    ExtendHold,
    GrantBonus,
    OpenAccount,
    PlaceHold,
    Release,
    Remove,
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
from tallystick.domain.settle import next_due
from tests.domain.book import past_of

CATALOGUE = Catalogue(
    [Plan("free", 25), Plan("plus", 500, can_buy=True, stripe_price="price_plus"), Plan("team", 100)]
)
T0 = datetime(2026, 1, 31, tzinfo=UTC)

plans = st.sampled_from(["free", "plus", "team"])
bonus_kinds = st.sampled_from([k for k in GrantKind if k is not GrantKind.ALLOWANCE])
days = st.integers(-40, 40).map(lambda n: timedelta(days=n))
numbers = st.integers(1, 40)
steps = st.one_of(
    st.tuples(st.just("spend"), st.integers(1, 600)),
    st.tuples(st.just("grant"), st.integers(1, 300), bonus_kinds, st.none() | days, st.none() | days),
    st.tuples(st.just("hold"), st.integers(1, 400), st.integers(60, 86_400)),
    st.tuples(st.just("extend"), numbers, st.integers(1, 200), st.none() | st.integers(60, 86_400)),
    st.tuples(st.just("capture"), numbers, st.integers(1, 600)),
    st.tuples(st.just("release"), numbers),
    st.tuples(st.just("reverse"), numbers),
    st.tuples(st.just("claw back"), numbers, st.integers(0, 300), st.booleans()),
    st.tuples(st.just("remove"), st.integers(1, 100)),
    st.tuples(st.just("plan"), plans),
    st.tuples(st.just("renew"), plans, days, st.integers(1, 60)),
    st.tuples(st.just("wait"), st.timedeltas(timedelta(0), timedelta(days=70))),
    st.tuples(st.just("settle")),
)


@settings(max_examples=600, deadline=None)
@given(life=st.lists(steps, max_size=40))
def test_s5_s6_s10_s12_s13_s23_s24_s25_hold_through_any_life(life: list[tuple[Any, ...]]) -> None:
    now = T0
    outcome = decide(None, OpenAccount(account_id="a", plan="free"), now, CATALOGUE)
    assert not isinstance(outcome, Refusal)
    account, entries = outcome.account, list(outcome.entries)
    for n, step in enumerate(life):
        if step[0] == "wait":
            now += step[1]
            continue
        command = _command(step, f"k{n}", now)
        outcome = decide(account, command, now, CATALOGUE, past_of(command, entries))
        if isinstance(outcome, Refusal):
            continue
        if isinstance(command, Spend):
            _check_burn_order(account, outcome.entries, now)
        account = outcome.account
        entries.extend(outcome.entries)
        _check(account, now)
    assert replay("a", entries) == account
    assert sum(e.amount for e in entries) == account.monthly + account.bonus


def _command(step: tuple[Any, ...], key: str, now: datetime) -> Command:
    match step:
        case ("spend", amount):
            return Spend(account_id="a", key=key, amount=amount)
        case ("grant", credits, kind, effective, expires):
            effective_at = None if effective is None else now + effective
            expires_at = None if expires is None else now + expires
            if expires_at is not None and expires_at <= (effective_at or now):
                expires_at = None
            return GrantBonus(
                account_id="a",
                key=key,
                credits=credits,
                kind=kind,
                effective_at=effective_at,
                expires_at=expires_at,
            )
        case ("hold", amount, seconds):
            return PlaceHold(account_id="a", key=key, amount=amount, seconds=seconds)
        case ("extend", hold, amount, seconds):
            return ExtendHold(account_id="a", key=key, hold=hold, amount=amount, seconds=seconds)
        case ("capture", hold, amount):
            return Capture(account_id="a", key=key, hold=hold, amount=amount)
        case ("release", hold):
            return Release(account_id="a", key=key, hold=hold)
        case ("reverse", entry):
            return Reverse(account_id="a", key=key, entry=entry)
        case ("claw back", grant, total, frozen):
            version = int(key.removeprefix("k")) + 1
            return ClawBack(account_id="a", key=key, grant=grant, total=total, version=version, frozen=frozen)
        case ("remove", amount):
            return Remove(account_id="a", key=key, amount=amount, reason="correction")
        case ("plan", plan):
            return SetPlan(account_id="a", key=key, plan=plan)
        case ("renew", plan, offset, length):
            start = now + offset
            return RenewAllowance(
                account_id="a", key=key, plan=plan, period=Period(start, start + timedelta(days=length))
            )
        case _:
            return Settle(account_id="a")


def _check(account: Account, now: datetime) -> None:
    assert min(account.monthly, account.bonus, account.held, account.debt, account.available) >= 0
    bonus = [g.remaining for g in account.grants if g.kind is not GrantKind.ALLOWANCE]
    assert account.bonus == sum(bonus)
    assert account.monthly + account.bonus == sum(g.remaining for g in account.grants)
    assert sum(h.amount for h in account.holds) == sum(g.held for g in account.grants)
    assert account.held == sum(h.amount for h in account.holds) + account.frozen
    assert account.debt == sum(c.owed for c in account.clawbacks)
    assert all(0 <= c.owed <= c.total for c in account.clawbacks)
    frozen = {c.grant_id for c in account.clawbacks if c.frozen}
    assert all(g.frozen is (g.id in frozen) for g in account.grants)
    assert all(now < h.expires_at for h in account.holds)
    assert not any(g.free for g in account.grants for c in account.clawbacks if c.owed and g.id == c.grant_id)
    assert list(account.grants) == sorted(account.grants, key=lambda g: g.burn_key)
    for grant in account.grants:
        assert grant.remaining > 0
        assert grant.effective_at <= now
        assert grant.free >= 0
        # What is over stays only for the holds it serves (S12).
        assert grant.expires_at is None or now < grant.expires_at or grant.free == 0
    assert all(now < s.grant.effective_at for s in account.scheduled)
    # A sweep that found work here would find it for ever (S14).
    due = next_due(account, CATALOGUE)
    assert due is None or now < due


def _check_burn_order(before: Account, entries: tuple[Entry, ...], now: datetime) -> None:
    """Nothing later in the burn order is touched while something earlier is left."""
    settled = decide(before, Settle(account_id="a"), now, CATALOGUE)
    assert not isinstance(settled, Refusal)
    spent = entries[-1]
    taken = {lot.grant_id: lot.amount for lot in spent.lots}
    assert sum(taken.values()) == -spent.amount
    free = [grant for grant in settled.account.grants if grant.free]
    for grant in free[: len(taken) - 1]:
        assert taken[grant.id] == grant.free
