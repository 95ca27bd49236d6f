"""S26: forged, edited, stale, cross-mode and cross-account webhooks, and return visits that are not the buyer's own:
nothing is credited, and each is seen by an operator."""

import asyncio
import json
from typing import Any

import pytest

from stripe_sandbox.delivery import signature
from tallystick.billing import EventStatus, comparisons
from tallystick.billing.errors import UnknownPurchase, WebhookRefused
from tallystick.billing.inbox_table import MOST_REFUSED
from tallystick.billing.refusals import REASONS, Refusals
from tallystick.billing.stripe_api import BillingSettings
from tests.billing.conftest import SECRET, Shop


def edited(event: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """An event whose object somebody has changed."""
    return {**event, "data": {**event["data"], "object": {**event["data"]["object"], **changes}}}


async def counted(shop: Shop) -> dict[str, int]:
    return {refused.reason: refused.count for refused in await shop.billing.refusals()}


async def test_s26_whatever_does_not_come_from_stripe_as_it_is_credits_nothing_and_is_counted(shop: Shop) -> None:
    await shop.open()
    await shop.open("mallory")
    purchase = await shop.buy()
    (paid,) = [event for event in shop.events() if event["type"] == "checkout.session.completed"]
    now, metadata = int(shop.clock().timestamp()), paid["data"]["object"]["metadata"]
    true = signature(json.dumps(paid).encode(), SECRET, now)
    attempts = [
        (paid, None, "signature_missing"),
        (paid, signature(json.dumps(paid).encode(), "whsec_forged", now), "signature_invalid"),
        (edited(paid, amount_total=1), true, "signature_invalid"),
        (edited(paid, metadata={**metadata, "account_id": "mallory"}), true, "signature_invalid"),
        (paid, signature(json.dumps(paid).encode(), SECRET, now - 301), "signature_stale"),
        ([paid], signature(json.dumps([paid]).encode(), SECRET, now), "not_an_event"),
    ]
    for body, header, code in attempts:
        with pytest.raises(WebhookRefused) as refused:
            await shop.billing.receive_webhook(json.dumps(body).encode(), header)
        assert refused.value.code == code
    # What Stripe did sign is kept, and never worked.
    await shop.receive({**paid, "livemode": True})
    await shop.receive({**paid, "id": "evt_connected", "account": "acct_other"})
    for session in (purchase.checkout_session_id, "cs_test_guessed"):
        with pytest.raises(UnknownPurchase):
            await shop.billing.purchase_of_return("mallory", session)
    assert await shop.billing.work_inbox() == 0
    kept = await shop.billing.latest_events(10, EventStatus.REFUSED)
    assert {event.id: str(event.last_error).partition(":")[0] for event in kept} == {
        paid["id"]: "wrong_mode",
        "evt_connected": "other_account",
    }
    replayed = await shop.billing.replay_events([event.id for event in kept])
    assert {event.status for event in replayed} == {EventStatus.REFUSED}
    assert [(await shop.account(name)).bonus for name in ("acme", "mallory")] == [0, 0]
    assert await counted(shop) == {
        "signature_missing": 1,
        "signature_invalid": 3,
        "signature_stale": 1,
        "not_an_event": 1,
        "wrong_mode": 1,
        "other_account": 1,
        "unknown_purchase": 2,
    }
    # A signed event whose object was edited at the source is not believed either: Stripe is asked.
    await shop.deliver([edited(paid, amount_total=1, metadata={**metadata, "account_id": "mallory"})])
    assert [(await shop.account(name)).bonus for name in ("acme", "mallory")] == [200, 0]
    # And it was taken although it had been refused before: now it is of our mode.
    assert (await shop.billing.event_story(paid["id"])).event.status is EventStatus.DONE
    await shop.deliver([paid, paid])
    assert (await shop.account()).bonus == 200


async def test_s26_however_much_is_refused_the_database_does_not_grow(shop: Shop) -> None:
    for _ in range(500):
        with pytest.raises(WebhookRefused):
            await shop.billing.receive_webhook(b"{}", "t=1,v1=00")
    await shop.billing._refusals.keep()
    for _ in range(2):
        with pytest.raises(WebhookRefused):
            await shop.billing.receive_webhook(b"{}", "t=1,v1=00")
    assert await counted(shop) == {"signature_invalid": 502}
    rows = "SELECT count(*) FROM refusals"
    assert await shop.number(rows) <= 2
    event = {"object": "event", "type": "x", "livemode": False, "data": {"object": {"id": "x"}}, "account": "acct_1"}
    for n in range(MOST_REFUSED + 10):
        await shop.receive({**event, "id": f"evt_{n}"})
    kept = {event.id for event in await shop.billing.latest_events(1_000)}
    assert kept == {f"evt_{n}" for n in range(10, MOST_REFUSED + 10)}
    assert (await counted(shop))["other_account"] == MOST_REFUSED + 10


async def test_s26_what_a_service_refuses_other_processes_see_within_seconds(shop: Shop) -> None:
    stopping, elsewhere = asyncio.Event(), Refusals(shop.database, shop.clock)
    service = asyncio.create_task(shop.billing.run(stopping))
    for total in (1, 2):
        with pytest.raises(WebhookRefused):
            await shop.billing.receive_webhook(b"{}", "t=1,v1=00")
        async with asyncio.timeout(3):
            while [each.count for each in await elsewhere.since(shop.clock())] != [total]:
                await asyncio.sleep(0.05)
    stopping.set()
    await service


async def test_s26_an_event_that_was_refused_by_mistake_is_replayed_once_the_settings_are_right(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparisons, "CALLS_PER_SECOND", 1_000_000)
    await shop.open()
    await shop.buy()
    wrong = BillingSettings("sk_live_1", (SECRET,), "https://shop.test")
    right, shop.billing.settings = shop.billing.settings, wrong
    await shop.deliver()
    (refused,) = await shop.billing.latest_events(10, EventStatus.REFUSED, type="checkout.session.completed")
    assert (await shop.account()).bonus == 0
    shop.billing.settings = right
    # Nothing of it was taken, so reconciliation calls it missed.
    missed = [difference.subject for difference in (await shop.billing.reconcile()).left]
    assert refused.id in missed
    (done,) = await shop.billing.replay_events([refused.id])
    assert (done.status, done.last_error, (await shop.account()).bonus) == (EventStatus.DONE, None, 200)


def test_every_reason_to_refuse_a_webhook_is_explained() -> None:
    assert {error.code for error in WebhookRefused.__subclasses__()} < set(REASONS)
