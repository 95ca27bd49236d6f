"""Upgrades, downgrades and quantities: what is prorated, what is billed at once, and what waits."""

from typing import Any

import pytest
import stripe

from tests.sandbox.subscribing import DAY, DECLINES_LATER, Shop, lines


async def begin(shop: Shop, amount: int = 3000, **given: Any) -> tuple[stripe.Subscription, str]:
    """A subscription that began half of a 30 day period ago, and its item."""
    begun = await shop.subscribe(await shop.customer(**given), await shop.price(amount, name="PLUS"))
    item = begun["items"].data[0]
    half = (item.current_period_end - item.current_period_start) / DAY / 2
    shop.pass_days(half)
    return begun, item.id


def near(found: int, wanted: int) -> bool:
    """Within what a few seconds of the test's own time cost."""
    return abs(found - wanted) <= 1


async def test_an_upgrade_waits_for_the_next_invoice(shop: Shop) -> None:
    begun, item = await begin(shop)
    pro = await shop.price(6000, name="PRO")
    before = shop.mark()
    changed = await shop.client.v1.subscriptions.update_async(begun.id, {"items": [{"id": item, "price": pro}]})
    assert changed["items"].data[0].price.id == pro
    assert changed.latest_invoice == begun.latest_invoice
    assert shop.types(before) == ["invoiceitem.created", "invoiceitem.created", "customer.subscription.updated"]
    previous = shop.last("customer.subscription.updated")["data"]["previous_attributes"]
    assert set(previous) == {"items"}
    assert previous["items"]["data"][0]["price"]["unit_amount"] == 3000
    shop.pass_days(16)
    invoice = await shop.latest_invoice(begun.id)
    (credit, debit, renewal) = lines(invoice)
    assert credit[0] == "Unused time on PLUS"
    assert near(credit[1], -1500)
    assert debit[0] == "Remaining time on PRO"
    assert near(debit[1], 3000)
    assert renewal == ("1 × PRO (at $60.00 / month)", 6000)
    assert [line.parent.subscription_item_details.proration for line in invoice.lines.data] == [True, True, False]


async def test_an_upgrade_can_be_invoiced_at_once(shop: Shop) -> None:
    begun, item = await begin(shop)
    pro = await shop.price(6000, name="PRO")
    changed = await shop.client.v1.subscriptions.update_async(
        begun.id, {"items": [{"id": item, "price": pro}], "proration_behavior": "always_invoice"}
    )
    invoice = await shop.latest_invoice(begun.id)
    assert (changed.status, invoice.status, invoice.billing_reason) == ("active", "paid", "subscription_update")
    assert near(invoice.total, 1500)
    credited = invoice.lines.data[0].parent.subscription_item_details.proration_details.credited_items
    assert credited.invoice == begun.latest_invoice


async def test_a_downgrade_at_once_leaves_credit_that_the_next_invoice_uses(shop: Shop) -> None:
    begun, item = await begin(shop, 6000)
    less = await shop.price(3000, name="LITE")
    await shop.client.v1.subscriptions.update_async(
        begun.id, {"items": [{"id": item, "price": less}], "proration_behavior": "always_invoice"}
    )
    invoice = await shop.latest_invoice(begun.id)
    assert (invoice.amount_due, invoice.status) == (0, "paid")
    assert near(invoice.ending_balance, -1500)
    shop.pass_days(16)
    renewal = await shop.latest_invoice(begun.id)
    assert (renewal.total, renewal.ending_balance, renewal.status) == (3000, 0, "paid")
    assert near(renewal.amount_paid, 1500)
    kept = await shop.client.v1.customers.balance_transactions.list_async(str(begun.customer))
    assert [t.type for t in kept.data] == ["applied_to_invoice"] * 2
    assert kept.data[0].ending_balance == 0


async def test_without_proration_only_the_next_period_costs_something_else(shop: Shop) -> None:
    begun, item = await begin(shop)
    pro = await shop.price(6000, name="PRO")
    await shop.client.v1.subscriptions.update_async(
        begun.id, {"items": [{"id": item, "price": pro}], "proration_behavior": "none"}
    )
    shop.pass_days(16)
    assert lines(await shop.latest_invoice(begun.id)) == [("1 × PRO (at $60.00 / month)", 6000)]


async def test_switching_back_and_forth_credits_what_was_billed(shop: Shop) -> None:
    begun, item = await begin(shop)
    prices = [await shop.price(6000, name="PRO"), str(begun["items"].data[0].price.id)]
    for price in prices * 2:
        await shop.client.v1.subscriptions.update_async(begun.id, {"items": [{"id": item, "price": price}]})
    waiting = await shop.client.v1.invoice_items.list_async({"pending": True, "limit": 100})
    assert len(waiting.data) == 8
    assert near(sum(i.amount for i in waiting.data), 0)


async def test_a_month_becomes_a_year_counted_from_the_same_anchor(shop: Shop) -> None:
    begun, item = await begin(shop)
    yearly = await shop.price(36_500, "year", "PLUS")
    changed = await shop.client.v1.subscriptions.update_async(
        begun.id, {"items": [{"id": item, "price": yearly}], "proration_behavior": "always_invoice"}
    )
    now_item = changed["items"].data[0]
    assert changed.billing_cycle_anchor == begun.billing_cycle_anchor
    assert now_item.current_period_start == begun.billing_cycle_anchor
    assert 365 <= (now_item.current_period_end - begun.billing_cycle_anchor) / DAY <= 366
    credit, debit = lines(await shop.latest_invoice(begun.id))
    assert near(credit[1], -1500)
    assert 34_900 <= debit[1] <= 35_100


async def test_resetting_the_anchor_bills_a_whole_period_from_now(shop: Shop) -> None:
    begun, item = await begin(shop)
    changed = await shop.client.v1.subscriptions.update_async(
        begun.id, {"items": [{"id": item, "quantity": 2}], "billing_cycle_anchor": {"type": "now"}}
    )
    assert changed.billing_cycle_anchor == changed["items"].data[0].current_period_start
    credit, full = lines(await shop.latest_invoice(begun.id))
    assert near(credit[1], -1500)
    assert full == ("2 × PLUS (at $30.00 / month)", 6000)


async def test_the_anchor_can_be_given_as_the_sandboxs_api_version_has_it(shop: Shop) -> None:
    begun, _ = await begin(shop)
    raw = await shop.client.raw_request_async(
        "post", f"/v1/subscriptions/{begun.id}", billing_cycle_anchor="now", proration_behavior="none"
    )
    changed: Any = shop.client.deserialize(raw, api_mode="V1")
    assert changed.billing_cycle_anchor > begun.billing_cycle_anchor
    assert lines(await shop.latest_invoice(begun.id)) == [("1 × PLUS (at $30.00 / month)", 3000)]


async def test_items_are_added_changed_and_taken_away(shop: Shop) -> None:
    begun, item = await begin(shop)
    extra = await shop.price(1000, name="Seats")
    service = shop.client.v1.subscription_items
    added = await service.create_async({"subscription": begun.id, "price": extra, "quantity": 2})
    assert [i.id for i in (await service.list_async({"subscription": begun.id})).data] == [item, added.id]
    more = await service.update_async(added.id, {"quantity": 5})
    assert (more.quantity, (await service.retrieve_async(added.id)).quantity) == (5, 5)
    await service.delete_async(added.id)
    with pytest.raises(stripe.InvalidRequestError, match="No such subscription_item"):
        await service.retrieve_async(added.id)
    with pytest.raises(stripe.InvalidRequestError, match="at least one item"):
        await service.delete_async(item)
    waiting = (await shop.client.v1.invoice_items.list_async({"pending": True})).data
    assert sum(i.amount for i in waiting) == 0


async def test_a_trial_ended_early_is_billed_from_now(shop: Shop) -> None:
    begun = await shop.subscribe(await shop.customer(), await shop.price(), trial_period_days=14)
    changed = await shop.client.v1.subscriptions.update_async(begun.id, {"trial_end": "now"})
    invoice = await shop.latest_invoice(begun.id)
    assert (changed.status, invoice.status, invoice.total) == ("active", "paid", 1900)
    assert changed.billing_cycle_anchor == changed.trial_end


async def test_a_trial_in_the_middle_credits_what_was_paid(shop: Shop) -> None:
    begun, _ = await begin(shop)
    until = shop.sandbox.now() + 60 * DAY
    changed = await shop.client.v1.subscriptions.update_async(begun.id, {"trial_end": until})
    assert (changed.status, changed.trial_end, changed.billing_cycle_anchor) == ("trialing", until, until)
    assert near((await shop.latest_invoice(begun.id)).total, -1500)
    shop.pass_days(61)
    assert (await shop.subscription(begun.id)).status == "active"


async def test_a_change_whose_payment_fails_makes_it_past_due_or_is_refused_or_waits(shop: Shop) -> None:
    begun, item = await begin(shop)
    customer = str(begun.customer)
    pro = await shop.price(6000, name="PRO")
    await shop.set_card(customer, DECLINES_LATER)
    change: Any = {"items": [{"id": item, "price": pro}], "proration_behavior": "always_invoice"}
    with pytest.raises(stripe.CardError):
        await shop.client.v1.subscriptions.update_async(
            begun.id, {**change, "payment_behavior": "error_if_incomplete"}
        )
    same = await shop.subscription(begun.id)
    assert (same.status, same["items"].data[0].price.unit_amount) == ("active", 3000)

    waits = await shop.client.v1.subscriptions.update_async(
        begun.id, {**change, "payment_behavior": "pending_if_incomplete"}
    )
    assert waits.pending_update is not None
    assert waits["items"].data[0].price.unit_amount == 3000
    invoice = await shop.latest_invoice(begun.id)
    await shop.client.v1.invoices.pay_async(invoice.id, {"payment_method": await shop.card(customer)})
    applied = await shop.subscription(begun.id)
    assert (applied.pending_update, applied["items"].data[0].price.unit_amount) == (None, 6000)
    assert "customer.subscription.pending_update_applied" in shop.types()

    await shop.client.v1.subscriptions.update_async(
        begun.id, {"items": [{"id": item, "quantity": 2}], "proration_behavior": "always_invoice"}
    )
    late = await shop.subscription(begun.id)
    assert (late.status, late["items"].data[0].quantity) == ("past_due", 2)


async def test_a_waiting_change_that_is_not_paid_in_time_never_happens(shop: Shop) -> None:
    begun, item = await begin(shop)
    await shop.set_card(str(begun.customer), DECLINES_LATER)
    await shop.client.v1.subscriptions.update_async(
        begun.id,
        {
            "items": [{"id": item, "quantity": 3}],
            "proration_behavior": "always_invoice",
            "payment_behavior": "pending_if_incomplete",
        },
    )
    shop.pass_days(1)
    over = await shop.subscription(begun.id)
    assert (over.pending_update, over["items"].data[0].quantity) == (None, 1)
    assert (await shop.latest_invoice(begun.id)).status == "void"
    assert "customer.subscription.pending_update_expired" in shop.types()


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"items": [{"id": "si_missing", "quantity": 2}]}, "items[0][id]"),
        ({"items": [{"price": "price_missing"}]}, "items[0][price]"),
        ({"default_payment_method": "pm_missing"}, "default_payment_method"),
        ({"cancel_at": 1}, "cancel_at"),
        ({"trial_end": 1}, "trial_end"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_what_cannot_be_changed_to_is_refused(shop: Shop, change: Any, param: str) -> None:
    begun = await shop.subscribe(await shop.customer(), await shop.price())
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await shop.client.v1.subscriptions.update_async(begun.id, change)
    assert refused.value.param == param
