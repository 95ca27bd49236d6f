"""Test clocks: customers in a time of their own, in which everything happens in order and at its instant."""

from itertools import pairwise
from typing import Any

import pytest
import stripe

from stripe_sandbox import agenda
from tests.sandbox.subscribing import DAY, DECLINES_LATER, GOOD, Shop
from tests.sandbox.test_checkout import until

START = 1_700_000_000


async def clock(shop: Shop) -> str:
    made = await shop.client.v1.test_helpers.test_clocks.create_async({"frozen_time": START, "name": "a year"})
    assert (made.status, made.frozen_time) == ("ready", START)
    return made.id


async def advance(shop: Shop, id: str, days: float) -> None:
    """Advance as Stripe's users do: ask, then wait until it is ready."""
    service = shop.client.v1.test_helpers.test_clocks
    target = START + int(days * DAY)
    asked = await service.advance_async(id, {"frozen_time": target})
    assert asked.status == "advancing"
    assert asked.status_details.advancing is not None
    assert asked.status_details.advancing.target_frozen_time == target
    await until(lambda: (shop.sandbox.get(id, "test_helpers.test_clock")["status"]) == "ready")
    assert (await service.retrieve_async(id)).frozen_time == target


async def test_a_subscription_lives_in_its_customers_clock(shop: Shop) -> None:
    id = await clock(shop)
    customer = await shop.customer(GOOD, test_clock=id)
    begun = await shop.subscribe(customer, await shop.price(), trial_period_days=14)
    assert (begun.created, begun.test_clock, begun.trial_end) == (START, id, START + 14 * DAY)
    before = shop.mark()
    await advance(shop, id, 14 + 62)
    invoices = (await shop.client.v1.invoices.list_async({"customer": customer})).data
    assert [invoice.total for invoice in invoices] == [1900, 1900, 1900, 0]
    assert [invoice.status for invoice in invoices] == ["paid"] * 4
    assert invoices[2].created == START + 14 * DAY
    events = shop.sandbox.events()[before:]
    assert [event["type"] for event in events if "test_clock" in event["type"]] == [
        "test_helpers.test_clock.advancing",
        "test_helpers.test_clock.ready",
    ]
    times = [event["created"] for event in events]
    assert times == sorted(times)
    assert times[-1] == START + 76 * DAY


async def test_dunning_happens_in_the_clocks_time(shop: Shop) -> None:
    id = await clock(shop)
    customer = await shop.customer(GOOD, test_clock=id)
    begun = await shop.subscribe(customer, await shop.price())
    await shop.set_card(customer, DECLINES_LATER)
    await advance(shop, id, 31)
    assert (await shop.subscription(begun.id)).status == "past_due"
    await advance(shop, id, 60)
    failed = [event["created"] for event in shop.sandbox.events("invoice.payment_failed")]
    end = begun["items"].data[0].current_period_end
    assert failed == [end + days * DAY for days in (0, 3, 8, 15)]
    assert (await shop.subscription(begun.id)).status == "canceled"


async def test_everybodys_clock_and_a_test_clock_do_not_touch_each_other(shop: Shop) -> None:
    id = await clock(shop)
    price = await shop.price()
    inside = await shop.subscribe(await shop.customer(GOOD, test_clock=id), price)
    outside = await shop.subscribe(await shop.customer(), price)
    shop.pass_days(32)
    assert (await shop.latest_invoice(inside.id)).billing_reason == "subscription_create"
    assert (await shop.latest_invoice(outside.id)).billing_reason == "subscription_cycle"
    await advance(shop, id, 32)
    assert (await shop.latest_invoice(inside.id)).billing_reason == "subscription_cycle"
    assert len((await shop.client.v1.invoices.list_async({"subscription": outside.id})).data) == 2


async def test_a_clock_goes_forward_only_and_one_way_at_a_time(shop: Shop) -> None:
    id = await clock(shop)
    service = shop.client.v1.test_helpers.test_clocks
    with pytest.raises(stripe.InvalidRequestError, match="after its current"):
        await service.advance_async(id, {"frozen_time": START})
    with pytest.raises(stripe.InvalidRequestError, match="No such"):
        await shop.customer(GOOD, test_clock="clock_missing")


async def test_deleting_a_clock_deletes_who_lives_in_it(shop: Shop) -> None:
    id = await clock(shop)
    customer = await shop.customer(GOOD, test_clock=id)
    begun = await shop.subscribe(customer, await shop.price())
    service = shop.client.v1.test_helpers.test_clocks
    assert [c.id for c in (await service.list_async()).data] == [id]
    await service.delete_async(id)
    gone: Any = await shop.client.v1.customers.retrieve_async(customer)
    assert gone.deleted
    assert (await shop.subscription(begun.id)).status == "canceled"
    assert (await service.list_async()).data == []


async def test_long_absence_is_made_up_for_in_order(shop: Shop) -> None:
    begun = await shop.subscribe(await shop.customer(), await shop.price())
    shop.sandbox.advance(200 * DAY)
    agenda.run_due(shop.sandbox)
    found = (await shop.client.v1.invoices.list_async({"subscription": begun.id})).data
    assert len(found) == 7
    months = [(newer.created - older.created) / DAY for newer, older in pairwise(found)]
    assert all(28 <= days <= 31.1 for days in months)
