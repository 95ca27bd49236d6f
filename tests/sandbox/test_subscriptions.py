"""Subscriptions through the API: how they begin, what a failed payment makes of them, and how they end."""

from typing import Any

import httpx2
import pytest
import stripe

from stripe_sandbox.billing import settings
from tests.sandbox.subscribing import ASKS, DAY, DECLINES_LATER, GOOD, Shop, in_order


async def test_a_subscription_is_active_once_its_first_invoice_is_paid(shop: Shop) -> None:
    price, customer = await shop.price(), await shop.customer()
    begun = await shop.subscribe(customer, price, metadata={"account_id": "acme"}, expand=["latest_invoice.payments"])
    invoice: Any = begun.latest_invoice
    assert (begun.status, begun.metadata.to_dict()) == ("active", {"account_id": "acme"})
    assert (invoice.status, invoice.billing_reason, invoice.amount_paid) == ("paid", "subscription_create", 1900)
    assert [p.status for p in invoice.payments.data] == ["paid"]
    assert in_order(shop.types(), "customer.subscription.created", "invoice.paid", "customer.subscription.updated")
    assert shop.last("customer.subscription.created")["data"]["object"]["status"] == "incomplete"
    assert shop.last("customer.subscription.updated")["data"]["previous_attributes"] == {"status": "incomplete"}


async def test_the_subscriptions_own_card_goes_before_the_customers(shop: Shop) -> None:
    price, customer = await shop.price(), await shop.customer(DECLINES_LATER)
    own = await shop.card(customer, "pm_card_mastercard")
    begun = await shop.subscribe(customer, price, default_payment_method=own)
    assert begun.status == "active"
    somebody = await shop.customer()
    with pytest.raises(stripe.InvalidRequestError, match="does not have a payment method"):
        await shop.subscribe(somebody, price, default_payment_method=own)


async def test_nothing_to_pay_with_is_refused_unless_the_payment_comes_later(shop: Shop) -> None:
    price, customer = await shop.price(), await shop.customer(None)
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source") as refused:
        await shop.subscribe(customer, price)
    assert refused.value.code == "resource_missing"
    assert (await shop.client.v1.subscriptions.list_async({"status": "all"})).data == []
    begun = await shop.subscribe(
        customer, price, payment_behavior="default_incomplete", expand=["latest_invoice.confirmation_secret"]
    )
    invoice: Any = begun.latest_invoice
    assert (begun.status, invoice.status) == ("incomplete", "open")
    assert invoice.confirmation_secret.client_secret.startswith("pi_")


@pytest.mark.parametrize(
    ("card", "intent_status"), [(DECLINES_LATER, "requires_payment_method"), (ASKS, "requires_action")]
)
async def test_a_first_payment_that_fails_leaves_it_incomplete_and_another_card_saves_it(
    shop: Shop, card: str, intent_status: str
) -> None:
    price, customer = await shop.price(), await shop.customer(card)
    begun = await shop.subscribe(customer, price, expand=["latest_invoice.payments.data.payment.payment_intent"])
    invoice: Any = begun.latest_invoice
    assert (begun.status, invoice.status, invoice.next_payment_attempt) == ("incomplete", "open", None)
    assert invoice.payments.data[0].payment.payment_intent.status == intent_status
    assert ("invoice.payment_action_required" in shop.types()) is (card == ASKS)
    assert "invoice.payment_failed" in shop.types()
    await shop.client.v1.invoices.pay_async(invoice.id, {"payment_method": await shop.card(customer)})
    assert (await shop.subscription(begun.id)).status == "active"


async def test_the_customer_can_confirm_the_first_payment_and_the_card_is_kept(shop: Shop) -> None:
    begun = await shop.subscribe(
        await shop.customer(None),
        await shop.price(),
        payment_behavior="default_incomplete",
        payment_settings={"save_default_payment_method": "on_subscription"},
        expand=["latest_invoice.payments.data.payment.payment_intent"],
    )
    invoice: Any = begun.latest_invoice
    intent = invoice.payments.data[0].payment.payment_intent.id
    confirm = shop.client.v1.payment_intents.confirm_async
    with pytest.raises(stripe.CardError):
        await confirm(intent, {"payment_method": "pm_card_chargeCustomerFail", "return_url": "http://shop.test/"})
    assert (await shop.subscription(begun.id)).status == "incomplete"
    assert shop.types()[-1] == "invoice.payment_failed"
    await confirm(intent, {"payment_method": GOOD, "return_url": "http://shop.test/"})
    paid = await shop.subscription(begun.id)
    assert (paid.status, (await shop.latest_invoice(begun.id)).status) == ("active", "paid")
    assert paid.default_payment_method == (await shop.client.v1.payment_intents.retrieve_async(intent)).payment_method


async def test_the_bank_page_pays_the_invoice_that_waits_for_it(shop: Shop, browser: httpx2.AsyncClient) -> None:
    begun = await shop.subscribe(
        await shop.customer(ASKS),
        await shop.price(),
        expand=["latest_invoice.payments.data.payment.payment_intent"],
    )
    invoice: Any = begun.latest_invoice
    intent = invoice.payments.data[0].payment.payment_intent
    bank = intent.next_action.use_stripe_sdk["stripe_js"]
    assert (await browser.post(bank, data={"answer": "complete"})).status_code == 200
    assert (await shop.subscription(begun.id)).status == "active"


async def test_error_if_incomplete_makes_nothing_when_the_card_is_declined(shop: Shop) -> None:
    price, customer = await shop.price(), await shop.customer(DECLINES_LATER)
    with pytest.raises(stripe.CardError) as declined:
        await shop.subscribe(customer, price, payment_behavior="error_if_incomplete")
    assert (declined.value.http_status, declined.value.code) == (402, "card_declined")
    assert (await shop.client.v1.subscriptions.list_async({"status": "all"})).data == []


async def test_an_incomplete_subscription_expires_after_23_hours_and_its_invoice_is_void(shop: Shop) -> None:
    price, customer = await shop.price(), await shop.customer(None)
    begun = await shop.subscribe(customer, price, payment_behavior="default_incomplete")
    shop.pass_days(22 / 24)
    assert (await shop.subscription(begun.id)).status == "incomplete"
    shop.pass_days(1.1 / 24)
    assert (await shop.subscription(begun.id)).status == "incomplete_expired"
    assert (await shop.latest_invoice(begun.id)).status == "void"
    assert in_order(shop.types(), "customer.subscription.updated", "payment_intent.canceled", "invoice.voided")


async def test_yearly_and_monthly_items_renew_each_in_its_own_time(shop: Shop) -> None:
    customer = await shop.customer()
    begun = await shop.subscribe(customer, await shop.price(1900), await shop.price(9000, "year", "Support"))
    shop.pass_days(32)
    invoice = await shop.latest_invoice(begun.id)
    assert (invoice.billing_reason, invoice.total) == ("subscription_cycle", 1900)
    monthly, yearly = (await shop.subscription(begun.id))["items"].data
    assert monthly.current_period_start > yearly.current_period_start
    assert 365 <= (yearly.current_period_end - yearly.current_period_start) / DAY <= 366


async def test_a_yearly_price_renews_once_a_year(shop: Shop) -> None:
    begun = await shop.subscribe(await shop.customer(), await shop.price(19_000, "year"))
    shop.pass_days(364)
    assert shop.types().count("invoice.paid") == 1
    shop.pass_days(3)
    assert shop.types().count("invoice.paid") == 2
    assert (await shop.latest_invoice(begun.id)).total == 19_000


async def test_a_future_anchor_bills_only_the_time_up_to_it(shop: Shop) -> None:
    price, customer = await shop.price(3000), await shop.customer()
    anchor = shop.sandbox.now() + 10 * DAY
    begun = await shop.subscribe(customer, price, billing_cycle_anchor=anchor)
    item = begun["items"].data[0]
    invoice = await shop.latest_invoice(begun.id)
    assert (begun.billing_cycle_anchor, item.current_period_end) == (anchor, anchor)
    assert 950 <= invoice.total <= 1075
    assert invoice.lines.data[0].parent.subscription_item_details.proration
    free = await shop.subscribe(customer, price, billing_cycle_anchor=anchor, proration_behavior="none")
    assert (free.status, free.latest_invoice) == ("active", None)
    shop.pass_days(10.1)
    assert (await shop.latest_invoice(free.id)).total == 3000


async def test_a_trial_warns_ends_and_is_billed(shop: Shop) -> None:
    begun = await shop.subscribe(await shop.customer(), await shop.price(), trial_period_days=14)
    invoice = await shop.latest_invoice(begun.id)
    assert (begun.status, invoice.total, invoice.status) == ("trialing", 0, "paid")
    assert begun.trial_end == begun.billing_cycle_anchor == begun["items"].data[0].current_period_end
    shop.pass_days(11.1)
    assert shop.types().count("customer.subscription.trial_will_end") == 1
    shop.pass_days(3)
    ended = await shop.subscription(begun.id)
    assert (ended.status, (await shop.latest_invoice(begun.id)).total) == ("active", 1900)
    previous = shop.last("customer.subscription.updated")["data"]["previous_attributes"]
    assert previous["status"] == "trialing"


@pytest.mark.parametrize(
    ("without", "status", "event"),
    [
        ("cancel", "canceled", "customer.subscription.deleted"),
        ("pause", "paused", "customer.subscription.paused"),
        ("create_invoice", "past_due", "invoice.payment_failed"),
    ],
)
async def test_a_trial_without_a_payment_method_ends_as_it_says(
    shop: Shop, without: str, status: str, event: str
) -> None:
    ends = {"end_behavior": {"missing_payment_method": without}}
    begun = await shop.subscribe(
        await shop.customer(None), await shop.price(), trial_period_days=7, trial_settings=ends
    )
    shop.pass_days(7.1)
    assert (await shop.subscription(begun.id)).status == status
    assert event in shop.types()


async def test_a_paused_subscription_is_resumed_by_paying(shop: Shop) -> None:
    customer = await shop.customer(None)
    ends: Any = {"end_behavior": {"missing_payment_method": "pause"}}
    begun = await shop.subscribe(customer, await shop.price(), trial_period_days=7, trial_settings=ends)
    shop.pass_days(40)
    await shop.set_card(customer, DECLINES_LATER)
    resumed = await shop.client.v1.subscriptions.resume_async(begun.id, {"billing_cycle_anchor": {"type": "now"}})
    assert resumed.status == "paused"
    invoice = await shop.latest_invoice(begun.id)
    await shop.client.v1.invoices.pay_async(invoice.id, {"payment_method": await shop.card(customer)})
    assert (await shop.subscription(begun.id)).status == "active"
    assert in_order(shop.types(), "customer.subscription.updated", "customer.subscription.resumed")


async def test_pausing_credits_unused_time_and_resuming_bills_anew(shop: Shop) -> None:
    begun = await shop.subscribe(await shop.customer(), await shop.price(3000))
    shop.pass_days(10)
    paused = await shop.client.v1.subscriptions.pause_async(begun.id, {"type": "subscription"})
    assert paused.status == "paused"
    shop.pass_days(60)
    resumed = await shop.client.v1.subscriptions.resume_async(begun.id)
    invoice = await shop.latest_invoice(begun.id)
    assert resumed.status == "active"
    assert invoice.lines.data[0].amount < 0
    assert invoice.lines.data[1].amount == 3000


async def test_cancelling_at_period_end_can_be_undone_and_then_ends_it(shop: Shop) -> None:
    begun = await shop.subscribe(await shop.customer(), await shop.price())
    end = begun["items"].data[0].current_period_end
    ends = await shop.client.v1.subscriptions.update_async(begun.id, {"cancel_at_period_end": True})
    assert (ends.cancel_at, ends.cancel_at_period_end, ends.status) == (end, True, "active")
    assert ends.cancellation_details is not None
    assert ends.cancellation_details.reason == "cancellation_requested"
    stays = await shop.client.v1.subscriptions.update_async(begun.id, {"cancel_at_period_end": False})
    assert (stays.cancel_at, stays.canceled_at) == (None, None)
    await shop.client.v1.subscriptions.update_async(begun.id, {"cancel_at_period_end": True})
    shop.pass_days(32)
    over = await shop.subscription(begun.id)
    assert (over.status, over.ended_at) == ("canceled", end)
    assert shop.types().count("invoice.paid") == 1


async def test_cancel_at_ends_it_at_that_instant(shop: Shop) -> None:
    begun = await shop.subscribe(await shop.customer(), await shop.price())
    at = shop.sandbox.now() + 5 * DAY
    await shop.client.v1.subscriptions.update_async(begun.id, {"cancel_at": at})
    shop.pass_days(6)
    assert (await shop.subscription(begun.id)).ended_at == at


async def test_cancelling_now_can_credit_and_bill_the_rest(shop: Shop) -> None:
    customer = await shop.customer()
    begun = await shop.subscribe(customer, await shop.price(3000))
    shop.pass_days(15)
    over = await shop.client.v1.subscriptions.cancel_async(
        begun.id, {"prorate": True, "invoice_now": True, "cancellation_details": {"feedback": "unused"}}
    )
    assert (over.status, over.cancellation_details and over.cancellation_details.feedback) == ("canceled", "unused")
    invoice = await shop.latest_invoice(begun.id)
    assert (invoice.total < 0, invoice.amount_due, invoice.status) == (True, 0, "paid")
    assert (await shop.client.v1.customers.retrieve_async(customer)).balance == invoice.total
    with pytest.raises(stripe.InvalidRequestError, match="No such subscription"):
        await shop.client.v1.subscriptions.cancel_async(begun.id)


async def test_an_ended_subscription_changes_no_more(shop: Shop) -> None:
    begun = await shop.subscribe(await shop.customer(), await shop.price())
    await shop.client.v1.subscriptions.cancel_async(begun.id)
    await shop.client.v1.subscriptions.update_async(begun.id, {"metadata": {"why": "moved"}})
    with pytest.raises(stripe.InvalidRequestError, match="canceled subscription"):
        await shop.client.v1.subscriptions.update_async(begun.id, {"cancel_at_period_end": True})


@pytest.mark.parametrize(
    ("behavior", "status"), [("void", "void"), ("mark_uncollectible", "uncollectible"), ("keep_as_draft", "draft")]
)
async def test_paused_collection_renews_without_charging(shop: Shop, behavior: str, status: str) -> None:
    begun = await shop.subscribe(await shop.customer(), await shop.price())
    pausing: Any = {"behavior": behavior, "resumes_at": shop.sandbox.now() + 40 * DAY}
    await shop.client.v1.subscriptions.update_async(begun.id, {"pause_collection": pausing})
    shop.pass_days(32)
    held = await shop.subscription(begun.id)
    assert (held.status, (await shop.latest_invoice(begun.id)).status) == ("active", status)
    shop.pass_days(30)
    assert (await shop.subscription(begun.id)).pause_collection is None
    assert (await shop.latest_invoice(begun.id)).status == "paid"


async def test_deleting_a_customer_ends_their_subscriptions(shop: Shop) -> None:
    customer = await shop.customer()
    begun = await shop.subscribe(customer, await shop.price())
    await shop.client.v1.customers.delete_async(customer)
    assert in_order(shop.types(), "customer.subscription.deleted", "customer.deleted")
    over = await shop.subscription(begun.id, expand=["customer"])
    assert (over.status, over.customer.deleted) == ("canceled", True)


async def test_lists_leave_out_what_has_ended_unless_it_is_asked_for(shop: Shop) -> None:
    customer, price = await shop.customer(), await shop.price()
    first, second = [await shop.subscribe(customer, price) for _ in range(2)]
    await shop.client.v1.subscriptions.cancel_async(first.id)
    for given, wanted in [
        ({}, [second.id]),
        ({"status": "all"}, [second.id, first.id]),
        ({"status": "canceled"}, [first.id]),
        ({"status": "ended"}, [first.id]),
        ({"price": price}, [second.id]),
        ({"customer": "cus_other"}, []),
    ]:
        params: Any = given
        assert [s.id for s in (await shop.client.v1.subscriptions.list_async(params)).data] == wanted


async def test_the_next_renewal_is_announced(shop: Shop) -> None:
    settings.change(shop.sandbox, upcoming_days=3)
    begun = await shop.subscribe(await shop.customer(), await shop.price())
    shop.pass_days(25)
    assert "invoice.upcoming" not in shop.types()
    shop.pass_days(4)
    upcoming = shop.last("invoice.upcoming")["data"]["object"]
    assert (upcoming["total"], upcoming["next_payment_attempt"]) == (1900, begun["items"].data[0].current_period_end)
    assert len((await shop.client.v1.invoices.list_async()).data) == 1
