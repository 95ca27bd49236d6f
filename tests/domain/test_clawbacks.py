"""S23 and S25: what is taken back of a grant, up and down, and what is frozen meanwhile."""

import pytest

from tallystick.domain.account import Account, Entry, EntryKind, GrantKind, Lot
from tallystick.domain.commands import Capture, ClawBack, Release, Reverse, Settle, Spend
from tallystick.domain.errors import (
    ClawbackSuperseded,
    InsufficientCredits,
    InvalidAmount,
    InvalidInput,
    Refusal,
)
from tallystick.domain.periods import add_months
from tallystick.domain.settle import next_due
from tests.domain.book import CATALOGUE, DAY, T0, Book


@pytest.fixture
def book() -> Book:
    """An account without an allowance."""
    return Book(plan="payg")


def account_of(book: Book) -> Account:
    assert book.account is not None
    return book.account


def claw(book: Book, grant: Entry, total: int, *, version: int = 0, frozen: bool = False) -> list[Entry] | Refusal:
    key = book.key()
    command = ClawBack(
        account_id="acme", key=key, grant=grant.seq, total=total, version=version or book.keys, frozen=frozen
    )
    return book.try_(command)


def state(book: Book) -> tuple[int, int, int, int]:
    account = account_of(book)
    return account.bonus, account.held, account.available, account.debt


def test_s23_only_the_difference_to_what_was_taken_before_is_taken(book: Book) -> None:
    bonus = book.grant(200)
    for total, taken in ((66, -66), (133, -67), (200, -67)):
        (entry,) = book.do(ClawBack(account_id="acme", key=book.key(), grant=bonus.seq, total=total, version=total))
        assert (entry.kind, entry.amount) == (EntryKind.CLAWED_BACK, taken)
    assert state(book) == (0, 0, 0, 0)


def test_s23_a_refund_that_fails_later_is_undone(book: Book) -> None:
    bonus = book.grant(200)
    book.spend(150)
    claw(book, bonus, 100)
    assert state(book) == (0, 0, 0, 50)
    claw(book, bonus, 0)
    assert state(book) == (50, 0, 50, 0)
    entry = book.entries[-1]
    assert (entry.kind, entry.amount, entry.owed) == (EntryKind.RESTORED, 50, -50)


def test_s23_a_part_of_several_refunds_that_fails_is_undone_alone(book: Book) -> None:
    bonus = book.grant(200)
    book.spend(150)
    claw(book, bonus, 200)
    assert state(book) == (0, 0, 0, 150)
    claw(book, bonus, 100)
    assert state(book) == (0, 0, 0, 50)
    claw(book, bonus, 20)
    assert state(book) == (30, 0, 30, 0)


def test_s25_a_frozen_grant_cannot_be_spent_and_others_can(book: Book) -> None:
    disputed = book.grant(200)
    book.grant(50)
    claw(book, disputed, 0, frozen=True)
    assert state(book) == (250, 200, 50, 0)
    assert account_of(book).frozen == 200
    assert book.entries[-1].kind is EntryKind.FROZEN
    spent = book.spend(50)
    assert [lot.grant_id for lot in spent.lots] == [disputed.seq + 1]
    with pytest.raises(AssertionError, match="0 are available"):
        book.spend(1)


def test_s25_a_dispute_that_is_won_restores_exactly(book: Book) -> None:
    disputed = book.grant(200)
    book.spend(50)
    claw(book, disputed, 0, frozen=True)
    claw(book, disputed, 200)
    assert state(book) == (0, 0, 0, 50)
    claw(book, disputed, 0)
    assert state(book) == (150, 0, 150, 0)


def test_s25_what_repaid_the_debt_of_a_dispute_that_is_won_comes_back(book: Book) -> None:
    disputed = book.grant(200)
    book.spend(50)
    claw(book, disputed, 200)
    book.grant(30)
    assert state(book) == (0, 0, 0, 20)
    claw(book, disputed, 0)
    assert state(book) == (180, 0, 180, 0)


def test_s25_a_dispute_that_is_won_is_restored_net_of_refunds(book: Book) -> None:
    disputed = book.grant(200)
    claw(book, disputed, 100)
    claw(book, disputed, 100, frozen=True)
    claw(book, disputed, 200)
    claw(book, disputed, 100)
    assert state(book) == (100, 0, 100, 0)


def test_s25_an_inquiry_that_is_closed_thaws_what_is_there(book: Book) -> None:
    disputed = book.grant(200)
    claw(book, disputed, 0, frozen=True)
    claw(book, disputed, 0)
    assert state(book) == (200, 0, 200, 0)
    assert book.entries[-1].kind is EntryKind.THAWED


def test_s12_s25_a_hold_from_before_the_dispute_is_still_served(book: Book) -> None:
    disputed = book.grant(200)
    hold = book.hold(80)
    claw(book, disputed, 0, frozen=True)
    assert state(book) == (200, 200, 0, 0)
    book.do(Capture(account_id="acme", key=book.key(), hold=hold.seq, amount=30))
    # What the hold did not need stays out of reach.
    assert state(book) == (170, 170, 0, 0)


def test_s25_what_returns_to_a_frozen_grant_is_frozen_too(book: Book) -> None:
    disputed = book.grant(200)
    spent = book.spend(200)
    claw(book, disputed, 0, frozen=True)
    book.do(Reverse(account_id="acme", key=book.key(), entry=spent.seq))
    assert state(book) == (200, 200, 0, 0)
    claw(book, disputed, 0)
    assert state(book) == (200, 0, 200, 0)


def test_s25_a_released_hold_of_a_frozen_grant_is_frozen(book: Book) -> None:
    disputed = book.grant(200)
    hold = book.hold(80)
    claw(book, disputed, 0, frozen=True)
    book.do(Release(account_id="acme", key=book.key(), hold=hold.seq))
    assert state(book) == (200, 200, 0, 0)


def test_s24_s25_what_is_thawed_repays_what_is_owed_of_it(book: Book) -> None:
    disputed = book.grant(200)
    hold = book.hold(80)
    claw(book, disputed, 200, frozen=True)
    assert state(book) == (80, 80, 0, 80)
    book.do(Release(account_id="acme", key=book.key(), hold=hold.seq))
    assert state(book) == (80, 80, 0, 80)
    claw(book, disputed, 200)
    assert state(book) == (0, 0, 0, 0)


def test_s2_a_frozen_grant_lapses_when_it_is_thawed_after_its_end(book: Book) -> None:
    disputed = book.grant(200, expires_at=book.now + DAY)
    claw(book, disputed, 0, frozen=True)
    book.now += 2 * DAY
    book.do(Settle(account_id="acme"))
    assert state(book) == (200, 200, 0, 0)
    # Nothing is due until the month ends: a sweep must not come back for it again and again (S14).
    assert next_due(account_of(book), CATALOGUE) == add_months(T0, 1)
    claw(book, disputed, 0)
    assert state(book) == (0, 0, 0, 0)
    assert book.entries[-1].lots == (Lot(disputed.seq, GrantKind.BOUGHT, 200),)


def test_s27_of_two_looks_that_cross_the_later_one_counts(book: Book) -> None:
    bonus = book.grant(200)
    claw(book, bonus, 0, version=2)
    assert book.entries[-1].kind is EntryKind.CLAWBACK_CONFIRMED
    refused = claw(book, bonus, 200, version=1)
    assert isinstance(refused, ClawbackSuperseded)
    assert state(book) == (200, 0, 200, 0)


def test_s23_other_grants_are_never_raided(book: Book) -> None:
    bonus = book.grant(200)
    other = book.grant(100)
    book.spend(150)
    claw(book, bonus, 200)
    assert [(g.id, g.remaining) for g in account_of(book).grants] == [(other.seq, 100)]
    assert account_of(book).debt == 150


def test_s11_a_spend_that_frozen_credits_would_pay_says_what_is_available(book: Book) -> None:
    disputed = book.grant(200)
    claw(book, disputed, 0, frozen=True)
    insufficient = book.try_(Spend(account_id="acme", key="s", amount=1))
    assert isinstance(insufficient, InsufficientCredits)
    assert insufficient.details["available"] == 0


@pytest.mark.parametrize("total", [-1, 10**12 + 1, 1.5, True, "5"])
def test_s1_a_total_is_a_whole_number_from_0(total: object) -> None:
    with pytest.raises((InvalidAmount, InvalidInput)):
        ClawBack(account_id="a", key="k", grant=2, total=total, version=1)  # type: ignore[arg-type]


def test_s23_what_is_taken_back_before_a_grant_starts_is_taken_from_it_and_nothing_is_owed(book: Book) -> None:
    later = book.grant(50, effective_at=T0 + 10 * DAY)
    book.grant(30)
    claw(book, later, 20)
    assert state(book) == (30, 0, 30, 0)
    claw(book, later, 50)
    claw(book, later, 10)
    assert state(book) == (30, 0, 30, 0), "the other grant is not touched, and nothing can be spent early"
    book.now += 10 * DAY
    book.settle()
    assert state(book) == (70, 0, 70, 0)


def test_s23_a_grant_that_was_taken_back_whole_before_it_started_can_still_be_restored(book: Book) -> None:
    later = book.grant(50, effective_at=T0 + 10 * DAY)
    claw(book, later, 50)
    book.now += 10 * DAY
    book.settle()
    assert state(book) == (0, 0, 0, 0)
    claw(book, later, 0)
    assert state(book) == (50, 0, 50, 0)


def test_s25_a_grant_that_is_frozen_before_it_starts_is_out_of_reach_when_it_does(book: Book) -> None:
    later = book.grant(50, effective_at=T0 + 10 * DAY)
    claw(book, later, 0, frozen=True)
    book.now += 10 * DAY
    book.settle()
    assert state(book) == (50, 50, 0, 0)
    claw(book, later, 0)
    assert state(book) == (50, 0, 50, 0)
