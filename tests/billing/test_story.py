"""S15 to S17, S27: what invoices mean, told from the shapes that Stripe sends, the current one and the older one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tallystick.billing.reading import Invoice, read_invoice, read_waiting, subscription_of
from tallystick.billing.story import Prices, carried_plan, tell
from tallystick.billing.told import Command
from tallystick.domain.catalogue import Catalogue, Plan
from tallystick.domain.commands import RenewAllowance, SetPlan

T0 = datetime(2026, 3, 1, tzinfo=UTC)
CATALOGUE = Catalogue(
    [
        Plan("free", 25),
        Plan("plus", 500, stripe_price="price_plus", stripe_price_yearly="price_plus_year"),
        Plan("pro", 2_000, stripe_price="price_pro", stripe_price_yearly="price_pro_year"),
    ]
)
PRICES = Prices(CATALOGUE)


def day(n: float) -> int:
    return int((T0 + timedelta(days=n)).timestamp())


def line(price: str, start: float, end: float, amount: int = 1900, item: str | None = None) -> dict[str, Any]:
    """A line in the current shape: for a whole period, or of an invoice item, which then is a proration."""
    return {
        "id": f"il_{price}_{start}",
        "amount": amount,
        "period": {"start": day(start), "end": day(end)},
        "pricing": {"price_details": {"price": price}},
        "parent": {
            "subscription_item_details": {
                "invoice_item": item,
                "proration": item is not None,
                "subscription": "sub_1",
            }
        },
    }


def invoice(id: str, created: float, *lines: dict[str, Any], status: str = "paid", reason: str = "") -> Invoice:
    return read_invoice(
        {
            "id": id,
            "status": status,
            "billing_reason": reason or "subscription_cycle",
            "created": day(created),
            "lines": {"data": list(lines), "has_more": False},
            "parent": {"subscription_details": {"subscription": "sub_1", "metadata": {"plan": "plus"}}},
        }
    )


def commands(*args: Any, **given: Any) -> list[Command]:
    return [told.command for told in tell(*args, **given).counting]


def told(*invoices: Invoice, now: float = 1, status: str = "active", prices: Prices = PRICES) -> list[Command]:
    return commands("acme", status, invoices, [], prices, T0 + timedelta(days=now))


def test_the_current_and_the_older_shape_of_an_invoice_say_the_same() -> None:
    older = {
        "id": "in_1",
        "status": "paid",
        "billing_reason": "subscription_update",
        "created": day(0),
        "subscription": "sub_1",
        "subscription_details": {"metadata": {"plan": "plus"}},
        "lines": {
            "data": [
                {
                    "id": "il_price_plus_0",
                    "type": "subscription",
                    "amount": 1900,
                    "period": {"start": day(0), "end": day(30)},
                    "price": {"id": "price_plus"},
                    "proration": False,
                    "subscription": "sub_1",
                },
                {
                    "id": "il_price_pro_10",
                    "type": "invoiceitem",
                    "invoice_item": "ii_1",
                    "amount": 2400,
                    "period": {"start": day(10), "end": day(30)},
                    "price": {"id": "price_pro"},
                    "proration": True,
                    "subscription": "sub_1",
                },
            ]
        },
    }
    current = invoice(
        "in_1",
        0,
        line("price_plus", 0, 30),
        line("price_pro", 10, 30, 2400, "ii_1"),
        reason="subscription_update",
    )
    assert read_invoice(older) == current
    assert subscription_of(older) == "sub_1"
    assert subscription_of({"parent": {"subscription_details": {"subscription": "sub_2"}}}) == "sub_2"
    assert subscription_of({"parent": None}) is None


def test_s15_a_paid_invoice_opens_its_period_and_one_that_is_not_paid_opens_nothing() -> None:
    (renew,) = told(invoice("in_1", 0, line("price_plus", 0, 30)))
    assert isinstance(renew, RenewAllowance)
    assert (renew.key, renew.plan, renew.months, renew.prolongs) == ("invoice:in_1:plus", "plus", 1, False)
    assert (renew.period.start, renew.period.end) == (T0, T0 + timedelta(days=30))
    for status in ("draft", "open", "void", "uncollectible"):
        assert told(invoice("in_1", 0, line("price_plus", 0, 30), status=status)) == []


def test_s15_what_is_over_adds_nothing() -> None:
    assert told(invoice("in_1", 0, line("price_plus", 0, 30)), now=30) == []


def test_s15_a_paid_year_says_how_many_months_it_has() -> None:
    (renew,) = told(invoice("in_1", 0, line("price_plus_year", 0, 365, 19_000)))
    assert isinstance(renew, RenewAllowance)
    assert renew.months == 12


def test_s16_of_a_year_whose_subscription_has_ended_only_the_month_in_which_it_did_is_left() -> None:
    year = invoice("in_1", 0, line("price_plus_year", 0, 365, 19_000))
    upgrade = invoice("in_2", 10, line("price_pro_year", 10, 365, 30_000, "ii_1"), reason="subscription_update")

    def after(now: float) -> list[Command]:
        clock = T0 + timedelta(days=now)
        return commands("acme", "canceled", [year, upgrade], [], PRICES, clock, ended=day(40))

    renew, change = after(50)
    assert isinstance(renew, RenewAllowance)
    assert (renew.period.start, renew.period.end, renew.months) == (
        T0 + timedelta(days=31),
        T0 + timedelta(days=61),
        1,
    )
    assert isinstance(change, SetPlan)
    assert after(61) == []


def test_s16_of_a_month_whose_subscription_has_ended_all_is_left() -> None:
    # From 30 April to 31 May, as Stripe bills what began on a 31st.
    month = invoice("in_1", 60, line("price_plus", 60, 91))
    clock = T0 + timedelta(days=70)
    (renew,) = commands("acme", "canceled", [month], [], PRICES, clock, ended=day(65))
    assert isinstance(renew, RenewAllowance)
    assert renew.period.end == T0 + timedelta(days=91)


def test_s17_an_upgrade_counts_from_its_proration_wherever_that_stands() -> None:
    proration = line("price_pro", 10, 30, 2400, "ii_1")
    first = invoice("in_1", 0, line("price_plus", 0, 30))
    on_an_invoice = told(first, invoice("in_2", 10, proration, reason="subscription_update"), now=12)
    waiting = commands(
        "acme",
        "active",
        [first],
        [
            read_waiting(
                {
                    "id": "ii_1",
                    "amount": 2400,
                    "proration": True,
                    "period": {"start": day(10), "end": day(30)},
                    "pricing": {"price_details": {"price": "price_pro"}},
                }
            )
        ],
        PRICES,
        T0 + timedelta(days=12),
    )
    assert on_an_invoice == list(waiting)
    change = waiting[-1]
    assert isinstance(change, SetPlan)
    assert (change.key, change.plan, change.since) == ("proration:ii_1", "pro", T0 + timedelta(days=10))


def test_s16_a_change_whose_invoice_is_open_counts_only_in_good_standing() -> None:
    first = invoice("in_1", 0, line("price_plus", 0, 30))
    change = invoice("in_2", 10, line("price_pro", 10, 30, 2400, "ii_1"), status="open", reason="subscription_update")
    assert [command.plan for command in told(first, change, now=12)] == ["plus", "pro"]
    for status in ("past_due", "unpaid", "canceled"):
        assert [command.plan for command in told(first, change, now=12, status=status)] == ["plus"]


def test_s17_back_and_forth_is_told_in_the_order_in_which_it_happened() -> None:
    first = invoice("in_1", 0, line("price_plus", 0, 30))
    up = invoice("in_2", 10, line("price_pro", 10, 30, 2400, "ii_1"), reason="subscription_update")
    down = invoice("in_3", 11, line("price_plus", 11, 30, 1200, "ii_2"), reason="subscription_update")
    assert [command.plan for command in told(down, up, first, now=12)] == ["plus", "pro", "plus"]
    assert told(down, up, first, now=12) == told(first, up, down, now=12)


@pytest.mark.parametrize("as_part", [True, False], ids=["the billing date stays", "the billing date moves"])
def test_s17_a_change_to_the_year_prolongs_and_does_not_change_the_plan(as_part: bool) -> None:
    credit = line("price_plus", 10, 30, -1200, "ii_0")
    year = line("price_plus_year", 10, 365, 18_000, "ii_1" if as_part else None)
    change = invoice("in_2", 10, credit, year, reason="subscription_update")
    renew = told(invoice("in_1", 0, line("price_plus", 0, 30)), change, now=12)[-1]
    assert isinstance(renew, RenewAllowance)
    assert (renew.prolongs, renew.months, renew.period.end) == (True, 12, T0 + timedelta(days=365))


def test_s17_a_change_to_the_year_of_another_plan_prolongs_and_changes_the_plan() -> None:
    lines = (line("price_plus", 10, 30, -1200, "ii_0"), line("price_pro_year", 10, 375, 60_000))
    change = invoice("in_2", 10, *lines, reason="subscription_update")
    found = told(invoice("in_1", 0, line("price_plus", 0, 30)), change, now=12)
    assert [(type(command), command.plan) for command in found] == [
        (RenewAllowance, "plus"),
        (RenewAllowance, "pro"),
        (SetPlan, "pro"),
    ]


def test_s27_a_year_counts_no_more_where_months_have_taken_its_place() -> None:
    year = invoice("in_1", 0, line("price_plus_year", 0, 365))
    months = line("price_plus", 40, 71)
    change = invoice("in_2", 40, months, reason="subscription_update")
    # The month of the year that ran then goes on to its end, on the 62nd day.
    assert [command.key for command in told(year, change, now=45)] == ["invoice:in_1:plus", "invoice:in_2:plus"]
    assert [command.key for command in told(year, change, now=65)] == ["invoice:in_2:plus"]
    # The next month is still to be paid.
    assert told(year, change, now=80, status="past_due") == []


def test_s15_a_proration_of_the_same_interval_opens_nothing() -> None:
    lines = (line("price_plus", 10, 30, -1200, "ii_0"), line("price_pro", 10, 30, 2400, "ii_1"))
    (change,) = told(invoice("in_2", 10, *lines, reason="subscription_update"), now=12)
    assert isinstance(change, SetPlan)


def test_s15_a_price_that_left_the_catalogue_is_known_from_before_or_from_our_checkout() -> None:
    gone = invoice("in_1", 0, line("price_gone", 0, 30))
    (by_metadata,) = told(gone)
    assert by_metadata.plan == "plus"
    (by_what_was_kept,) = told(gone, prices=Prices(CATALOGUE, {"price_gone": "pro"}))
    assert by_what_was_kept.plan == "pro"
    (year,) = told(invoice("in_1", 0, line("price_gone", 0, 365)))
    assert isinstance(year, RenewAllowance)
    assert year.months == 12


def test_s15_something_else_on_the_same_invoice_is_not_the_plan() -> None:
    extra = line("price_seats", 0, 30)
    one_off = {**line("price_setup", 0, 30), "parent": {"invoice_item_details": {"invoice_item": "ii_9"}}}
    (renew,) = told(invoice("in_1", 0, extra, one_off, line("price_plus", 0, 30)))
    assert renew.plan == "plus"


def test_s16_while_past_due_the_plan_is_the_one_from_before_what_is_owed() -> None:
    renewal = invoice("in_2", 30, line("price_pro", 30, 60), status="open")
    change = invoice(
        "in_2",
        10,
        line("price_plus", 10, 30, -1200, "ii_0"),
        line("price_pro", 10, 30, 2400, "ii_1"),
        status="open",
        reason="subscription_update",
    )

    def carried(status: str, *invoices: Invoice) -> str | None:
        plan = carried_plan(status, ["price_pro"], {}, invoices, PRICES)
        return None if plan is None else plan.name

    assert carried("past_due", renewal) == "pro"
    assert carried("past_due", change) == "plus"
    assert carried("active", change) == "pro"
    assert carried("past_due") == "pro"


def test_a_subscription_that_is_none_of_ours_carries_no_plan() -> None:
    assert carried_plan("active", ["price_other"], {}, [], PRICES) is None
