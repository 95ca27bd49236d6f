"""Subscription schedules: phases that follow each other, and what becomes of them."""

from typing import Any

import pytest
import stripe

from tests.sandbox.subscribing import Shop, in_order, lines


async def scheduled(shop: Shop, first: str, then: str, **given: Any) -> tuple[str, stripe.SubscriptionSchedule]:
    """A subscription to `first` that becomes `then` when its period is over."""
    bought = await shop.subscribe(await shop.customer(), first)
    schedules = shop.client.v1.subscription_schedules
    made = await schedules.create_async({"from_subscription": bought.id})
    assert (made.status, made.subscription, len(made.phases)) == ("active", bought.id, 1)
    now = made.phases[0]
    phases: Any = [
        {"start_date": now.start_date, "end_date": now.end_date, "items": [{"price": first}]},
        {"items": [{"price": then}], "proration_behavior": "none"},
    ]
    return bought.id, await schedules.update_async(made.id, {"phases": phases, **given})


async def test_the_next_phase_begins_with_the_next_period_and_then_the_schedule_lets_go(shop: Shop) -> None:
    plus, small = await shop.price(1900), await shop.price(900, name="SMALL")
    id, schedule = await scheduled(shop, plus, small)
    assert [phase.proration_behavior for phase in schedule.phases] == ["create_prorations", "none"]
    assert (await shop.subscription(id)).schedule == schedule.id
    assert (await shop.subscription(id))["items"].data[0].price.id == plus
    preview = await shop.client.v1.invoices.create_preview_async({"subscription": id})
    assert preview.amount_due == 900

    since = shop.mark()
    shop.pass_days(32)
    assert lines(await shop.latest_invoice(id)) == [("1 × SMALL (at $9.00 / month)", 900)]
    events = shop.types(since)
    assert in_order(events, "customer.subscription.updated", "invoice.paid", "subscription_schedule.updated")
    renewed = shop.last("customer.subscription.updated")["data"]
    assert renewed["object"]["items"]["data"][0]["price"]["id"] == small
    assert "items" in renewed["previous_attributes"]

    shop.pass_days(32)
    after = await shop.client.v1.subscription_schedules.retrieve_async(schedule.id)
    assert (after.status, after.released_subscription, after.subscription) == ("released", id, None)
    assert (await shop.subscription(id)).schedule is None
    assert (await shop.latest_invoice(id)).amount_paid == 900


async def test_a_schedule_that_is_released_changes_nothing_any_more(shop: Shop) -> None:
    plus, small = await shop.price(1900), await shop.price(900, name="SMALL")
    id, schedule = await scheduled(shop, plus, small)
    released = await shop.client.v1.subscription_schedules.release_async(schedule.id)
    assert released.status == "released"
    shop.pass_days(32)
    assert (await shop.latest_invoice(id)).amount_paid == 1900
    with pytest.raises(stripe.InvalidRequestError, match="currently in the `released` status"):
        await shop.client.v1.subscription_schedules.release_async(schedule.id)


async def test_a_schedule_may_end_the_subscription(shop: Shop) -> None:
    plus, small = await shop.price(1900), await shop.price(900, name="SMALL")
    id, schedule = await scheduled(shop, plus, small, end_behavior="cancel")
    shop.pass_days(32)
    assert (await shop.subscription(id)).status == "active"
    shop.pass_days(32)
    assert (await shop.subscription(id)).status == "canceled"
    assert (await shop.client.v1.subscription_schedules.retrieve_async(schedule.id)).status == "completed"
    assert "subscription_schedule.completed" in shop.types()


async def test_a_phase_in_the_middle_of_a_period_is_prorated(shop: Shop) -> None:
    plus, small = await shop.price(1900), await shop.price(900, name="SMALL")
    bought = await shop.subscribe(await shop.customer(), plus)
    made = await shop.client.v1.subscription_schedules.create_async({"from_subscription": bought.id})
    start, end = made.phases[0].start_date, made.phases[0].end_date
    half = (start + end) // 2
    await shop.client.v1.subscription_schedules.update_async(
        made.id,
        {
            "phases": [
                {"start_date": start, "end_date": half, "items": [{"price": plus}]},
                {"items": [{"price": small}], "end_date": end, "proration_behavior": "always_invoice"},
            ]
        },
    )
    shop.pass_days(17)
    assert [amount for _, amount in lines(await shop.latest_invoice(bought.id))] == [-950, 450]


async def test_the_end_of_a_subscription_ends_its_schedule(shop: Shop) -> None:
    plus, small = await shop.price(1900), await shop.price(900, name="SMALL")
    id, schedule = await scheduled(shop, plus, small)
    await shop.client.v1.subscriptions.cancel_async(id)
    assert (await shop.client.v1.subscription_schedules.retrieve_async(schedule.id)).status == "canceled"
    assert in_order(shop.types(), "customer.subscription.deleted", "subscription_schedule.canceled")
    id, schedule = await scheduled(shop, plus, small)
    canceled = await shop.client.v1.subscription_schedules.cancel_async(schedule.id)
    assert canceled.status == "canceled"
    assert (await shop.subscription(id)).status == "canceled"


async def test_what_cannot_be_is_refused(shop: Shop) -> None:
    plus, small = await shop.price(1900), await shop.price(900, name="SMALL")
    id, schedule = await scheduled(shop, plus, small)
    schedules = shop.client.v1.subscription_schedules
    with pytest.raises(stripe.InvalidRequestError, match="already attached to a schedule"):
        await schedules.create_async({"from_subscription": id})
    with pytest.raises(stripe.InvalidRequestError, match="managed by the subscription schedule"):
        await shop.client.v1.subscriptions.update_async(id, {"cancel_at_period_end": True})
    with pytest.raises(stripe.InvalidRequestError, match="makes schedules of"):
        await schedules.create_async({"customer": await shop.customer()})
    other_start: Any = [{"start_date": schedule.phases[0].start_date + 5, "items": [{"price": plus}]}]
    with pytest.raises(stripe.InvalidRequestError, match="start date of the current phase"):
        await schedules.update_async(schedule.id, {"phases": other_start})
    gap: Any = [
        {
            "start_date": schedule.phases[0].start_date,
            "end_date": schedule.phases[0].end_date,
            "items": [{"price": plus}],
        },
        {"start_date": schedule.phases[0].end_date + 5, "items": [{"price": small}]},
    ]
    with pytest.raises(stripe.InvalidRequestError, match="without a gap"):
        await schedules.update_async(schedule.id, {"phases": gap})
