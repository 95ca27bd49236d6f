"""S14 to S17 for plans that are paid: by the month, by the year, and changed on the way."""

from datetime import UTC, datetime, timedelta

import pytest

from tallystick.domain.account import Account, EntryKind
from tallystick.domain.commands import RenewAllowance, Reverse
from tallystick.domain.errors import InvalidInput
from tallystick.domain.periods import Period, add_months
from tallystick.domain.settle import next_due
from tests.domain.book import CATALOGUE, DAY, T0, Book

YEAR_END = add_months(T0, 12)


@pytest.fixture
def book() -> Book:
    """An account on PLUS, of 500 a month."""
    book = Book()
    book.set_plan("plus")
    return book


def account_of(book: Book) -> Account:
    assert book.account is not None
    return book.account


def yearly(book: Book, plan: str = "plus") -> None:
    book.renew(plan, T0, YEAR_END, months=12)


def test_s15_a_paid_year_opens_an_allowance_each_month_counted_from_its_start(book: Book) -> None:
    yearly(book)
    book.spend(120)
    ends = []
    for month in range(12):
        book.now = add_months(T0, month)
        book.settle()
        account = account_of(book)
        assert (account.monthly, account.plan) == (500 if month else 380, "plus")
        assert account.allowance is not None
        ends.append(account.allowance.period.end)
    assert ends[:3] == [datetime(2026, month, day, 9, 30, tzinfo=UTC) for month, day in ((2, 28), (3, 31), (4, 30))]
    assert ends[-1] == YEAR_END
    opened = [e for e in book.entries if e.kind is EntryKind.ALLOWANCE_OPENED]
    assert len(opened) == 12


def test_s15_after_the_paid_year_nothing_opens_until_the_next_invoice(book: Book) -> None:
    yearly(book)
    book.now = YEAR_END + DAY
    # Nobody looked for a year: of the months that were missed the last one opens, and lapses with the year.
    assert [entry.amount for entry in book.settle()] == [-500, 500, -500]
    assert account_of(book).monthly == 0
    assert next_due(account_of(book), CATALOGUE) is None
    book.renew("plus", YEAR_END, add_months(T0, 24), months=12)
    assert account_of(book).monthly == 500


def test_s14_missed_months_of_a_paid_year_collapse_into_the_current_one(book: Book) -> None:
    yearly(book)
    book.now = add_months(T0, 5) + DAY
    lapsed, opened = book.settle()
    assert (lapsed.kind, lapsed.amount) == (EntryKind.LAPSED, -500)
    assert (opened.kind, opened.effective_at) == (EntryKind.ALLOWANCE_OPENED, add_months(T0, 5))
    assert account_of(book).monthly == 500


def test_s15_a_year_whose_invoice_is_seen_late_opens_the_month_that_is_running(book: Book) -> None:
    book.now = add_months(T0, 2) + DAY
    yearly(book)
    account = account_of(book)
    assert account.allowance is not None
    assert account.allowance.period == Period(add_months(T0, 2), add_months(T0, 3))
    assert account.monthly == 500


def test_s14_the_next_month_of_a_paid_year_is_what_time_changes_next(book: Book) -> None:
    yearly(book)
    assert next_due(account_of(book), CATALOGUE) == add_months(T0, 1)
    book.spend(500)
    assert next_due(account_of(book), CATALOGUE) == add_months(T0, 1)


def test_s16_an_account_that_has_left_a_paid_year_is_on_free_from_the_month_s_end(book: Book) -> None:
    yearly(book)
    book.set_plan("free")
    assert account_of(book).monthly == 500
    book.now = add_months(T0, 1)
    book.settle()
    assert account_of(book).monthly == 25


def test_s16_a_paid_year_that_is_taken_up_again_goes_on(book: Book) -> None:
    yearly(book)
    book.set_plan("free")
    book.now = add_months(T0, 1)
    book.settle()
    book.set_plan("plus")
    assert account_of(book).monthly == 500
    book.now = add_months(T0, 2)
    book.settle()
    assert account_of(book).monthly == 500


def test_s16_a_paid_year_whose_subscription_is_over_pays_for_nothing_more(book: Book) -> None:
    yearly(book)
    book.now = T0 + 10 * DAY
    book.set_plan("free", since=book.now)
    assert account_of(book).monthly == 500
    book.now = add_months(T0, 1) + DAY
    book.settle()
    assert account_of(book).monthly == 25
    # Another subscription, whose invoice is not paid yet.
    (entry,) = book.set_plan("plus")
    assert (entry.amount, account_of(book).monthly) == (0, 25)


def test_s27_months_that_opened_after_a_subscription_ended_are_taken_away_when_that_is_heard(book: Book) -> None:
    yearly(book)
    book.now = add_months(T0, 2) + DAY
    book.settle()
    assert account_of(book).monthly == 500
    book.set_plan("free", since=T0 + 10 * DAY)
    account = account_of(book)
    assert (account.monthly, account.resets_at(book.now)) == (25, add_months(T0, 3))
    book.now = add_months(T0, 3)
    book.settle()
    assert account_of(book).monthly == 25


@pytest.mark.parametrize(("since", "left"), [(5, 0), (40, 25)])
def test_s27_what_free_opened_while_a_subscription_was_not_paid_is_taken_away_when_it_is_heard_of(
    since: int, left: int
) -> None:
    book = Book()
    book.now = add_months(T0, 1) + 20 * DAY
    book.settle()
    assert account_of(book).monthly == 25
    book.set_plan("plus", since=T0 + since * DAY)
    assert account_of(book).monthly == left
    book.set_plan("free")
    assert account_of(book).monthly == 25


@pytest.mark.parametrize("late", [False, True])
def test_s27_a_paid_year_that_rests_and_goes_on_is_the_same_however_late_both_are_heard(
    book: Book, late: bool
) -> None:
    yearly(book)
    rests, goes_on = T0 + 10 * DAY, add_months(T0, 1) + 5 * DAY
    if not late:
        book.now = rests
        book.set_plan("free", since=rests, rests=True)
        book.now = goes_on
        book.set_plan("plus", since=goes_on)
    book.now = add_months(T0, 1) + 12 * DAY
    if late:
        book.set_plan("free", since=rests, rests=True)
        assert account_of(book).monthly == 25
        book.set_plan("plus", since=goes_on)
    assert account_of(book).monthly == 25 + 475 * 26 // 31
    # What was paid for goes on.
    book.now = add_months(T0, 11)
    book.settle()
    assert account_of(book).monthly == 500


def test_s15_a_year_that_begins_in_the_second_in_which_a_trial_began_and_ended_opens_its_months(book: Book) -> None:
    book.renew("plus", T0, T0 + 14 * DAY)
    yearly(book)
    # The trial's invoice, looked at once more.
    book.renew("plus", T0, T0 + 14 * DAY)
    assert account_of(book).monthly == 500
    book.now = add_months(T0, 1)
    book.settle()
    assert account_of(book).monthly == 500


def test_s27_a_rest_that_is_heard_twice_takes_nothing_twice(book: Book) -> None:
    yearly(book)
    book.now = add_months(T0, 1) + DAY
    book.set_plan("free", since=T0 + DAY, rests=True)
    book.spend(20)
    book.set_plan("free", since=T0 + DAY, rests=True)
    assert account_of(book).monthly == 5


def test_s17_the_first_plan_in_a_short_month_leaves_a_plan_that_goes_on_no_more_than_that_has(book: Book) -> None:
    yearly(book)
    moved = T0 + 10 * DAY
    book.now = moved
    book.renew("plus", moved, add_months(moved, 12), months=12, prolongs=True)
    rests = moved + DAY
    book.set_plan("free", since=rests, rests=True)
    # The old month ends on 28 February, the new one on 10 March.
    book.now = add_months(T0, 1) + DAY
    book.settle()
    account = account_of(book)
    assert account.allowance is not None
    assert (account.monthly, account.allowance.period) == (25, Period(add_months(T0, 1), add_months(moved, 1)))
    book.set_plan("plus", since=rests)
    assert account_of(book).monthly == 500 * 10 // 28


def test_s17_a_plan_that_goes_on_twice_in_a_short_month_adds_the_share_of_a_whole_one(book: Book) -> None:
    yearly(book)
    moved = T0 + 10 * DAY
    book.now = moved
    book.renew("plus", moved, add_months(moved, 12), months=12, prolongs=True)
    book.set_plan("free", since=moved, rests=True)
    # From 28 February, 10 of the month's 28 days are left, then 5.
    book.now = add_months(T0, 1) + 5 * DAY
    book.renew("plus", book.now, add_months(book.now, 12), months=12, prolongs=True)
    book.set_plan("plus", since=book.now)
    assert account_of(book).monthly == 25 + 475 * 5 // 28


def test_s27_a_month_that_opened_for_want_of_a_payment_that_moves_it_does_not_go_on(book: Book) -> None:
    yearly(book)
    moved, old_month_ends = T0 + 10 * DAY, add_months(T0, 1)
    book.now = old_month_ends + DAY
    book.renew("plus", moved, add_months(moved, 12), months=12, prolongs=True, follows=old_month_ends)
    account = account_of(book)
    assert account.allowance is not None
    assert (account.monthly, account.allowance.period) == (
        500 * 10 // 28,
        Period(old_month_ends, add_months(moved, 1)),
    )


def test_s27_a_month_that_should_have_ended_by_the_time_a_payment_is_heard_does_not_go_on(book: Book) -> None:
    yearly(book)
    moved, short_month_ends = T0 + 40 * DAY, T0 + 45 * DAY
    book.now = short_month_ends + DAY
    book.settle()
    # Of the payment that had shaped the short month nothing was heard, so a whole one runs.
    assert account_of(book).resets_at(book.now) == add_months(T0, 2)
    book.renew("plus", moved, add_months(moved, 12), months=12, prolongs=True, follows=short_month_ends)
    account = account_of(book)
    assert account.allowance is not None
    assert account.allowance.period == Period(short_month_ends, add_months(moved, 1))
    month = add_months(moved, 1) - moved
    assert account.monthly == 500 * (month - 5 * DAY) // month


def test_s17_an_upgrade_between_paid_plans_adds_its_share_at_once(book: Book) -> None:
    book.renew("plus", T0, T0 + 30 * DAY)
    book.spend(500)
    book.now = T0 + 10 * DAY
    (entry,) = book.set_plan("pro")
    assert (entry.amount, entry.monthly) == (1_500 * 20 // 30, 1_000)


def test_s17_the_share_counts_from_when_the_plan_was_changed_not_from_when_it_is_heard_of(book: Book) -> None:
    book.renew("plus", T0, T0 + 30 * DAY)
    book.now = T0 + 20 * DAY
    (entry,) = book.set_plan("pro", since=T0 + 10 * DAY)
    assert entry.amount == 1_000


def test_s17_a_paid_plan_adds_nothing_to_an_allowance_that_was_not_paid_for() -> None:
    book = Book()
    (entry,) = book.set_plan("pro")
    assert (entry.amount, entry.monthly) == (0, 25)


def test_s17_switching_between_paid_plans_back_and_forth_creates_nothing(book: Book) -> None:
    book.renew("plus", T0, T0 + 30 * DAY)
    for _ in range(3):
        book.set_plan("pro")
        book.set_plan("plus")
    assert account_of(book).monthly == 2_000


def test_s17_a_downgrade_within_a_paid_year_takes_effect_with_the_next_month(book: Book) -> None:
    book.set_plan("pro")
    yearly(book, "pro")
    book.set_plan("plus")
    assert account_of(book).monthly == 2_000
    book.now = add_months(T0, 1)
    book.settle()
    assert account_of(book).monthly == 500


def test_s17_changing_from_months_to_years_does_not_open_the_running_month_anew(book: Book) -> None:
    book.renew("plus", T0, add_months(T0, 1))
    book.spend(450)
    book.now = T0 + 10 * DAY
    paid_until = add_months(book.now, 12)
    (entry,) = book.renew("plus", book.now, paid_until, months=12, prolongs=True)
    assert (entry.kind, entry.amount, entry.monthly) == (EntryKind.ALLOWANCE_PROLONGED, 0, 50)
    changed = book.now
    book.now = add_months(T0, 1)
    book.settle()
    # From 28 February to 10 March of the month that began on 10 February.
    assert account_of(book).monthly == 500 * 10 // 28
    book.now = add_months(changed, 1)
    book.settle()
    assert account_of(book).monthly == 500


def test_s17_where_the_billing_date_stays_a_change_to_the_year_leaves_the_months_as_they_were(book: Book) -> None:
    book.renew("plus", T0, add_months(T0, 1))
    book.now = T0 + 10 * DAY
    book.renew("plus", book.now, YEAR_END, months=12, prolongs=True)
    for month in range(1, 12):
        book.now = add_months(T0, month)
        book.settle()
        assert account_of(book).resets_at(book.now) == add_months(T0, month + 1)
    assert [entry.amount for entry in book.entries if entry.kind is EntryKind.ALLOWANCE_OPENED] == [500] * 12


def test_s17_changing_from_years_to_months_and_back_creates_nothing(book: Book) -> None:
    yearly(book)
    for hour in range(1, 4):
        book.now = T0 + timedelta(hours=hour)
        end = add_months(book.now, 1 if hour % 2 else 12)
        book.renew("plus", book.now, end, months=1 if hour % 2 else 12, prolongs=True)
    assert account_of(book).monthly == 500


def test_s17_a_change_to_the_year_at_the_instant_at_which_the_month_began_counts(book: Book) -> None:
    book.renew("plus", T0, add_months(T0, 1))
    (entry,) = book.renew("plus", T0, YEAR_END, months=12, prolongs=True)
    assert entry.kind is EntryKind.ALLOWANCE_PROLONGED
    book.now = add_months(T0, 7)
    book.settle()
    assert account_of(book).monthly == 500


@pytest.mark.parametrize("heard", ["all but the change", "that it rests", "nothing"])
def test_s27_a_month_that_follows_another_one_is_short_however_late_its_payment_is_heard(
    book: Book, heard: str
) -> None:
    month_end, changed = add_months(T0, 1), T0 + 10 * DAY
    if heard != "nothing":
        book.renew("plus", T0, month_end)
    book.now = changed
    if heard == "that it rests":
        book.set_plan("free")
    book.now = month_end + DAY
    book.settle()
    book.renew("plus", changed, add_months(changed, 1), prolongs=True, follows=month_end)
    account = account_of(book)
    assert account.monthly == 500 * 10 // 28
    assert account.allowance is not None
    assert account.allowance.period == Period(month_end, add_months(changed, 1))


def test_s17_an_upgrade_within_a_short_month_adds_the_share_of_a_whole_one(book: Book) -> None:
    book.renew("plus", T0, add_months(T0, 1))
    book.now = T0 + 10 * DAY
    book.renew("plus", book.now, add_months(book.now, 1), prolongs=True)
    # From 28 February, 10 of the month's 28 days are left, then 5.
    book.now = add_months(T0, 1) + 5 * DAY
    for plan in ("pro", "plus", "pro"):
        book.set_plan(plan)
        assert account_of(book).monthly == 500 * 10 // 28 + 1_500 * 5 // 28


@pytest.mark.parametrize("after", [timedelta(0), timedelta.resolution, DAY])
def test_s27_an_end_that_is_heard_at_the_instant_of_the_next_month_opens_the_first_plan_s_at_once(
    book: Book, after: timedelta
) -> None:
    yearly(book)
    book.now = add_months(T0, 1) + after
    book.settle()
    book.set_plan("free", since=T0 + DAY)
    assert account_of(book).monthly == 25
    assert account_of(book).resets_at(book.now) == add_months(T0, 2)


@pytest.mark.parametrize("late", [False, True])
def test_s27_an_upgrade_before_a_short_month_is_rounded_alike_however_late_it_is_heard(
    book: Book, late: bool
) -> None:
    start, end = add_months(T0, 1), add_months(T0, 2)
    book.now = changed = end - DAY
    book.renew("plus", start, end)
    book.renew("plus", changed, add_months(changed, 1), prolongs=True)
    if not late:
        book.set_plan("pro")
    book.now = end + DAY
    book.settle()
    if late:
        book.set_plan("pro", since=changed)
    # Not 500 * 30 // 31 + 1_500 * 30 // 31, which is one less.
    assert account_of(book).monthly == 2_000 * 30 // 31


def test_s15_time_that_is_paid_by_a_change_opens_an_allowance_when_none_is_running(book: Book) -> None:
    book.renew("plus", T0, T0 + 30 * DAY)
    book.now = T0 + 40 * DAY
    lapsed, opened = book.renew("plus", book.now, add_months(book.now, 1), prolongs=True)
    assert (lapsed.kind, lapsed.amount) == (EntryKind.LAPSED, -500)
    assert (opened.kind, opened.monthly) == (EntryKind.ALLOWANCE_OPENED, 500)


def test_s13_what_was_spent_before_a_paid_upgrade_or_prolongation_comes_back(book: Book) -> None:
    book.renew("plus", T0, T0 + 30 * DAY)
    spent = book.spend(500)
    book.set_plan("pro")
    book.renew("pro", T0 + DAY, add_months(T0, 12), months=12, prolongs=True)
    entry = book.do(Reverse(account_id="acme", key=book.key(), entry=spent.seq))[-1]
    assert (entry.amount, entry.lapsed) == (500, ())


@pytest.mark.parametrize("months", [0, 37, True, 1.0, "12"])
def test_s15_a_paid_period_has_a_sensible_number_of_months(months: object) -> None:
    with pytest.raises(InvalidInput, match="months"):
        RenewAllowance(account_id="a", key="k", plan="plus", period=Period(T0, YEAR_END), months=months)  # type: ignore[arg-type]


@pytest.mark.parametrize("months", [1, 12])
def test_s16_a_plan_that_ended_before_its_paid_month_began_is_left(months: int) -> None:
    book = Book()
    book.set_plan("pro", since=T0)
    book.renew("pro", T0, add_months(T0, months), months=months)
    book.now = T0 + 3 * DAY
    book.set_plan("free", since=T0 - DAY)
    account = account_of(book)
    assert (account.plan, account.monthly) == ("free", 25)
    book.now = add_months(T0, 3)
    book.settle()
    assert account_of(book).monthly == 25
