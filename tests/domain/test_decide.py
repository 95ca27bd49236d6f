"""The rules of the ledger, one by one, on the pure function."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tallystick.domain.account import Account, EntryKind, GrantKind, Lot
from tallystick.domain.amounts import MAX_BALANCE, MAX_CREDITS
from tallystick.domain.catalogue import Catalogue, Plan
from tallystick.domain.commands import (
    Command,
    GrantBonus,
    OpenAccount,
    RenewAllowance,
    SetPlan,
    Spend,
)
from tallystick.domain.decide import decide
from tallystick.domain.errors import InsufficientCredits, Refusal
from tallystick.domain.periods import Period, add_months
from tallystick.domain.replay import LedgerMismatch, replay
from tallystick.domain.settle import Decision, next_due, settle
from tests.domain.book import CATALOGUE, DAY, T0, Book

ALONE = Catalogue([Plan("free", allowance=25)])


@pytest.fixture
def book() -> Book:
    return Book()


def test_a_new_account_on_free_has_its_first_allowance(book: Book) -> None:
    assert book.balances == (25, 0)
    assert book.account is not None
    assert book.account.resets_at(T0) == datetime(2026, 2, 28, 9, 30, tzinfo=UTC)


def test_a_new_account_on_a_paid_plan_waits_for_its_invoice() -> None:
    assert Book("plus").balances == (0, 0)


def test_s5_entries_are_numbered_without_a_gap_and_carry_the_balances_after(book: Book) -> None:
    book.grant(200)
    book.spend(30)
    book.now += 40 * DAY
    book.spend(1)
    assert [e.seq for e in book.entries] == list(range(1, len(book.entries) + 1))
    assert book.entries[2].monthly == 0
    assert book.entries[2].bonus == 195


def test_s5_replay_finds_a_changed_amount_a_gap_and_a_changed_lot(book: Book) -> None:
    book.grant(200)
    book.spend(30)
    opened, granted, spent = book.entries
    for tampered, complaint in [
        ([opened, replace(granted, bonus=201), spent], "bonus is 201 and should be 200"),
        ([opened, spent], "no open grant 2"),
        ([opened, granted, replace(spent, seq=4)], "seq is 4 and should be 3"),
        (
            [opened, granted, replace(spent, lots=(Lot(1, GrantKind.ALLOWANCE, 26),))],
            "grant 1 has 25 free credits left, not 26",
        ),
        (
            [opened, granted, replace(spent, lots=(Lot(1, GrantKind.ALLOWANCE, 25),))],
            "bonus is 195 and should be 200",
        ),
        ([opened, granted, replace(spent, lots=(Lot(1, GrantKind.BOUGHT, 25),))], "is of kind allowance"),
    ]:
        with pytest.raises(LedgerMismatch, match=complaint):
            replay("acme", tampered)


def test_s10_burns_allowance_before_bonus_and_records_the_lots(book: Book) -> None:
    bonus = book.grant(200)
    entry = book.spend(30)
    assert entry.lots == (Lot(1, GrantKind.ALLOWANCE, 25), Lot(bonus.seq, GrantKind.BOUGHT, 5))
    assert (entry.amount, entry.monthly, entry.bonus) == (-30, 0, 195)
    assert (entry.from_monthly, entry.from_bonus) == (25, 5)


def test_s10_burn_order_is_priority_then_expiry_then_effect_then_id(book: Book) -> None:
    gift = book.grant(1, kind=GrantKind.GIFTED)
    late = book.grant(1, kind=GrantKind.BOUGHT, expires_at=T0 + 20 * DAY)
    soon = book.grant(1, kind=GrantKind.ADJUSTED, expires_at=T0 + 10 * DAY)
    promo = book.grant(1, kind=GrantKind.PROMOTIONAL)
    older = book.grant(1, effective_at=T0 - DAY)
    entry = book.spend(30)
    assert [lot.grant_id for lot in entry.lots] == [1, promo.seq, soon.seq, late.seq, older.seq, gift.seq]


def test_s11_a_spend_is_all_or_nothing_and_says_what_would_unblock_it(book: Book) -> None:
    before = book.account
    refusal = book.try_(Spend(account_id="acme", key="k", amount=26))
    assert isinstance(refusal, InsufficientCredits)
    assert refusal.details == {
        "required": 26,
        "available": 25,
        "shortfall": 1,
        "can_buy": False,
        "resets_at": "2026-02-28T09:30:00+00:00",
    }
    assert book.account == before


@pytest.mark.parametrize(
    ("plan", "bonus", "amount", "ways"),
    [
        (
            "free",
            0,
            25,
            "wait for the next allowance at 2026-02-28T09:30:00+00:00, or move to a plan with more credits",
        ),
        (
            "free",
            5,
            30,
            "wait for the next allowance at 2026-02-28T09:30:00+00:00, or move to a plan with more credits",
        ),
        ("free", 0, 26, "move to a plan with more credits"),
        ("free", 0, 10_000, "move to a plan that can buy bonus credits"),
        ("plus", 0, 10_000, "buy bonus credits"),
    ],
)
def test_s11_only_what_is_enough_is_said_to_unblock_a_spend(
    book: Book, plan: str, bonus: int, amount: int, ways: str
) -> None:
    book.set_plan(plan)
    book.spend(20)
    if bonus:
        book.grant(bonus)
    refusal = book.try_(Spend(account_id="acme", key="k", amount=amount))
    assert isinstance(refusal, InsufficientCredits)
    assert refusal.message.endswith(f"To go on: {ways}.")


def test_s11_what_will_be_gone_by_the_next_allowance_does_not_make_it_enough(book: Book) -> None:
    book.grant(10, expires_at=T0 + 5 * DAY)
    book.spend(10)
    refusal = book.try_(Spend(account_id="acme", key="k", amount=30))
    assert isinstance(refusal, InsufficientCredits)
    assert refusal.message.endswith("To go on: move to a plan with more credits.")


def test_s11_where_no_plan_is_enough_or_can_buy_fewer_credits_are_what_unblocks() -> None:
    opened = decide(None, OpenAccount(account_id="acme", plan="free"), T0, ALONE)
    assert isinstance(opened, Decision)
    refusal = decide(opened.account, Spend(account_id="acme", key="k", amount=26), T0, ALONE)
    assert isinstance(refusal, InsufficientCredits)
    assert refusal.message.endswith("To go on: ask for fewer at a time.")


def test_s2_a_grant_is_usable_from_its_first_instant_until_just_before_its_last(book: Book) -> None:
    book.grant(10, effective_at=T0 + DAY, expires_at=T0 + 2 * DAY)
    assert book.balances == (25, 0)
    book.now = T0 + DAY - timedelta(microseconds=1)
    assert book.settle() == []
    book.now = T0 + DAY
    (started,) = book.settle()
    assert (started.kind, started.amount, started.bonus) == (EntryKind.GRANT_STARTED, 10, 10)
    book.now = T0 + 2 * DAY - timedelta(microseconds=1)
    assert book.settle() == []
    book.now = T0 + 2 * DAY
    (lapsed,) = book.settle()
    assert (lapsed.kind, lapsed.amount, lapsed.effective_at) == (EntryKind.LAPSED, -10, T0 + 2 * DAY)


def test_s8_a_refused_command_does_not_even_write_down_the_time(book: Book) -> None:
    book.now += 60 * DAY
    before = book.account
    assert isinstance(book.try_(Spend(account_id="acme", key="k", amount=1000)), InsufficientCredits)
    assert book.account == before


def test_s14_unused_allowance_lapses_and_the_next_opens_at_the_exact_instant(book: Book) -> None:
    book.spend(5)
    end = datetime(2026, 2, 28, 9, 30, tzinfo=UTC)
    book.now = end - timedelta(microseconds=1)
    assert book.settle() == []
    book.now = end
    lapsed, opened = book.settle()
    assert (lapsed.kind, lapsed.amount, lapsed.effective_at) == (EntryKind.LAPSED, -20, end)
    assert (opened.kind, opened.amount, opened.effective_at) == (EntryKind.ALLOWANCE_OPENED, 25, end)
    assert opened.allowance is not None
    assert opened.allowance.period.end == datetime(2026, 3, 31, 9, 30, tzinfo=UTC)


def test_s14_several_missed_periods_collapse_into_the_current_one(book: Book) -> None:
    book.now = datetime(2026, 6, 15, tzinfo=UTC)
    lapsed, opened = book.settle()
    assert lapsed.amount == -25
    assert opened.allowance is not None
    assert opened.allowance.period == Period(
        datetime(2026, 5, 31, 9, 30, tzinfo=UTC), datetime(2026, 6, 30, 9, 30, tzinfo=UTC)
    )
    assert book.balances == (25, 0)


def test_s14_when_it_is_looked_at_makes_no_difference() -> None:
    often, once = Book(), Book()
    for day in range(1, 100):
        often.now = T0 + day * DAY
        often.settle()
    once.now = T0 + 99 * DAY
    once.settle()
    assert often.account is not None
    assert once.account is not None
    assert often.balances == once.balances
    assert often.account.resets_at(often.now) == once.account.resets_at(once.now)


def test_s15_a_paid_plan_opens_nothing_until_its_invoice_is_paid(book: Book) -> None:
    book.set_plan("plus")
    book.now = T0 + 40 * DAY
    book.settle()
    assert book.balances == (0, 0)
    assert book.account is not None
    assert book.account.resets_at(book.now) is None
    book.renew("plus", book.now, book.now + 30 * DAY)
    assert book.balances == (500, 0)


def test_s15_the_paid_allowance_takes_the_place_of_the_free_one(book: Book) -> None:
    book.spend(5)
    book.now += DAY
    lapsed, opened = book.renew("plus", book.now, add_months(book.now, 1))
    assert (lapsed.amount, lapsed.reason) == (-20, "replaced")
    assert (opened.amount, opened.monthly) == (500, 500)


def test_s15_an_invoice_for_a_coming_period_opens_it_when_it_comes(book: Book) -> None:
    start = datetime(2026, 2, 28, 9, 30, tzinfo=UTC)
    book.renew("plus", T0, start)
    book.spend(100)
    book.now = start - timedelta(hours=1)
    (scheduled,) = book.renew("plus", start, add_months(start, 1))
    assert (scheduled.kind, scheduled.amount, scheduled.monthly) == (EntryKind.GRANT_SCHEDULED, 0, 400)
    book.set_plan("plus")
    book.now = start
    lapsed, started = book.settle()
    assert (lapsed.amount, started.amount, started.monthly) == (-400, 500, 500)


def test_s15_an_older_invoice_that_comes_late_opens_nothing(book: Book) -> None:
    first, second = T0, add_months(T0, 1)
    book.now = second + DAY
    book.renew("plus", second, add_months(T0, 2))
    (skipped,) = book.renew("plus", first, second)
    assert (skipped.kind, skipped.amount) == (EntryKind.ALLOWANCE_SKIPPED, 0)
    (again,) = book.renew("plus", second, add_months(T0, 2))
    assert again.kind is EntryKind.ALLOWANCE_SKIPPED
    assert book.balances == (500, 0)


def test_s16_back_on_free_the_paid_allowance_stays_until_its_end_and_free_follows(book: Book) -> None:
    end = add_months(T0, 1)
    book.renew("plus", T0, end)
    book.set_plan("plus")
    book.spend(100)
    book.now += DAY
    book.set_plan("free")
    assert book.balances == (400, 0)
    book.now = end
    book.settle()
    assert book.balances == (25, 0)


def test_s16_back_on_free_after_the_paid_period_opens_the_free_allowance_at_once(book: Book) -> None:
    book.renew("plus", T0, add_months(T0, 1))
    book.set_plan("plus")
    book.now = T0 + 45 * DAY
    entries = book.set_plan("free")
    assert [e.kind for e in entries] == [EntryKind.LAPSED, EntryKind.PLAN_SET, EntryKind.ALLOWANCE_OPENED]
    assert entries[-1].effective_at == book.now
    assert book.balances == (25, 0)


def test_s17_an_upgrade_adds_the_remaining_fraction_of_the_difference(book: Book) -> None:
    book.spend(20)
    book.now = T0 + 14 * DAY
    (entry,) = book.set_plan("team")
    assert entry.amount == (100 - 25) * 14 // 28
    assert book.balances == (5 + 37, 0)


def test_s17_switching_back_and_forth_never_creates_credits(book: Book) -> None:
    book.now = T0 + 7 * DAY
    book.set_plan("team")
    once = book.balances
    for _ in range(5):
        book.set_plan("free")
        book.set_plan("team")
    assert book.balances == once


def test_s17_a_downgrade_takes_effect_at_the_periods_end() -> None:
    book = Book("team")
    book.set_plan("free")
    assert book.balances == (100, 0)
    book.now = T0 + 28 * DAY
    book.settle()
    assert book.balances == (25, 0)


def test_s18_bonus_credits_survive_every_plan_change_and_stay_spendable(book: Book) -> None:
    book.grant(200)
    for plan in ("plus", "team", "payg", "free"):
        book.set_plan(plan)
        assert book.balances[1] == 200
    book.now += 365 * DAY
    book.spend(25 + 200)
    assert book.balances == (0, 0)


def test_a_plan_may_have_no_allowance_at_all() -> None:
    book = Book("payg")
    book.grant(200)
    book.now += 100 * DAY
    book.spend(200)
    assert book.balances == (0, 0)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (OpenAccount(account_id="acme", plan="free", key="other"), "account_exists"),
        (SetPlan(account_id="acme", key="k", plan="gold"), "unknown_plan"),
        (
            RenewAllowance(account_id="acme", key="k", plan="gold", period=Period(T0, T0 + DAY)),
            "unknown_plan",
        ),
        (GrantBonus(account_id="acme", key="k", credits=1, expires_at=T0), "grant_expired"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_code(book: Book, command: Command, code: str) -> None:
    before = book.account
    refusal = book.try_(command)
    assert isinstance(refusal, Refusal)
    assert refusal.code == code
    assert book.account == before


def test_an_unknown_account_is_refused() -> None:
    refusal = decide(None, Spend(account_id="ghost", key="k", amount=1), T0, CATALOGUE)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "unknown_account"


def test_a_balance_stays_below_what_every_json_reader_can_carry(book: Book) -> None:
    for _ in range(MAX_BALANCE // MAX_CREDITS - 1):
        book.account = decide_granted(book, MAX_CREDITS)
    refusal = decide(book.account, GrantBonus(account_id="acme", key="k", credits=MAX_CREDITS), T0, CATALOGUE)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "balance_too_large"


def decide_granted(book: Book, credits: int) -> Account:
    outcome = decide(book.account, GrantBonus(account_id="acme", key="k", credits=credits), T0, CATALOGUE)
    assert not isinstance(outcome, Refusal)
    return outcome.account


def test_next_due_is_the_first_instant_at_which_settling_does_something(book: Book) -> None:
    book.grant(5, expires_at=T0 + 3 * DAY)
    book.grant(5, effective_at=T0 + 2 * DAY)
    assert book.account is not None
    due = next_due(book.account, CATALOGUE)
    assert due == T0 + 2 * DAY
    assert settle(book.account, due - timedelta(microseconds=1), CATALOGUE).entries == ()
    assert settle(book.account, due, CATALOGUE).entries
