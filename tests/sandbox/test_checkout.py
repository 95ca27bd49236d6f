"""Paying at the hosted page, over HTTP like a browser, and what the API and the events say of it."""

import asyncio
from typing import Any

import httpx2
import pytest
import stripe

from stripe_sandbox import SandboxServer, shapes
from tests.sandbox.conftest import CARD, open_session, types
from tests.sandbox.receiving import receiver, until


async def test_4242_pays_and_returns_to_the_shop(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient
) -> None:
    customer = await client.v1.customers.create_async({"email": "a@example.com"})
    session = await open_session(
        client, customer=customer.id, payment_intent_data={"metadata": {"purchase_id": "p1"}}
    )
    page = await browser.get(str(session.url))
    assert "$5.99" in page.text
    assert "a@example.com" in page.text
    answer = await browser.post(str(session.url), data=CARD)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"http://shop.test/return?session_id={session.id}"
    paid = await client.v1.checkout.sessions.retrieve_async(session.id, {"expand": ["payment_intent.latest_charge"]})
    assert (paid.status, paid.payment_status, paid.url) == ("complete", "paid", None)
    intent: Any = paid.payment_intent
    assert (intent.status, intent.amount_received, intent.metadata.purchase_id) == ("succeeded", 599, "p1")
    assert intent.latest_charge.payment_method_details.card.last4 == "4242"
    said = [type for type in types(sandbox) if type != "charge.updated"]
    assert said[-3:] == ["charge.succeeded", "payment_intent.succeeded", "checkout.session.completed"]


async def test_paying_twice_charges_once(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient
) -> None:
    session = await open_session(client)
    answers = await asyncio.gather(*(browser.post(str(session.url), data=CARD) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 200, 303]
    assert types(sandbox).count("charge.succeeded") == 1
    assert "not charged again" in (await browser.get(str(session.url))).text


@pytest.mark.parametrize(
    ("number", "message", "decline_code"),
    [
        ("4000000000000002", "Your card was declined.", "generic_decline"),
        ("4000 0000 0000 9995", "Your card has insufficient funds.", "insufficient_funds"),
    ],
)
async def test_a_declined_card_says_so_and_leaves_the_session_open(
    client: stripe.StripeClient,
    sandbox: SandboxServer,
    browser: httpx2.AsyncClient,
    number: str,
    message: str,
    decline_code: str,
) -> None:
    session = await open_session(client)
    answer = await browser.post(str(session.url), data={**CARD, "card_number": number})
    assert answer.status_code == 402
    assert message in answer.text
    assert "Bo Buyer" in answer.text
    assert number not in answer.text
    assert (await client.v1.checkout.sessions.retrieve_async(session.id)).status == "open"
    (intent,) = (await client.v1.payment_intents.list_async()).data
    assert intent.status == "requires_payment_method"
    assert intent.last_payment_error is not None
    assert intent.last_payment_error.decline_code == decline_code
    assert types(sandbox)[-2:] == ["charge.failed", "payment_intent.payment_failed"]
    assert (await browser.post(str(session.url), data=CARD)).status_code == 303


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"card_number": "4242 4242 4242 4241"}, "Your card number is invalid."),
        ({"card_number": "4111 1111 1111 1111"}, "not a test card"),
        ({"exp": "01/20"}, "expiration date is in the past"),
        ({"exp": "13/40"}, "expiration date is incomplete"),
        ({"cvc": "1"}, "security code is incomplete"),
        ({"email": "nobody"}, "e-mail is incomplete"),
    ],
)
async def test_a_form_that_cannot_be_right_charges_nothing(
    client: stripe.StripeClient,
    sandbox: SandboxServer,
    browser: httpx2.AsyncClient,
    change: dict[str, str],
    message: str,
) -> None:
    session = await open_session(client)
    answer = await browser.post(str(session.url), data={**CARD, **change})
    assert answer.status_code == 402
    assert message in answer.text.replace("&#39;", "'")
    assert "payment_intent.created" not in types(sandbox)


@pytest.mark.parametrize("confirmed", [True, False])
async def test_3220_asks_the_bank_first(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient, confirmed: bool
) -> None:
    session = await open_session(client)
    asked = await browser.post(str(session.url), data={**CARD, "card_number": "4000000000003220"})
    bank = sandbox.url + asked.headers["location"]
    assert "Confirm your payment" in (await browser.get(bank)).text
    assert (await client.v1.checkout.sessions.retrieve_async(session.id)).status == "open"
    answer = await browser.post(bank, data={"answer": "complete" if confirmed else "fail"})
    status = (await client.v1.checkout.sessions.retrieve_async(session.id)).status
    assert (answer.status_code, status) == ((303, "complete") if confirmed else (402, "open"))
    if not confirmed:
        assert "unable to authenticate" in answer.text


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_bank_payment_is_complete_and_unpaid_until_it_arrives_or_fails(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient, arrives: bool
) -> None:
    session = await open_session(client)
    form = {"payment_method": "bank", "email": "a@example.com", "name": "A"}
    assert (await browser.post(str(session.url), data=form)).status_code == 303
    waiting = await client.v1.checkout.sessions.retrieve_async(session.id)
    assert (waiting.status, waiting.payment_status) == ("complete", "unpaid")
    index = await browser.get(f"{sandbox.url}/sandbox/")
    assert str(waiting.payment_intent) in index.text
    outcome = {"outcome": "succeed" if arrives else "fail"}
    await browser.post(f"{sandbox.url}/sandbox/bank_payments/{waiting.payment_intent}", data=outcome)
    done = await client.v1.checkout.sessions.retrieve_async(session.id)
    assert done.payment_status == ("paid" if arrives else "unpaid")
    # A charge is updated some time after it succeeded, so this need not be the last event.
    assert f"checkout.session.async_payment_{'succeeded' if arrives else 'failed'}" in types(sandbox)


async def test_a_subscription_bills_renews_and_ends(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient
) -> None:
    session = await open_session(client, mode="subscription", subscription_data={"metadata": {"account_id": "acme"}})
    assert (await browser.post(str(session.url), data=CARD)).status_code == 303
    paid = await client.v1.checkout.sessions.retrieve_async(session.id, {"expand": ["subscription", "invoice"]})
    subscription: Any = paid.subscription
    invoice: Any = paid.invoice
    assert (subscription.status, subscription.metadata.account_id) == ("active", "acme")
    assert (invoice.status, invoice.billing_reason) == ("paid", "subscription_create")
    assert invoice.parent.subscription_details.subscription == subscription.id
    item = subscription["items"].data[0]
    assert invoice.lines.data[0].period.end == item.current_period_end
    links = await client.v1.invoice_payments.list_async({"invoice": invoice.id})
    assert links.data[0].payment.payment_intent

    await browser.post(f"{sandbox.url}/sandbox/clock", data={"advance": str(32 * 86_400)})
    await until(lambda: types(sandbox).count("invoice.paid") == 2)
    renewed = await client.v1.subscriptions.retrieve_async(subscription.id)
    assert renewed["items"].data[0].current_period_start == item.current_period_end

    await client.v1.subscriptions.update_async(subscription.id, {"cancel_at_period_end": True})
    await browser.post(f"{sandbox.url}/sandbox/clock", data={"advance": str(32 * 86_400)})
    await until(lambda: "customer.subscription.deleted" in types(sandbox))
    assert (await client.v1.subscriptions.retrieve_async(subscription.id)).status == "canceled"
    assert (await client.v1.subscriptions.list_async()).data == []
    assert len((await client.v1.subscriptions.list_async({"status": "all"})).data) == 1


async def test_a_trial_costs_nothing_today_and_keeps_the_card_for_its_end(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient
) -> None:
    session = await open_session(client, mode="subscription", subscription_data={"trial_period_days": 14})
    assert session.amount_total == 0
    declined = await browser.post(str(session.url), data={**CARD, "card_number": "4000 0000 0000 0002"})
    assert declined.status_code == 402
    assert (await browser.post(str(session.url), data=CARD)).status_code == 303
    begun = await client.v1.checkout.sessions.retrieve_async(session.id, {"expand": ["subscription", "invoice"]})
    subscription: Any = begun.subscription
    invoice: Any = begun.invoice
    assert (begun.status, begun.payment_status) == ("complete", "no_payment_required")
    assert (subscription.status, subscription.trial_end - subscription.created) == ("trialing", 14 * 86_400)
    assert (invoice.status, invoice.total) == ("paid", 0)
    assert sandbox.sandbox.store.newest_first("payment_intent") == []

    await browser.post(f"{sandbox.url}/sandbox/clock", data={"advance": str(15 * 86_400)})
    await until(lambda: types(sandbox).count("invoice.paid") == 2)
    assert (await client.v1.subscriptions.retrieve_async(subscription.id)).status == "active"


async def test_events_are_signed_so_that_the_sdk_accepts_them(
    client: stripe.StripeClient, sandbox: SandboxServer
) -> None:
    async with receiver() as inbox:
        got = inbox.got
        endpoint = sandbox.sandbox.register_webhook(inbox.url, events=["customer.created"])
        customer = await client.v1.customers.create_async({"name": "A"})
        await client.v1.products.create_async({"name": "not wanted"})
        await until(lambda: got)
        event = client.construct_event(got[0][0], got[0][1], endpoint["secret"])
        assert (event.type, event.data.object.id) == ("customer.created", customer.id)
        with pytest.raises(stripe.SignatureVerificationError):
            client.construct_event(got[0][0] + b" ", got[0][1], endpoint["secret"])
        assert len(got) == 1


async def test_what_an_endpoint_does_not_take_is_sent_again_until_it_does(
    client: stripe.StripeClient, sandbox: SandboxServer
) -> None:
    async with receiver(500, 302, 404, 204) as inbox:
        sandbox.sandbox.register_webhook(inbox.url)
        await client.v1.customers.create_async({"name": "A"})
        await until(lambda: len(inbox.got) == 4)
        await until(lambda: sandbox.sandbox.events()[0]["pending_webhooks"] == 0)
        assert len({event["id"] for event in inbox.events()}) == 1


async def test_what_could_not_be_delivered_is_delivered_after_a_restart(sandbox: SandboxServer) -> None:
    async with receiver() as inbox:
        sandbox.sandbox.register_webhook(inbox.url)
        await sandbox.__aexit__()
        session_free = sandbox.sandbox
        session_free.emit("customer.created", shapes.customer("cus_x", 1, {}))
        assert inbox.got == []
        async with SandboxServer(session_free):
            await until(lambda: inbox.got)
        await sandbox.__aenter__()
