"""S27 for events that only name what they are about: they end where the snapshots of the same would have."""

import asyncio
import random
from typing import Any

import pytest

from stripe_sandbox import refunds, thin
from tallystick.billing import EventStatus, comparisons
from tallystick.billing.differences import Kind
from tests.billing.conftest import Shop
from tests.sandbox.conftest import CARD


def thin_ones(shop: Shop) -> list[dict[str, Any]]:
    """What an event destination would have been sent so far, oldest first."""
    return [thin.pushed(event) for event in reversed(shop.sandbox.store.newest_first("v2.core.event"))]


async def lives(shop: Shop) -> None:
    """Two accounts: one subscribes, buys and gets half of it back; one is only there."""
    await shop.open("acme", "free")
    await shop.open("other")
    started = await shop.billing.start_plan_checkout("acme", plan="plus")
    assert await shop.pay(started.url, CARD) == 303
    await shop.deliver(thin_ones(shop))
    purchase = await shop.buy()
    await shop.deliver(thin_ones(shop))
    bought = await shop.billing.purchase("acme", purchase.id)
    refunds.create(shop.sandbox, {"payment_intent": bought.payment_intent_id, "amount": 300})


async def standing(shop: Shop) -> tuple[str, int, int, int]:
    account = await shop.account()
    moved = [entry for entry in await shop.ledger.entries("acme", limit=100) if entry.amount]
    return account.plan, account.monthly, account.bonus, len(moved)


async def test_s27_thin_events_do_what_snapshots_do_and_both_together_take_effect_once(
    shop: Shop,
) -> None:
    await lives(shop)
    before = await standing(shop)
    assert before[:3] == ("plus", 500, 200)
    both = [*thin_ones(shop), *shop.events()] * 2
    random.Random(7).shuffle(both)
    await asyncio.gather(*map(shop.receive, both))
    await asyncio.gather(*(shop.deliver([]) for _ in range(3)))
    # 599 were paid and 300 given back.
    assert await standing(shop) == ("plus", 500, 200 - 200 * 300 // 599, before[3] + 1)
    statuses = {event.status for event in await shop.billing.latest_events(1_000)}
    assert statuses == {EventStatus.DONE, EventStatus.IGNORED}
    told = await shop.billing.latest_events(10, type="charge.refunded", account_id="acme")
    assert sorted(event.type for event in told) == ["charge.refunded", "v1.charge.refunded"]


async def test_an_event_that_came_thin_is_not_called_missed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "CALLS_PER_SECOND", 1_000_000)
    await shop.open()
    await shop.buy()
    missed = await shop.billing.reconcile()
    assert Kind.EVENT_NOT_RECEIVED in {difference.kind for difference in missed.left}
    await shop.deliver(thin_ones(shop))
    assert (await shop.account()).bonus == 200
    (snapshot,) = shop.sandbox.events("checkout.session.completed")
    (event,) = await shop.billing.latest_events(10, type="checkout.session.completed")
    assert (event.type, event.snapshot_event) == ("v1.checkout.session.completed", snapshot["id"])
    report = await shop.billing.reconcile(since=missed.since)
    assert (report.left, report.unexplained) == ([], 0)


async def test_s28_a_thin_event_that_stripe_does_not_give_any_more_is_worked_by_what_it_names(shop: Shop) -> None:
    await shop.open()
    purchase = await shop.buy()
    (event,) = [e for e in thin_ones(shop) if e["type"] == "v1.checkout.session.completed"]
    await shop.receive({**event, "id": "evt_test_forgotten"})
    await shop.deliver([])
    story = await shop.billing.event_story("evt_test_forgotten")
    assert (story.event.status, story.object_id) == (EventStatus.DONE, purchase.checkout_session_id)
    assert (story.purchase, story.event.snapshot_event) == (await shop.billing.purchase("acme", purchase.id), None)
    assert (await shop.account()).bonus == 200
    # One that is about nothing that can be looked at is for an operator, not for twelve tries.
    await shop.receive({**event, "id": "evt_test_empty", "related_object": None})
    await shop.deliver([])
    (parked,) = await shop.billing.latest_events(10, EventStatus.PARKED)
    assert (parked.id, parked.attempts) == ("evt_test_empty", 1)
