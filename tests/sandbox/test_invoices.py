"""Invoices: collected, tried again when that fails, previewed, and made by hand."""

from typing import Any

import pytest
import stripe

from stripe_sandbox.billing import settings
from tests.sandbox.subscribing import ASKS, DAY, DECLINES_LATER, GOOD, Shop, in_order, lines


async def renew_in_vain(shop: Shop) -> tuple[str, str]:
    """A subscription whose renewal was just declined, and its customer."""
    customer = await shop.customer()
    begun = await shop.subscribe(customer, await shop.price())
    await shop.set_card(customer, DECLINES_LATER)
    shop.pass_days((begun["items"].data[0].current_period_end - shop.sandbox.now()) / DAY + 0.01)
    return begun.id, customer


async def test_a_failed_renewal_is_past_due_and_tried_again_on_schedule(shop: Shop) -> None:
    id, customer = await renew_in_vain(shop)
    invoice = await shop.latest_invoice(id)
    assert (await shop.subscription(id)).status == "past_due"
    assert (invoice.status, invoice.attempt_count, invoice.auto_advance) == ("open", 1, True)
    assert invoice.next_payment_attempt == invoice.created + 3 * DAY
    assert shop.last("invoice.payment_failed")["data"]["object"]["next_payment_attempt"] is not None
    await shop.set_card(customer, GOOD)
    shop.pass_days(3)
    paid = await shop.latest_invoice(id)
    assert (paid.status, paid.attempt_count, paid.next_payment_attempt) == ("paid", 2, None)
    assert (await shop.subscription(id)).status == "active"


@pytest.mark.parametrize("outcome", ["cancel", "unpaid", "past_due"])
async def test_after_the_last_try_the_settings_say_what_becomes_of_it(shop: Shop, outcome: str) -> None:
    settings.change(shop.sandbox, retry_days=(1, 2), after_retries=outcome)
    id, _ = await renew_in_vain(shop)
    shop.pass_days(4)
    over = await shop.subscription(id)
    invoice = await shop.latest_invoice(id)
    assert over.status == {"cancel": "canceled"}.get(outcome, outcome)
    assert (invoice.status, invoice.attempt_count, invoice.next_payment_attempt) == ("open", 3, None)
    assert shop.types().count("invoice.payment_failed") == 3
    if outcome == "cancel":
        assert over.cancellation_details.reason == "payment_failed"
        assert invoice.auto_advance is False


async def test_an_unpaid_subscription_makes_drafts_until_what_it_owes_is_paid(shop: Shop) -> None:
    settings.change(shop.sandbox, retry_days=(1,), after_retries="unpaid")
    id, customer = await renew_in_vain(shop)
    failed = await shop.latest_invoice(id)
    shop.pass_days(35)
    draft = await shop.latest_invoice(id)
    assert (draft.status, draft.auto_advance) == ("draft", False)
    await shop.client.v1.invoices.pay_async(failed.id, {"payment_method": await shop.card(customer)})
    assert (await shop.subscription(id)).status == "active"


async def test_paying_the_open_invoice_makes_it_active_again(shop: Shop) -> None:
    id, customer = await renew_in_vain(shop)
    invoice = await shop.latest_invoice(id)
    with pytest.raises(stripe.CardError) as declined:
        await shop.client.v1.invoices.pay_async(invoice.id)
    assert (declined.value.code, declined.value.http_status) == ("card_declined", 402)
    same = await shop.latest_invoice(id)
    assert (same.attempt_count, same.next_payment_attempt) == (1, invoice.next_payment_attempt)
    card = await shop.card(customer, GOOD)
    paid = await shop.client.v1.invoices.pay_async(invoice.id, {"payment_method": card})
    assert (paid.status, paid.amount_paid) == ("paid", 1900)
    assert (await shop.subscription(id)).status == "active"
    with pytest.raises(stripe.InvalidRequestError, match="already paid"):
        await shop.client.v1.invoices.pay_async(invoice.id, {"payment_method": card})


async def test_a_renewal_that_needs_the_customer_says_so(shop: Shop) -> None:
    customer = await shop.customer()
    begun = await shop.subscribe(customer, await shop.price())
    await shop.set_card(customer, ASKS)
    shop.pass_days(32)
    assert in_order(
        shop.types(), "payment_intent.requires_action", "invoice.payment_action_required", "invoice.payment_failed"
    )
    invoice = await shop.latest_invoice(begun.id)
    with pytest.raises(stripe.CardError) as asked:
        await shop.client.v1.invoices.pay_async(invoice.id)
    assert asked.value.code == "invoice_payment_intent_requires_action"


@pytest.mark.parametrize(("call", "status"), [("void_invoice", "void"), ("mark_uncollectible", "uncollectible")])
async def test_an_invoice_given_up_is_owed_no_more(shop: Shop, call: str, status: str) -> None:
    id, _ = await renew_in_vain(shop)
    invoice = await shop.latest_invoice(id)
    closed = await getattr(shop.client.v1.invoices, f"{call}_async")(invoice.id)
    assert closed.status == status
    assert (await shop.subscription(id)).status == "active"
    assert f"invoice.{'voided' if status == 'void' else 'marked_uncollectible'}" in shop.types()
    with pytest.raises(stripe.InvalidRequestError):
        await shop.client.v1.invoices.finalize_invoice_async(invoice.id)


async def test_renewals_can_stay_drafts_for_an_hour(shop: Shop) -> None:
    settings.change(shop.sandbox, draft_seconds=3600)
    begun = await shop.subscribe(await shop.customer(), await shop.price())
    shop.pass_days((begun["items"].data[0].current_period_end - shop.sandbox.now()) / DAY + 0.001)
    draft = await shop.latest_invoice(begun.id)
    assert (draft.status, draft.number, draft.effective_at) == ("draft", None, None)
    assert draft.automatically_finalizes_at == draft.created + 3600
    await shop.client.v1.invoice_items.create_async(
        {
            "customer": str(begun.customer),
            "invoice": draft.id,
            "amount": 500,
            "currency": "usd",
            "description": "Setup",
        }
    )
    shop.pass_days(1.1 / 24)
    paid = await shop.latest_invoice(begun.id)
    assert (paid.status, paid.total) == ("paid", 2400)
    assert paid.status_transitions.finalized_at == draft.automatically_finalizes_at


async def test_an_invoice_by_hand_takes_the_items_that_wait(shop: Shop) -> None:
    customer = await shop.customer()
    service = shop.client.v1.invoice_items
    item = await service.create_async({"customer": customer, "amount": 1000, "currency": "usd", "description": "Fee"})
    await service.update_async(item.id, {"amount": 1200})
    gone = await service.create_async({"customer": customer, "amount": 1, "currency": "usd"})
    await service.delete_async(gone.id)
    draft = await shop.client.v1.invoices.create_async(
        {"customer": customer, "pending_invoice_items_behavior": "include", "description": "By hand"}
    )
    assert (draft.status, draft.total, draft.billing_reason, draft.parent) == ("draft", 1200, "manual", None)
    assert lines(draft) == [("Fee", 1200)]
    opened = await shop.client.v1.invoices.finalize_invoice_async(draft.id)
    assert opened.status == "open"
    assert str(opened.number).endswith("-0001")
    assert str(opened.hosted_invoice_url).startswith(shop.server.url)
    paid = await shop.client.v1.invoices.pay_async(draft.id)
    assert (paid.status, paid.description) == ("paid", "By hand")
    listed = await shop.client.v1.invoices.line_items.list_async(draft.id)
    assert [line.amount for line in listed.data] == [1200]


async def test_a_draft_by_hand_can_be_changed_and_thrown_away(shop: Shop) -> None:
    customer = await shop.customer()
    await shop.client.v1.invoice_items.create_async({"customer": customer, "amount": 900, "currency": "usd"})
    draft = await shop.client.v1.invoices.create_async(
        {"customer": customer, "pending_invoice_items_behavior": "include"}
    )
    changed = await shop.client.v1.invoices.update_async(draft.id, {"metadata": {"a": "1"}})
    assert changed.metadata is not None
    assert changed.metadata.to_dict() == {"a": "1"}
    await shop.client.v1.invoices.delete_async(draft.id)
    assert len((await shop.client.v1.invoice_items.list_async({"pending": True})).data) == 1


async def test_paid_out_of_band_counts_as_paid_without_money(shop: Shop) -> None:
    id, _ = await renew_in_vain(shop)
    invoice = await shop.latest_invoice(id)
    paid = await shop.client.v1.invoices.pay_async(invoice.id, {"paid_out_of_band": True})
    assert (paid.status, paid.amount_paid, paid.amount_paid_off_stripe) == ("paid", 0, 1900)
    assert (await shop.subscription(id)).status == "active"


async def test_less_than_the_minimum_goes_on_the_next_invoice(shop: Shop) -> None:
    begun = await shop.subscribe(await shop.customer(), await shop.price(30))
    first = await shop.latest_invoice(begun.id)
    assert (first.total, first.amount_due, first.status, first.ending_balance) == (30, 0, "paid", 30)
    shop.pass_days(32)
    second = await shop.latest_invoice(begun.id)
    assert (second.starting_balance, second.amount_due, second.amount_paid) == (30, 60, 60)


async def test_a_preview_shows_what_would_be_and_changes_nothing(shop: Shop) -> None:
    begun = await shop.subscribe(await shop.customer(), await shop.price(3000, name="PLUS"))
    item = begun["items"].data[0].id
    shop.pass_days(10)
    pro = await shop.price(6000, name="PRO")
    before = shop.mark()
    preview = shop.client.v1.invoices.create_preview_async
    renewal = await preview({"subscription": begun.id})
    assert lines(renewal) == [("1 × PLUS (at $30.00 / month)", 3000)]
    assert (renewal.status, renewal.id.startswith("upcoming_in_")) == ("draft", True)
    assert renewal.created == begun["items"].data[0].current_period_end
    change: Any = {"items": [{"id": item, "price": pro}]}
    waiting = await preview({"subscription": begun.id, "subscription_details": change})
    assert [text for text, _ in lines(waiting)] == [
        "Unused time on PLUS",
        "Remaining time on PRO",
        "1 × PRO (at $60.00 / month)",
    ]
    at_once = await preview(
        {"subscription": begun.id, "subscription_details": {**change, "proration_behavior": "always_invoice"}}
    )
    assert [text for text, _ in lines(at_once)] == ["Unused time on PLUS", "Remaining time on PRO"]
    ending = await preview({"subscription": begun.id, "subscription_details": {"cancel_now": True}})
    assert ending.total < 0
    new: Any = {"customer": str(begun.customer), "subscription_details": {"items": [{"price": pro, "quantity": 2}]}}
    assert (await preview(new)).total == 12_000
    assert shop.types(before) == []
    assert (await shop.subscription(begun.id)).to_dict() == begun.to_dict()
    with pytest.raises(stripe.InvalidRequestError) as none:
        await preview({"subscription": begun.id, "subscription_details": {"cancel_at_period_end": True}})
    assert none.value.code == "invoice_upcoming_none"


async def test_invoices_are_numbered_per_customer_and_listed_by_subscription(shop: Shop) -> None:
    begun = await shop.subscribe(await shop.customer(), await shop.price())
    shop.pass_days(63)
    found = await shop.client.v1.invoices.list_async({"subscription": begun.id})
    assert [str(i.number)[-4:] for i in found.data] == ["0003", "0002", "0001"]
    assert (await shop.client.v1.invoices.list_async({"subscription": "sub_other"})).data == []
