"""S27: what was done for a rest that is not told any more is done anew, on the pure functions."""

from datetime import timedelta

import pytest

from tallystick.billing.mistaken_rests import done_anew
from tallystick.domain.account import EntryKind
from tallystick.domain.commands import RenewAllowance, SetPlan
from tallystick.domain.periods import Period, add_months
from tests.domain.book import CATALOGUE, DAY, T0, Book


@pytest.mark.parametrize("another", [False, True])
def test_s27_a_rest_heard_late_that_was_none_gives_the_month_back(another: bool) -> None:
    book = Book()
    book.do(SetPlan(account_id="acme", key="subscription:sub:1", plan="pro"))
    year = Period(T0, add_months(T0, 12))
    paid = RenewAllowance(account_id="acme", key="invoice:1", plan="pro", period=year, months=12)
    book.do(paid)
    book.now = add_months(T0, 1) + DAY
    book.settle()
    assert book.balances == (2_000, 0)
    # It is said to rest since before this month began; in truth that rest was over by then.
    begun = add_months(T0, 1)
    book.do(SetPlan(account_id="acme", key="rest:sub:1", plan="free", since=begun - 5 * DAY, rests=True))
    assert book.balances == (25, 0)
    book.now += DAY
    rest = SetPlan(account_id="acme", key="rest:sub:2", plan="free", since=book.now - timedelta(hours=1), rests=True)
    told = (paid, rest) if another else (paid,)
    changes = [entry for entry in reversed(book.entries) if entry.kind is EntryKind.PLAN_SET]
    anew = done_anew(told, book.account, changes, CATALOGUE.first_plan, book.now, carried=False)
    assert [command.key for command in anew[:1]] == ["invoice:1"]
    assert len(anew) > 1
    assert all(":anew:" in command.key or command.key.startswith("anew:") for command in anew[1:])
    if not another:
        for command in anew[1:]:
            book.do(command)
        assert book.balances == (2_000, 0)
