"""Setup intents, through the unmodified SDK: a card saved for payments without the customer."""

from typing import Any

import httpx2
import pytest
import stripe

from stripe_sandbox import SandboxServer
from tests.sandbox.conftest import CARD, pay, seed, types


async def set_up(client: stripe.StripeClient, token: str | None, **options: Any) -> stripe.SetupIntent:
    customer = await client.v1.customers.create_async({"email": "a@example.com"})
    params: Any = {
        "customer": customer.id,
        "payment_method": token,
        "confirm": True,
        "return_url": "http://shop.test/saved?x=1",
        **options,
    }
    return await client.v1.setup_intents.create_async({k: v for k, v in params.items() if v is not None})


async def test_a_card_is_saved_and_charged_off_session(client: stripe.StripeClient, sandbox: SandboxServer) -> None:
    done = await set_up(client, "pm_card_visa", metadata={"a": "1"})
    assert (done.status, done.usage) == ("succeeded", "off_session")
    assert done.latest_attempt is not None
    (method,) = (await client.v1.payment_methods.list_async({"customer": str(done.customer)})).data
    assert method.id == done.payment_method
    assert types(sandbox)[1:] == ["setup_intent.created", "payment_method.attached", "setup_intent.succeeded"]
    paid = await pay(client, method.id, customer=done.customer, off_session=True, return_url=None)
    assert paid.status == "succeeded"


async def test_an_intent_is_confirmed_later(client: stripe.StripeClient) -> None:
    made = await set_up(client, None, confirm=None, return_url=None)
    assert made.status == "requires_payment_method"
    with pytest.raises(stripe.InvalidRequestError, match="missing a payment method") as refused:
        await client.v1.setup_intents.confirm_async(made.id)
    error: Any = refused.value.error
    assert (error.code, error.setup_intent.id) == ("setup_intent_unexpected_state", made.id)
    chosen = await client.v1.setup_intents.update_async(made.id, {"payment_method": "pm_card_visa"})
    assert chosen.status == "requires_confirmation"
    with pytest.raises(stripe.InvalidRequestError, match="return_url"):
        await client.v1.setup_intents.confirm_async(made.id)
    done = await client.v1.setup_intents.confirm_async(made.id, {"return_url": "http://shop.test/"})
    assert done.status == "succeeded"
    with pytest.raises(stripe.InvalidRequestError, match="cannot confirm"):
        await client.v1.setup_intents.confirm_async(made.id)
    listed = await client.v1.setup_intents.list_async({"customer": str(done.customer)})
    assert [i.id for i in listed.data] == [made.id]


async def test_a_declined_card_is_not_saved(client: stripe.StripeClient, sandbox: SandboxServer) -> None:
    with pytest.raises(stripe.CardError) as refused:
        await set_up(client, "pm_card_chargeDeclined")
    error: Any = refused.value.error
    assert (refused.value.http_status, error.decline_code) == (402, "generic_decline")
    after = await client.v1.setup_intents.retrieve_async(error.setup_intent.id)
    last: Any = after.last_setup_error
    assert (after.status, after.payment_method, last.code) == ("requires_payment_method", None, "card_declined")
    assert types(sandbox)[-1] == "setup_intent.setup_failed"


async def test_0341_is_saved_and_declined_when_it_is_charged(client: stripe.StripeClient) -> None:
    done = await set_up(client, "pm_card_chargeCustomerFail")
    with pytest.raises(stripe.CardError):
        await pay(client, str(done.payment_method), customer=done.customer, off_session=True, return_url=None)


@pytest.mark.parametrize("confirmed", [True, False])
async def test_3155_is_confirmed_once_and_then_asks_no_more(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient, confirmed: bool
) -> None:
    asked = await set_up(client, "pm_card_authenticationRequiredOnSetup")
    assert asked.status == "requires_action"
    action: Any = asked.next_action
    assert "Confirm your card" in (await browser.get(action.redirect_to_url.url)).text
    answer = await browser.post(action.redirect_to_url.url, data={"answer": "complete" if confirmed else "fail"})
    back = httpx2.URL(answer.headers["location"])
    assert dict(back.params) == {
        "x": "1",
        "setup_intent": asked.id,
        "setup_intent_client_secret": asked.client_secret,
        "redirect_status": "succeeded" if confirmed else "failed",
    }
    after = await client.v1.setup_intents.retrieve_async(asked.id)
    if not confirmed:
        assert after.last_setup_error is not None
        assert after.last_setup_error.code == "setup_intent_authentication_failure"
        return
    assert after.status == "succeeded"
    for _ in range(2):
        paid = await pay(
            client, str(after.payment_method), customer=after.customer, off_session=True, return_url=None
        )
        assert paid.status == "succeeded"
    on_session = await pay(client, str(after.payment_method), customer=after.customer)
    assert on_session.status == "requires_action"


async def test_3184_asks_even_when_it_was_set_up(client: stripe.StripeClient, browser: httpx2.AsyncClient) -> None:
    asked = await set_up(client, "pm_card_authenticationRequired")
    action: Any = asked.next_action
    await browser.post(action.redirect_to_url.url, data={"answer": "complete"})
    with pytest.raises(stripe.CardError) as refused:
        await pay(client, str(asked.payment_method), customer=asked.customer, off_session=True, return_url=None)
    error: Any = refused.value.error
    assert (error.code, error.decline_code) == ("authentication_required", "authentication_required")


async def test_an_intent_is_cancelled_once(client: stripe.StripeClient, sandbox: SandboxServer) -> None:
    made = await set_up(client, None, confirm=None, return_url=None)
    canceled = await client.v1.setup_intents.cancel_async(made.id, {"cancellation_reason": "abandoned"})
    assert (canceled.status, canceled.cancellation_reason) == ("canceled", "abandoned")
    assert types(sandbox)[-1] == "setup_intent.canceled"
    with pytest.raises(stripe.InvalidRequestError, match="cannot cancel"):
        await client.v1.setup_intents.cancel_async(made.id)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await client.v1.setup_intents.retrieve_async("seti_missing")
    assert (refused.value.http_status, refused.value.param) == (404, "intent")


@pytest.mark.parametrize("existing", [True, False])
async def test_checkout_saves_a_card_and_charges_nothing(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient, existing: bool
) -> None:
    whose: Any = {"customer_creation": "always"}
    if existing:
        whose = {"customer": (await client.v1.customers.create_async({"email": "a@example.com"})).id}
    session = await client.v1.checkout.sessions.create_async(
        {
            "mode": "setup",
            "currency": "usd",
            "success_url": "http://shop.test/saved?session_id={CHECKOUT_SESSION_ID}",
            "setup_intent_data": {"metadata": {"account_id": "acme"}},
            **whose,
        }
    )
    assert (session.amount_total, session.payment_status) == (None, "no_payment_required")
    assert session.setup_intent is not None
    assert "Save your card" in (await browser.get(str(session.url))).text
    declined = await browser.post(str(session.url), data={**CARD, "card_number": "4000000000000002"})
    assert declined.status_code == 402
    assert "Your card was declined." in declined.text
    asked = await browser.post(str(session.url), data={**CARD, "card_number": "4000002500003155"})
    bank = sandbox.url + asked.headers["location"]
    assert "Confirm your card" in (await browser.get(bank)).text
    assert "unable to authenticate" in (await browser.post(bank, data={"answer": "fail"})).text
    await browser.post(str(session.url), data={**CARD, "card_number": "4000002500003155"})
    saved = await browser.post(bank, data={"answer": "complete"})
    assert saved.headers["location"] == f"http://shop.test/saved?session_id={session.id}"
    done = await client.v1.checkout.sessions.retrieve_async(session.id, {"expand": ["setup_intent"]})
    intent: Any = done.setup_intent
    assert (done.status, done.payment_status, done.payment_intent) == ("complete", "no_payment_required", None)
    assert (intent.status, intent.customer, intent.metadata.account_id) == ("succeeded", done.customer, "acme")
    assert [t for t in types(sandbox) if t.startswith(("charge", "payment_intent"))] == []
    assert types(sandbox)[-1] == "checkout.session.completed"
    assert f"{session.id[:16]}" in (await browser.get(f"{sandbox.url}/sandbox/")).text
    paid = await pay(client, intent.payment_method, customer=done.customer, off_session=True, return_url=None)
    assert paid.status == "succeeded"


@pytest.mark.parametrize(
    ("change", "param"), [({"currency": None}, "currency"), ({"line_items": [{"price": "price_x"}]}, "line_items")]
)
async def test_a_setup_session_has_a_currency_and_sells_nothing(
    client: stripe.StripeClient, change: dict[str, Any], param: str
) -> None:
    if "line_items" in change:
        change = {"line_items": [{"price": (await seed(client)).id}]}
    params: Any = {"mode": "setup", "currency": "usd", "success_url": "http://shop.test/", **change}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await client.v1.checkout.sessions.create_async({k: v for k, v in params.items() if v is not None})
    assert refused.value.param == param
