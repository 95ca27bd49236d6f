"""Events are not kept for ever, and what was forgotten and comes again takes effect once (S27)."""

import asyncio
from datetime import timedelta

import pytest

from tallystick.billing import LEAST_EVENTS_KEPT_DAYS, EventStatus, billing, pruning, walks
from tallystick.billing.errors import WebhookRefused
from tallystick.config import ConfigurationError, load_stripe_settings
from tests.billing.conftest import Shop


async def age(shop: Shop, days: int, *columns: str, where: str = "true") -> None:
    """Let events be older than they are."""
    then = (shop.clock() - timedelta(days=days)).isoformat(timespec="microseconds")
    await shop.sql(f"UPDATE stripe_events SET {', '.join(f'{c} = {then!r}' for c in columns)} WHERE {where}")


async def a_moment_of_the_service(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it run until it has written down what it refused and has forgotten what is old."""
    monkeypatch.setattr(billing, "PRUNE_SECONDS", 0.02)
    monkeypatch.setattr(billing, "COUNT_SECONDS", 0.02)
    with pytest.raises(WebhookRefused):
        await shop.billing.receive_webhook(b"{}", None)
    stopping = asyncio.Event()
    running = asyncio.create_task(shop.billing.run(stopping))
    async with asyncio.timeout(20):
        while await shop.billing.latest_events(1) or not await shop.number("SELECT count(*) FROM refusals"):
            await asyncio.sleep(0.02)
    stopping.set()
    await running


async def test_s27_an_event_that_was_forgotten_and_comes_again_takes_effect_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "AT_ONCE", 2)
    await shop.open()
    await shop.buy()
    events = shop.events()
    await shop.deliver(events)
    entries = await shop.ledger.entries("acme", limit=100)
    await age(shop, 89, "received_at", "finished_at")
    assert await shop.billing.prune_events() == 0
    await age(shop, 91, "received_at")
    # Worked again lately: it tells what came out for as long as any other.
    assert await shop.billing.prune_events() == 0
    await age(shop, 91, "received_at", "finished_at")
    await a_moment_of_the_service(shop, monkeypatch)
    assert await shop.billing.latest_events(100) == []
    assert len(events) > 2 * pruning.AT_ONCE
    await shop.deliver([*events, *events])
    assert {event.status for event in await shop.billing.latest_events(100)} <= {
        EventStatus.DONE,
        EventStatus.IGNORED,
    }
    assert await shop.ledger.entries("acme", limit=100) == entries
    assert (await shop.account()).bonus == 200


async def test_s28_an_event_that_waits_or_is_parked_is_never_forgotten(shop: Shop) -> None:
    event = {"object": "event", "type": "invoice.paid", "livemode": False, "data": {"object": {"id": "in_none"}}}
    statuses = (*EventStatus, "pending, worked")
    for n, _ in enumerate(statuses):
        await shop.receive({**event, "id": f"evt_{n}"})
    for n, status in enumerate(statuses):
        await shop.sql(f"UPDATE stripe_events SET status = '{status.partition(',')[0]}' WHERE id = 'evt_{n}'")
    await age(shop, 1_000, "received_at", "finished_at")
    await age(shop, 1_000, "due_at", where=f"id = 'evt_{len(EventStatus)}'")
    for _ in range(3):
        await shop.sql(
            "INSERT INTO refusals VALUES ('2020-01-01 00:00:00+00:00', 'x', 1, '2020-01-01 00:00:00+00:00')"
        )
        assert await shop.billing.prune_events() in (0, 4)
    kept = await shop.billing.latest_events(100)
    assert {event.status for event in kept} == {EventStatus.PENDING, EventStatus.PARKED}
    assert len(kept) == 3
    assert await shop.number("SELECT count(*) FROM refusals") == 0


@pytest.mark.parametrize("days", ["30", "34", "0", "-90", "x", "9" * 400, "3651"])
def test_events_are_kept_for_longer_than_reconciliation_looks_back(days: str) -> None:
    env = {"STRIPE_SECRET_KEY": "sk_test_1", "BASE_URL": "http://shop.test"}
    assert timedelta(days=LEAST_EVENTS_KEPT_DAYS) > walks.FIRST_LOOK_BACK
    with pytest.raises(ConfigurationError, match="STRIPE_EVENTS_KEPT_DAYS"):
        load_stripe_settings({**env, "STRIPE_EVENTS_KEPT_DAYS": days})
    kept = load_stripe_settings({**env, "STRIPE_EVENTS_KEPT_DAYS": "35"})
    default = load_stripe_settings(env)
    assert kept is not None
    assert default is not None
    assert (kept.events_kept_days, default.events_kept_days) == (35, 90)
