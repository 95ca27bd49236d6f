"""The life of a subscription when payments fail, come late, or come from somebody who is gone at Stripe."""

from collections.abc import AsyncIterator

import pytest

from stripe_sandbox.billing import settings
from tests.billing.lifecycle import DECLINES_LATER, GOOD, PRO, T0, Life, living, on


@pytest.fixture
async def life(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Life]:
    async with living(database_url, monkeypatch) as life:
        yield life


async def past_due(life: Life) -> None:
    """On 28 February the renewal could not be paid."""
    await life.subscribe()
    await life.buy()
    await life.use_card(DECLINES_LATER)
    await life.pass_until(2026, 2, 28)
    said = await life.shows("plus", 0, "past_due")
    assert said.text == "Your subscription is past due."
    assert said.alert is not None
    assert "new monthly credits come as soon as it is paid" in said.alert
    assert (await life.balance()).available == 200


async def test_s16_past_due_opens_nothing_until_it_is_paid(life: Life) -> None:
    await past_due(life)
    await life.use_card(GOOD)
    await life.pay_open_invoice()
    said = await life.shows("plus", 500, "active")
    assert said.alert is None
    assert (await life.balance()).resets_at == on(2026, 3, 31)
    assert await life.opened() == [(T0, 500), (on(2026, 2, 28), 500)]


async def test_s16_a_card_that_is_replaced_pays_at_the_next_try(life: Life) -> None:
    await past_due(life)
    await life.use_card(GOOD)
    await life.shows("plus", 0, "past_due")
    await life.pass_until(2026, 3, 3)
    await life.shows("plus", 500, "active")
    await life.pass_until(2026, 3, 31)
    await life.shows("plus", 500, "active")


@pytest.mark.parametrize(("after_retries", "status"), [("cancel", "canceled"), ("unpaid", "unpaid")])
async def test_s16_a_renewal_that_is_never_paid_opens_nothing_and_ends_the_plan_after_grace(
    life: Life, after_retries: str, status: str
) -> None:
    settings.change(life.sandbox, after_retries=after_retries)
    await past_due(life)
    await life.pass_until(2026, 3, 14)
    await life.shows("plus", 0, "past_due")
    await life.pass_until(2026, 3, 15)
    said = await life.shows("free", 25, status)
    assert (said.alert is not None) is (status == "unpaid")
    if status == "unpaid":
        assert "pay the open invoice" in str(said.alert)
        await life.cancel()
        await life.shows("free", 25, "canceled")
    assert await life.opened() == [(T0, 500), (on(2026, 3, 15), 25)]
    assert (await life.balance()).bonus == 200


async def test_s16_unpaid_that_is_paid_after_all_goes_on(life: Life) -> None:
    settings.change(life.sandbox, after_retries="unpaid")
    await past_due(life)
    await life.pass_until(2026, 3, 20)
    await life.shows("free", 25, "unpaid")
    await life.use_card(GOOD)
    await life.pay_open_invoice()
    await life.shows("plus", 500, "active")
    assert (await life.balance()).resets_at == on(2026, 3, 31)


async def test_s16_an_upgrade_that_is_not_paid_adds_nothing_and_what_is_there_stays(life: Life) -> None:
    await life.subscribe()
    await life.use_card(DECLINES_LATER)
    await life.pass_until(2026, 2, 10)
    item = life.newest()["items"]["data"][0]["id"]
    await life.update(items=[{"id": item, "price": PRO}], proration_behavior="always_invoice")
    await life.shows("plus", 500, "past_due")
    await life.use_card(GOOD)
    await life.pay_open_invoice()
    await life.shows("pro", 500 + 1_500 * 18 // 28, "active")


async def test_s16_a_first_payment_that_comes_later_opens_the_plan_when_it_comes(life: Life) -> None:
    await life.begin(payment_behavior="default_incomplete")
    said = await life.shows("free", 25, "incomplete")
    assert said.text == "The first payment for PLUS is not confirmed yet."
    await life.use_card(GOOD)
    await life.pay_open_invoice()
    await life.shows("plus", 500, "active")


async def test_s16_a_first_payment_that_never_comes_changes_nothing(life: Life) -> None:
    await life.begin(payment_behavior="default_incomplete")
    await life.pass_until(2026, 2, 1)
    await life.shows("free", 25, "incomplete_expired")
    assert await life.opened() == []
    await life.subscribe()
    await life.shows("plus", 500, "active")


async def test_s16_a_card_that_is_replaced_in_good_time_is_what_the_renewal_is_paid_with(life: Life) -> None:
    await life.subscribe()
    before = (await life.account()).seq
    await life.use_card("pm_card_mastercard")
    assert (await life.account()).seq == before
    await life.pass_until(2026, 2, 28)
    await life.shows("plus", 500, "active")
    charge = life.sandbox.store.newest_first("charge")[0]
    assert charge["payment_method_details"]["card"]["brand"] == "mastercard"


async def test_s15_s27_each_paid_invoice_opens_its_allowance_once_however_its_events_come(life: Life) -> None:
    started = await life.billing.start_plan_checkout("acme", plan="plus")
    assert await life.pay(started.url) == 303
    first = life.events()
    paid_first = sorted(first, key=lambda event: event["type"] != "invoice.paid")
    await life.deliver([*paid_first[:1] * 2, *paid_first[1:]])
    await life.shows("plus", 500, "active")
    await life.pass_until(2026, 2, 28, deliver=False)
    second = life.events()
    await life.pass_until(2026, 3, 31, deliver=False)
    await life.deliver(life.events())
    await life.deliver([{**event, "id": f"{event['id']}again"} for event in (*second, *first)] * 2)
    await life.shows("plus", 500, "active")
    assert await life.opened() == [(T0, 500), (on(2026, 3, 31), 500)]


async def test_s16_a_customer_deleted_at_stripe_ends_the_plan_and_begins_anew_with_the_next_checkout(
    life: Life,
) -> None:
    await life.subscribe()
    await life.buy()
    await life.pass_until(2026, 2, 10)
    gone = life.newest()["customer"]
    await life.stripe.v1.customers.delete_async(gone)
    await life.deliver()
    said = await life.shows("free", 500, "canceled")
    assert "Your bonus credits stay yours" in said.text
    assert (await life.balance()).bonus == 200
    await life.pass_until(2026, 3, 1)
    await life.subscribe()
    await life.shows("plus", 500, "active")
    assert life.newest()["customer"] != gone
