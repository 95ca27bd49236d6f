"""S16, S27: two subscriptions of one account that both end within a month, heard of in their order and in reverse."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from stripe_sandbox.billing import settings as billing_settings
from tallystick.domain.commands import OpenAccount
from tests.billing.conftest import Shop, make_shop
from tests.billing.lifecycle import DECLINES_LATER, PLANS, PLUS_YEAR, PRO, Life, living, on
from tests.conftest import PLUS_PRICE, Fresh

PRICES = {"pro": PRO, "plus": PLUS_PRICE}
FIRST, SECOND = (on(2026, 1, 31), on(2026, 2, 28)), (on(2026, 2, 5), on(2026, 3, 5))


@pytest.fixture
async def life(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Life]:
    async with living(database_url, monkeypatch) as life:
        yield life


@pytest.fixture
async def late(life: Life, fresh_database: Fresh) -> AsyncIterator[Shop]:
    """Another installation, that hears of the same life when all of it is over."""
    async with fresh_database() as url, make_shop(url, PLANS, life.server, life.clock) as shop:
        await shop.ledger.submit(OpenAccount(account_id="acme", plan="free"))
        yield shop


def told(life: Life) -> list[dict[str, Any]]:
    """What has happened to subscriptions; each leads to a look at all there is."""
    return [event for event in life.events() if event["type"].startswith("customer.subscription.")]


@pytest.mark.parametrize(
    ("first", "ends_first", "credits", "month"),
    [
        # The greater one carries; when it ends, what the other one paid for counts, to the end of its month.
        ("pro", "pro", 500, SECOND),
        ("plus", "plus", 2_000, SECOND),
        ("plus", "pro", 2_000, SECOND),
        # One that never carried the account leaves nothing.
        ("pro", "plus", 2_000, FIRST),
    ],
)
async def test_s27_two_subscriptions_that_both_ended_leave_the_same_month_in_whatever_order_they_are_heard_of(
    life: Life, late: Shop, first: str, ends_first: str, credits: int, month: object
) -> None:
    customer = await life.customer()
    subscriptions = life.stripe.v1.subscriptions
    ids: dict[str, str] = {}
    events = told(life)
    for plan, day in ((first, 5), ("plus" if first == "pro" else "pro", 10)):
        made = await subscriptions.create_async({"customer": customer, "items": [{"price": PRICES[plan]}]})
        ids[plan] = made.id
        await life.pass_until(2026, 2, day, deliver=False)
        events += (new := told(life))
        await life.deliver(new)
    for plan in (ends_first, "plus" if ends_first == "pro" else "pro"):
        await subscriptions.cancel_async(ids[plan])
        await life.pass_until(2026, 2, life.clock().day + 2, deliver=False)
        events += (new := told(life))
        await life.deliver(new)
    for event in reversed(events):
        await late.deliver([event])
    for shop in (life, late):
        account = await shop.account()
        assert account.allowance is not None
        found = account.allowance.period
        assert (account.plan, account.monthly, (found.start, found.end)) == ("free", credits, month)
        # Reconciling has nothing to add to it, and finds nothing amiss.
        for id in ids.values():
            standing = await shop.billing._subscriptions.standing(id)
            assert standing is not None
            assert (standing.is_known, standing.missing, standing.wanted) == (True, None, "free")
        await shop.assert_proven()


async def all_at_once(life: Life, late: Shop, plan: str, monthly: int, month: tuple[datetime, datetime]) -> None:
    """Both installations have come to that, the late one from events that come in reverse."""
    for event in reversed(life.sandbox.events()):
        await late.deliver([event])
    for shop in (life, late):
        account = await shop.account()
        assert account.allowance is not None
        found = account.allowance.period
        assert (account.plan, account.monthly, (found.start, found.end)) == (plan, monthly, month)
        await shop.assert_proven()


async def test_s27_what_carried_the_account_while_a_greater_one_was_paused_counts_when_both_have_ended(
    life: Life, late: Shop
) -> None:
    customer = await life.customer()
    subscriptions: Any = life.stripe.v1.subscriptions
    pro = await subscriptions.create_async({"customer": customer, "items": [{"price": PRO}]})
    await life.pass_until(2026, 2, 3)
    await subscriptions.pause_async(pro.id, {"type": "subscription"})
    await life.pass_until(2026, 2, 5)
    plus = await subscriptions.create_async({"customer": customer, "items": [{"price": PLUS_PRICE}]})
    await life.pass_until(2026, 2, 10)
    await subscriptions.cancel_async(plus.id)
    await life.pass_until(2026, 2, 12)
    await subscriptions.cancel_async(pro.id)
    await life.deliver()
    await all_at_once(life, late, "free", 500, SECOND)


async def test_s27_a_subscription_carried_the_account_while_its_plan_was_the_greater_one(
    life: Life, late: Shop
) -> None:
    customer = await life.customer()
    subscriptions: Any = life.stripe.v1.subscriptions
    plus = await subscriptions.create_async({"customer": customer, "items": [{"price": PLUS_PRICE}]})
    await life.pass_until(2026, 2, 5)
    pro = await subscriptions.create_async({"customer": customer, "items": [{"price": PRO}]})
    await life.pass_until(2026, 2, 10)
    # From here on it is of the same plan as the other one, which began first.
    items = [{"id": pro["items"]["data"][0]["id"], "price": PLUS_PRICE}]
    await subscriptions.update_async(pro.id, {"items": items, "proration_behavior": "always_invoice"})
    await life.pass_until(2026, 2, 12)
    for ending in (pro, plus):
        await subscriptions.cancel_async(ending.id)
    await life.deliver()
    await all_at_once(life, late, "free", 2_000, SECOND)


async def test_s27_of_two_subscriptions_that_began_in_one_second_the_one_that_ended_in_it_comes_first(
    life: Life, late: Shop
) -> None:
    customer = await life.customer()
    subscriptions: Any = life.stripe.v1.subscriptions
    # Several, as it must not depend on their ids.
    for _ in range(4):
        tried = await subscriptions.create_async(
            {"customer": customer, "items": [{"price": PLUS_PRICE}], "trial_period_days": 7}
        )
        await subscriptions.cancel_async(tried.id)
    await subscriptions.create_async({"customer": customer, "items": [{"price": PLUS_PRICE}]})
    await life.pass_until(2026, 2, 10)
    await all_at_once(life, late, "plus", 500, FIRST)


@pytest.mark.parametrize("backwards", [False, True])
async def test_s27_a_year_that_ended_leaves_no_month_where_another_subscription_went_unpaid_since(
    life: Life, late: Shop, backwards: bool
) -> None:
    billing_settings.change(life.sandbox, after_retries="unpaid")
    customer = await life.customer()
    subscriptions: Any = life.stripe.v1.subscriptions
    year = await subscriptions.create_async({"customer": customer, "items": [{"price": PLUS_YEAR}]})
    events = life.events()
    for shop in (life, late):
        await shop.deliver(events)
    await life.pass_until(2026, 4, 17)
    await subscriptions.cancel_async(year.id)
    await life.deliver()
    method = await life.stripe.v1.payment_methods.attach_async(DECLINES_LATER, {"customer": customer})
    default: Any = {"invoice_settings": {"default_payment_method": method.id}}
    await life.stripe.v1.customers.update_async(customer, default)
    trial: Any = {"customer": customer, "items": [{"price": PLUS_PRICE}], "trial_period_days": 14}
    await subscriptions.create_async(trial)
    for month, day in ((5, 1), (5, 10), (5, 20), (6, 5)):
        await life.pass_until(2026, month, day)
    events = life.sandbox.events()
    for event in reversed(events) if backwards else events:
        await late.deliver([event])
    for shop in (life, late):
        account = await shop.account()
        assert (account.plan, account.monthly) == ("free", 25)
        await shop.assert_proven()


async def test_s16_s27_a_trial_that_begins_as_another_ends_takes_the_month_that_opened_then_for_want_of_it(
    life: Life, late: Shop
) -> None:
    customer = await life.customer()
    subscriptions = life.stripe.v1.subscriptions
    trial: Any = {"customer": customer, "items": [{"price": PLUS_PRICE}], "trial_period_days": 14}
    first = await subscriptions.create_async(trial)
    await late.deliver(life.events())
    await life.pass_until(2026, 2, 3, deliver=False)
    await subscriptions.cancel_async(first.id)
    await life.pass_until(2026, 2, 14, deliver=False)
    await subscriptions.create_async(trial)
    method = await life.stripe.v1.payment_methods.attach_async(DECLINES_LATER, {"customer": customer})
    default: Any = {"invoice_settings": {"default_payment_method": method.id}}
    await life.stripe.v1.customers.update_async(customer, default)
    await life.pass_until(2026, 3, 1, deliver=False)
    events = life.events()
    for shop in (life, late):
        await shop.deliver(events)
        account = await shop.account()
        assert (account.plan, account.monthly) == ("plus", 0)
        await shop.assert_proven()
