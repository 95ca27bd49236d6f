"""Holds, reversals and debt, rule by rule, on the pure function."""

from datetime import timedelta

import pytest

from tallystick.domain.account import Entry, EntryKind, GrantKind, Lot
from tallystick.domain.commands import (
    Capture,
    ClawBack,
    ExtendHold,
    PlaceHold,
    Release,
    Remove,
    RenewAllowance,
    Reverse,
    Settle,
    Spend,
)
from tallystick.domain.decide import decide
from tallystick.domain.errors import (
    AlreadyReversed,
    HoldNotOpen,
    InsufficientCredits,
    InvalidInput,
    NotABonusGrant,
    NotReversible,
    TooManyHolds,
    UnknownEntry,
)
from tallystick.domain.holds import MAX_HOLDS
from tallystick.domain.periods import Period, add_months
from tallystick.domain.settle import Decision
from tests.domain.book import CATALOGUE, DAY, T0, Book

MINUTE = timedelta(minutes=1)


@pytest.fixture
def book() -> Book:
    return Book()


def capture(book: Book, hold: Entry, amount: int) -> list[Entry]:
    return book.do(Capture(account_id="acme", key=book.key(), hold=hold.seq, amount=amount))


def release(book: Book, hold: Entry) -> list[Entry]:
    return book.do(Release(account_id="acme", key=book.key(), hold=hold.seq))


def reverse(book: Book, entry: Entry) -> list[Entry]:
    return book.do(Reverse(account_id="acme", key=book.key(), entry=entry.seq))


def claw_back(book: Book, grant: Entry, total: int) -> list[Entry]:
    return book.do(ClawBack(account_id="acme", key=book.key(), grant=grant.seq, total=total, version=book.keys))


def test_s12_a_hold_sets_credits_aside_in_burn_order(book: Book) -> None:
    bonus = book.grant(200)
    hold = book.hold(30)
    assert hold.lots == (Lot(1, GrantKind.ALLOWANCE, 25), Lot(bonus.seq, GrantKind.BOUGHT, 5))
    assert (hold.amount, hold.monthly, hold.bonus, hold.held, hold.available) == (0, 25, 200, 30, 195)
    assert hold.hold_until == T0 + 15 * MINUTE


def test_s12_held_credits_cannot_be_spent_or_held_again(book: Book) -> None:
    book.hold(20)
    for command in (
        Spend(account_id="acme", key="x", amount=6),
        PlaceHold(account_id="acme", key="x", amount=6),
        Remove(account_id="acme", key="x", amount=6, reason="why"),
    ):
        refusal = book.try_(command)
        assert isinstance(refusal, InsufficientCredits)
        assert refusal.details["available"] == 5
    assert book.spend(5).available == 0


def test_s12_capture_takes_what_was_held_first_and_releases_the_rest(book: Book) -> None:
    book.grant(200)
    hold = book.hold(30)
    (entry,) = capture(book, hold, 27)
    assert (entry.amount, entry.from_monthly, entry.from_bonus) == (-27, 25, 2)
    assert (entry.monthly, entry.bonus, entry.held) == (0, 198, 0)


def test_s12_capture_may_take_what_is_available_beside_the_hold_and_no_more(book: Book) -> None:
    bonus = book.grant(10)
    hold = book.hold(20)
    refusal = book.try_(Capture(account_id="acme", key="x", hold=hold.seq, amount=36))
    assert isinstance(refusal, InsufficientCredits)
    assert refusal.details["available"] == 35
    (entry,) = capture(book, hold, 35)
    assert entry.lots == (Lot(1, GrantKind.ALLOWANCE, 25), Lot(bonus.seq, GrantKind.BOUGHT, 10))


def test_s12_a_hold_is_resolved_once(book: Book) -> None:
    hold = book.hold(20)
    release(book, hold)
    for command in (
        Capture(account_id="acme", key="x", hold=hold.seq, amount=1),
        Release(account_id="acme", key="x", hold=hold.seq),
        ExtendHold(account_id="acme", key="x", hold=hold.seq, amount=1),
    ):
        assert isinstance(book.try_(command), HoldNotOpen)
    assert book.account is not None
    assert book.account.available == 25


def test_s12_a_hold_runs_out_at_its_exact_deadline_without_any_job(book: Book) -> None:
    hold = book.hold(20, seconds=60)
    book.now = T0 + MINUTE - timedelta(microseconds=1)
    assert isinstance(book.try_(Spend(account_id="acme", key="x", amount=6)), InsufficientCredits)
    book.now = T0 + 5 * MINUTE
    assert isinstance(book.try_(Capture(account_id="acme", key="x", hold=hold.seq, amount=1)), HoldNotOpen)
    book.spend(25)
    released = book.entries[-2]
    assert (released.kind, released.effective_at) == (EntryKind.RELEASED, T0 + MINUTE)


def test_s12_extending_draws_more_and_moves_the_deadline(book: Book) -> None:
    hold = book.hold(10, seconds=60)
    book.now = T0 + MINUTE / 2
    (entry,) = book.do(ExtendHold(account_id="acme", key=book.key(), hold=hold.seq, amount=5, seconds=120))
    assert (entry.held, entry.hold_until) == (15, T0 + 2.5 * MINUTE)
    assert isinstance(
        book.try_(ExtendHold(account_id="acme", key="x", hold=hold.seq, amount=11)), InsufficientCredits
    )
    assert capture(book, hold, 15)[0].amount == -15


@pytest.mark.parametrize("seconds", [0, -1, 86_401, 1.5, True])
def test_s12_a_hold_lasts_at_most_24_hours(seconds: int) -> None:
    with pytest.raises(InvalidInput, match=r"from 1 to 86,400 seconds"):
        PlaceHold(account_id="acme", key="x", amount=1, seconds=seconds)


def test_s12_a_grant_that_expires_while_held_still_serves_that_hold(book: Book) -> None:
    promo = book.grant(10, kind=GrantKind.PROMOTIONAL, expires_at=T0 + MINUTE)
    book.spend(25)
    hold = book.hold(6)
    book.now = T0 + 2 * MINUTE
    lapsed, captured, rest = [*book.do(Settle(account_id="acme")), *capture(book, hold, 4)]
    assert lapsed.lots == (Lot(promo.seq, GrantKind.PROMOTIONAL, 4),)
    assert captured.lots == (Lot(promo.seq, GrantKind.PROMOTIONAL, 4),)
    assert (rest.kind, rest.amount, rest.bonus, rest.held) == (EntryKind.LAPSED, -2, 0, 0)


def test_s12_an_allowance_that_is_replaced_while_held_does_not_come_back(book: Book) -> None:
    hold = book.hold(20)
    period = Period(T0, T0 + 28 * DAY)
    book.do(RenewAllowance(account_id="acme", key=book.key(), plan="plus", period=period))
    assert book.account is not None
    assert (book.account.monthly, book.account.available) == (520, 500)
    release(book, hold)
    assert (book.account.monthly, book.account.available) == (500, 500)


def test_s12_an_account_has_at_most_a_thousand_open_holds() -> None:
    book = Book()
    book.grant(MAX_HOLDS)
    account = book.account
    for n in range(MAX_HOLDS):
        decision = decide(account, PlaceHold(account_id="acme", key=f"h{n}", amount=1), T0, CATALOGUE)
        assert isinstance(decision, Decision)
        account = decision.account
    refusal = decide(account, PlaceHold(account_id="acme", key="last", amount=1), T0, CATALOGUE)
    assert isinstance(refusal, TooManyHolds)


def test_s13_a_reversal_returns_credits_to_the_very_grants(book: Book) -> None:
    bonus = book.grant(200)
    spent = book.spend(30)
    (entry,) = reverse(book, spent)
    assert entry.lots == spent.lots
    assert (entry.amount, entry.monthly, entry.bonus, entry.reverses) == (30, 25, 200, spent.seq)
    assert [g.id for g in entry.reopened] == [1]
    assert book.account is not None
    assert [(g.id, g.remaining) for g in book.account.grants] == [(1, 25), (bonus.seq, 200)]


def test_s13_what_came_from_a_lapsed_grant_does_not_come_back_and_the_entry_says_so(book: Book) -> None:
    bonus = book.grant(200)
    spent = book.spend(30)
    book.now = T0 + 40 * DAY
    entry = reverse(book, spent)[0]
    entry = book.entries[-1] if entry.kind is not EntryKind.REVERSED else entry
    assert entry.lots == (Lot(bonus.seq, GrantKind.BOUGHT, 5),)
    assert entry.lapsed == (Lot(1, GrantKind.ALLOWANCE, 25),)
    assert (entry.monthly, entry.bonus) == (25, 200)


def test_s13_what_came_from_a_replaced_allowance_does_not_come_back(book: Book) -> None:
    spent = book.spend(20)
    period = Period(T0, T0 + 28 * DAY)
    book.do(RenewAllowance(account_id="acme", key=book.key(), plan="plus", period=period))
    entry = reverse(book, spent)[0]
    assert (entry.lots, entry.lapsed, entry.monthly) == ((), spent.lots, 500)


def test_s13_what_came_from_before_an_upgrade_inside_the_period_comes_back(book: Book) -> None:
    spent = book.spend(25)
    book.set_plan("team")
    assert reverse(book, spent)[0].amount == 25


def test_s13_a_spend_is_reversed_once_and_only_spends_and_captures_are(book: Book) -> None:
    hold = book.hold(5)
    (captured,) = capture(book, hold, 3)
    assert reverse(book, captured)[0].amount == 3
    for entry, refused in ((captured.seq, AlreadyReversed), (hold.seq, NotReversible), (99, UnknownEntry)):
        assert isinstance(book.try_(Reverse(account_id="acme", key="x", entry=entry)), refused)


def test_s24_what_was_used_of_a_grant_that_is_taken_back_becomes_debt(book: Book) -> None:
    bonus = book.grant(200)
    other = book.grant(50)
    book.spend(25 + 150)
    (entry,) = claw_back(book, bonus, 200)
    assert (entry.amount, entry.bonus, entry.debt) == (-50, 50, 150)
    assert entry.lots == (Lot(bonus.seq, GrantKind.BOUGHT, 50),)
    assert book.account is not None
    assert [g.id for g in book.account.grants] == [other.seq]


def test_s24_debt_is_repaid_first_from_the_next_bonus_grant_and_never_from_the_allowance(book: Book) -> None:
    bonus = book.grant(200)
    book.spend(25 + 200)
    claw_back(book, bonus, 200)
    book.now = T0 + 30 * DAY
    book.do(Settle(account_id="acme"))
    assert book.account is not None
    assert (book.account.monthly, book.account.debt) == (25, 200)
    book.grant(150)
    assert (book.account.bonus, book.account.debt) == (0, 50)
    book.grant(150, effective_at=book.now + DAY)
    assert book.account.debt == 50
    book.now += DAY
    book.do(Settle(account_id="acme"))
    assert (book.account.bonus, book.account.debt) == (100, 0)


def test_s24_what_returns_to_a_grant_that_was_taken_back_repays_its_debt(book: Book) -> None:
    bonus = book.grant(200)
    book.spend(25)
    spent = book.spend(120)
    hold = book.hold(80)
    assert claw_back(book, bonus, 200)[0].debt == 200
    release(book, hold)
    assert book.account is not None
    assert (book.account.bonus, book.account.debt) == (0, 120)
    reverse(book, spent)
    assert (book.account.bonus, book.account.debt) == (0, 0)


def test_s24_only_bonus_grants_are_taken_back_and_no_more_than_they_were(book: Book) -> None:
    bonus = book.grant(200)
    for grant, amount in ((1, 5), (bonus.seq, 201), (99, 1)):
        refusal = book.try_(ClawBack(account_id="acme", key="x", grant=grant, total=amount, version=1))
        assert isinstance(refusal, NotABonusGrant)


def test_an_operator_removes_credits_with_a_reason(book: Book) -> None:
    (entry,) = book.do(Remove(account_id="acme", key=book.key(), amount=5, reason="granted twice"))
    assert (entry.kind, entry.amount, entry.reason) == (EntryKind.REMOVED, -5, "granted twice")
    with pytest.raises(InvalidInput, match="reason"):
        Remove(account_id="acme", key="x", amount=5, reason=" ")


def _plus_replaces_an_upgrade(book: Book, held: int) -> tuple[Entry, int]:
    """An invoice is paid ahead; before its month begins an upgrade is spent, but for what is held. The spend, the hold."""
    book.set_plan("plus")
    book.now = T0 + DAY
    book.renew("plus", T0 + 20 * DAY, T0 + 50 * DAY)
    book.now = T0 + 10 * DAY
    book.set_plan("team")
    spent = book.spend(book.account.available - held)
    book.set_plan("plus")
    book.now = T0 + 20 * DAY - MINUTE
    hold = book.do(PlaceHold(account_id="acme", key="h", amount=held))[-1].seq if held else 0
    book.now = T0 + 20 * DAY
    book.settle()
    return spent, hold


@pytest.mark.parametrize("held", [0, 5])
def test_s13_nothing_returns_to_what_an_allowance_replaced_that_was_scheduled_before_it(
    book: Book, held: int
) -> None:
    spent, hold = _plus_replaces_an_upgrade(book, held)
    assert book.balances == (500 + held, 0)
    (undone,) = book.do(Reverse(account_id="acme", key="r", entry=spent.seq))
    assert (undone.lots, sum(lot.amount for lot in undone.lapsed)) == ((), spent.from_monthly)
    assert book.balances == (500 + held, 0)
    if held:
        book.do(Capture(account_id="acme", key="c", hold=hold, amount=505))
        assert book.balances == (0, 0)


def test_s13_nothing_returns_to_an_allowance_that_a_change_heard_late_took_away(book: Book) -> None:
    book.now = T0 + 35 * DAY
    book.settle()
    spent = book.spend(20)
    book.set_plan("plus", since=add_months(T0, 1) - timedelta(microseconds=1))
    assert book.balances == (0, 0)
    (undone,) = book.do(Reverse(account_id="acme", key="r", entry=spent.seq))
    assert (undone.lots, undone.lapsed[0].amount) == ((), 20)
    assert book.balances == (0, 0)


@pytest.mark.parametrize("held", [0, 1_900])
def test_s12_s27_a_rest_that_is_heard_late_ends_what_a_hold_kept_of_the_month_too(book: Book, held: int) -> None:
    book.set_plan("pro", since=T0)
    book.renew("pro", T0, add_months(T0, 12), months=12)
    book.now = T0 + 35 * DAY
    book.settle()
    hold = book.do(PlaceHold(account_id="acme", key="h", amount=held))[-1].seq if held else 0
    book.now += MINUTE
    book.set_plan("free", since=T0 + 20 * DAY, rests=True)
    if held:
        assert book.account.held == held
        book.do(Release(account_id="acme", key="r", hold=hold))
    assert (book.balances, book.account.available, book.account.plan) == ((25, 0), 25, "free")
