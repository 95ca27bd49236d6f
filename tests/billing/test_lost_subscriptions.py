"""S16: a subscription that we keep and Stripe does not have any more, as when the account there was cleared: it ends when
its owner wants a plan again, or when an operator says so, and never on an event alone."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tallystick.billing import EventStatus
from tallystick.billing.differences import Kind
from tallystick.billing.errors import (
    AlreadyOnPlan,
    NoCustomer,
    StripeRejected,
    StripeUnavailable,
    SubscriptionNotLost,
    UnknownSubscription,
)
from tallystick.billing.subscriptions import Subscriptions
from tallystick.domain.commands import SetPlan
from tests.billing.lifecycle import T0, Life, living, on


@pytest.fixture
async def life(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Life]:
    monkeypatch.setattr("tallystick.billing.comparisons.CALLS_PER_SECOND", 10_000)
    async with living(database_url, monkeypatch) as made:
        yield made


async def _killed(*_: object) -> None:
    raise asyncio.CancelledError


def lose(life: Life) -> None:
    """What becomes of a test account whose data are deleted: neither subscriptions nor customers are there any more."""
    for kind in ("subscription", "customer", "invoice"):
        for found in life.sandbox.store.newest_first(kind):
            life.sandbox.store.delete(found["id"])


async def test_s16_a_subscription_that_stripe_has_lost_ends_when_its_owner_wants_a_plan_again(life: Life) -> None:
    lost = await life.subscribe()
    await life.buy()
    await life.deliver()
    await life.pass_until(2026, 2, 10)
    lose(life)
    started = await life.billing.start_plan_checkout("acme", plan="plus")
    said = await life.shows("free", 500, "lost")
    assert said.text == "Your subscription to PLUS has ended. Your bonus credits stay yours."
    ended = await life.subscription()
    assert (ended.id, ended.ends_at) == (lost, life.clock())
    assert await life.billing.start_plan_checkout("acme", plan="plus") == started
    assert await life.pay(started.url) == 303
    await life.deliver()
    await life.shows("plus", 500, "active")
    assert (await life.subscription()).id == life.newest()["id"] != lost
    await life.pass_until(2026, 3, 10)
    await life.shows("plus", 500, "active")
    assert await life.opened() == [(T0, 500), (on(2026, 2, 10), 500), (on(2026, 3, 10), 500)]
    assert (await life.balance()).bonus == 200


async def test_s16_what_was_paid_of_a_lost_subscription_stays_until_its_month_ends(life: Life) -> None:
    await life.subscribe(interval="year")
    await life.pass_until(2026, 3, 10)
    lose(life)
    await life.billing.start_plan_checkout("acme", plan="pro")
    await life.shows("free", 500, "lost")
    await life.pass_until(2026, 4, 1)
    await life.shows("free", 25, "lost")
    assert await life.opened() == [(T0, 500), (on(2026, 2, 28), 500), (on(2026, 3, 31), 25)]


async def test_s16_who_wants_to_manage_a_subscription_that_stripe_has_lost_can_begin_anew(life: Life) -> None:
    await life.subscribe()
    await life.pass_until(2026, 2, 10)
    lose(life)
    with pytest.raises(NoCustomer):
        await life.billing.open_portal("acme")
    await life.shows("free", 500, "lost")
    await life.subscribe()
    await life.shows("plus", 500, "active")


async def test_s27_an_event_of_a_subscription_that_stripe_does_not_show_ends_nothing(life: Life) -> None:
    await life.subscribe()
    kept = life.newest()
    await life.stripe.v1.subscriptions.update_async(kept["id"], {"cancel_at_period_end": True})
    life.sandbox.store.delete(kept["id"])
    await life.deliver()
    assert (await life.balance()).plan == "plus"
    assert (await life.subscription()).status == "active"
    assert [event.type for event in await life.billing.latest_events(9, EventStatus.PENDING)] == [
        "customer.subscription.updated"
    ]


@pytest.mark.parametrize(("fails", "told"), [("server_error", StripeUnavailable), ("forbidden", StripeRejected)])
async def test_a_subscription_is_not_ended_because_stripe_does_not_say_how_it_stands(
    life: Life, fails: str, told: type[Exception]
) -> None:
    id = await life.subscribe()
    # Of a customer that is gone no list shows the subscription, so it is asked for by its id.
    life.sandbox.store.delete(life.newest()["customer"])
    life.sandbox.outages.fail(fails, times=4, method="GET", path=f"/v1/subscriptions/{id}")
    with pytest.raises(told):
        await life.billing.start_plan_checkout("acme", plan="pro", email="a@example.com")
    await life.shows("plus", 500, "active")


async def test_s16_a_lost_subscription_leaves_the_plan_of_another_one(life: Life) -> None:
    await life.subscribe("pro")
    pro = life.newest()
    await life.customer()
    await life.begin()
    life.sandbox.store.delete(pro["id"])
    await life.billing.end_lost_subscription(pro["id"])
    await life.shows("plus", 500, "active")


async def test_s16_a_service_that_is_killed_in_the_middle_ends_a_lost_subscription_at_the_next_try(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    await life.subscribe()
    await life.pass_until(2026, 2, 10)
    lose(life)
    with monkeypatch.context() as patched:
        patched.setattr(Subscriptions, "_set_plan", _killed)
        with pytest.raises(asyncio.CancelledError):
            await life.billing.start_plan_checkout("acme", plan="plus")
    assert (await life.balance()).plan == "plus"
    life.sandbox.advance(60)
    assert (await life.billing.start_plan_checkout("acme", plan="plus")).url
    await life.shows("free", 500, "lost")


async def test_s16_a_plan_that_an_operator_sets_after_the_loss_stays(life: Life) -> None:
    await life.subscribe()
    lose(life)
    await life.billing.start_plan_checkout("acme", plan="plus")
    await life.ledger.submit(SetPlan(account_id="acme", key="by-hand", plan="plus"))
    with pytest.raises(AlreadyOnPlan):
        await life.billing.start_plan_checkout("acme", plan="plus")
    await life.shows("plus", 500, "lost")


async def test_s16_a_subscription_that_comes_back_carries_its_account_again(life: Life) -> None:
    await life.subscribe()
    there = life.newest()
    life.sandbox.store.delete(there["id"])
    await life.billing.start_plan_checkout("acme", plan="plus")
    await life.shows("free", 500, "lost")
    life.sandbox.store.put(there)
    report = await life.billing.reconcile(apply=True)
    assert {each.kind for each in report.repaired} == {Kind.WRONG_PLAN}
    await life.shows("plus", 500, "active")
    await life.pass_until(2026, 2, 28)
    await life.shows("plus", 500, "active")


async def test_s16_a_year_that_was_paid_goes_on_when_its_subscription_comes_back(life: Life) -> None:
    await life.subscribe(interval="year")
    await life.pass_until(2026, 3, 10)
    there = life.newest()
    life.sandbox.store.delete(there["id"])
    await life.billing.start_plan_checkout("acme", plan="plus")
    await life.pass_until(2026, 4, 10)
    await life.shows("free", 25, "lost")
    life.sandbox.store.put(there)
    for _ in range(2):
        assert (await life.billing.reconcile(apply=True)).is_healthy
        share = (500 - 25) * 20 // 30
        await life.shows("plus", 25 + share, "active")
    await life.pass_until(2026, 4, 30)
    await life.shows("plus", 500, "active")
    await life.pass_until(2026, 5, 31)
    await life.shows("plus", 500, "active")


async def test_a_lost_subscription_is_told_by_reconciliation_with_what_to_do(life: Life) -> None:
    lost = await life.subscribe()
    lose(life)
    for apply in (False, True):
        report = await life.billing.reconcile(apply=apply)
        (left,) = report.left
        assert (left.kind, left.subject, left.account_id) == (Kind.UNKNOWN_AT_STRIPE, lost, "acme")
        assert left.suggestion == f"tallystick subscriptions end {lost}"
    await life.shows("plus", 500, "active")
    assert await life.billing.end_lost_subscription(lost) == "acme"
    await life.shows("free", 500, "lost")
    assert await life.billing.end_lost_subscription(lost) == "acme"
    assert (await life.billing.reconcile(apply=True)).is_healthy


async def test_only_a_subscription_that_stripe_does_not_have_is_ended_here(life: Life) -> None:
    id = await life.subscribe()
    with pytest.raises(SubscriptionNotLost, match="active"):
        await life.billing.end_lost_subscription(id)
    with pytest.raises(UnknownSubscription):
        await life.billing.end_lost_subscription("sub_nope")
    await life.shows("plus", 500, "active")
    assert (await life.billing.reconcile()).looked_at["kept_subscriptions"] == 1
