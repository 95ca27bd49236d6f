"""PLUS by subscription: the paid invoice opens the allowance, the end of the subscription ends the plan."""

import asyncio

import pytest

from stripe_sandbox import agenda
from tallystick.billing.errors import AlreadyOnPlan, PlanNotForSale
from tallystick.domain.account import EntryKind
from tallystick.domain.errors import UnknownPlan
from tests.billing.conftest import Shop


async def subscribe(shop: Shop) -> str:
    started = await shop.billing.start_plan_checkout("acme", plan="plus", email="a@example.com")
    assert await shop.pay(started.url) == 303
    await shop.deliver()
    subscription = await shop.billing.subscription("acme")
    assert subscription is not None
    return subscription.id


async def test_s15_the_paid_first_invoice_makes_the_account_plus_and_opens_its_allowance(shop: Shop) -> None:
    await shop.open(plan="free")
    await subscribe(shop)
    account = await shop.account()
    assert (account.plan, account.monthly, account.bonus) == ("plus", 500, 0)
    subscription = await shop.billing.subscription("acme")
    assert subscription is not None
    assert (subscription.plan, subscription.status, subscription.is_live) == ("plus", "active", True)
    assert account.allowance is not None
    assert account.allowance.period.end == subscription.period_end


async def test_s15_delivered_again_an_invoice_opens_nothing_again(shop: Shop) -> None:
    await shop.open(plan="free")
    await subscribe(shop)
    await shop.deliver([{**e, "id": f"{e['id']}2"} for e in shop.sandbox.events("invoice.paid")] * 3)
    opened = [e for e in await shop.ledger.entries("acme") if e.kind is EntryKind.ALLOWANCE_OPENED]
    assert len(opened) == 1


async def test_s15_a_renewal_invoice_schedules_the_next_allowance(shop: Shop) -> None:
    await shop.open(plan="free")
    await subscribe(shop)
    shop.sandbox.advance(32 * 86_400)
    agenda.run_due(shop.sandbox)
    await shop.deliver()
    account = await shop.account()
    # By our clock the next period has not begun: its allowance waits, this one's is still there.
    assert account.monthly == 500
    (coming,) = account.scheduled
    assert account.allowance is not None
    assert coming.grant.effective_at == account.allowance.period.end


async def test_s27_an_old_event_delivered_late_does_not_bring_an_ended_plan_back(shop: Shop) -> None:
    await shop.open(plan="free")
    id = await subscribe(shop)
    await shop.stripe.v1.subscriptions.cancel_async(id)
    await shop.deliver()
    old = shop.sandbox.events("customer.subscription.created")
    await shop.deliver([{**event, "id": "evt_late"} for event in old])
    assert (await shop.account()).plan == "free"


async def test_a_plan_that_cannot_be_subscribed_to_is_refused(shop: Shop) -> None:
    await shop.open()
    for plan, error in (("gold", UnknownPlan), ("free", PlanNotForSale), ("plus", AlreadyOnPlan)):
        with pytest.raises(error):
            await shop.billing.start_plan_checkout("acme", plan=plan)


async def test_somebody_elses_subscription_on_the_same_stripe_account_changes_nothing(shop: Shop) -> None:
    await shop.open(plan="free")
    customer = await shop.stripe.v1.customers.create_async({"name": "not ours"})
    session = await shop.stripe.v1.checkout.sessions.create_async(
        {
            "mode": "subscription",
            "customer": customer.id,
            "success_url": "http://x",
            "line_items": [{"price": "price_plusMonthly", "quantity": 1}],
            "subscription_data": {"metadata": {"account_id": "acme"}},
        }
    )
    await shop.pay(str(session.url))
    await shop.deliver()
    assert (await shop.account()).plan == "free"
    assert all(event.status != "parked" for event in await shop.billing.latest_events(100))


async def test_events_of_one_subscription_at_once_set_the_plan_once(shop: Shop) -> None:
    await shop.open(plan="free")
    started = await shop.billing.start_plan_checkout("acme", plan="plus")
    await shop.pay(started.url)
    events = shop.events()
    copies = [{**event, "id": f"{event['id']}{n}"} for event in events for n in range(5)]
    await asyncio.gather(*(shop.receive(copy) for copy in copies))
    await shop.deliver([])
    kinds = [entry.kind for entry in await shop.ledger.entries("acme")]
    assert kinds.count(EntryKind.PLAN_SET) == 1
    assert kinds.count(EntryKind.ALLOWANCE_OPENED) == 1
