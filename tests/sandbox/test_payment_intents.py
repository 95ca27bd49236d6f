"""Payment intents, through the unmodified SDK: confirmed, declined, asked for at the bank, held, captured, cancelled."""

from typing import Any

import httpx2
import pytest
import stripe

from stripe_sandbox import SandboxServer
from tests.sandbox.conftest import pay, types
from tests.sandbox.receiving import until

CARD_ONLY: Any = {"enabled": True, "allow_redirects": "never"}


async def saved(client: stripe.StripeClient, token: str) -> tuple[str, str]:
    """A customer and their saved payment method."""
    customer = await client.v1.customers.create_async({"email": "a@example.com"})
    method = await client.v1.payment_methods.attach_async(token, {"customer": customer.id})
    return customer.id, method.id


async def test_an_intent_is_made_changed_and_confirmed(client: stripe.StripeClient, sandbox: SandboxServer) -> None:
    made = await client.v1.payment_intents.create_async({"amount": 500, "currency": "USD", "metadata": {"a": "1"}})
    assert (made.status, made.currency, made.amount_received) == ("requires_payment_method", "usd", 0)
    changed = await client.v1.payment_intents.update_async(
        made.id, {"amount": 599, "payment_method": "pm_card_visa", "metadata": {"b": "2"}}
    )
    assert (changed.status, changed.amount) == ("requires_confirmation", 599)
    assert changed.metadata.to_dict() == {"a": "1", "b": "2"}
    paid = await client.v1.payment_intents.confirm_async(made.id, {"return_url": "http://shop.test/"})
    assert (paid.status, paid.amount_received) == ("succeeded", 599)
    assert types(sandbox)[:3] == ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded"]
    with pytest.raises(stripe.InvalidRequestError, match="already succeeded") as again:
        await client.v1.payment_intents.confirm_async(made.id, {"return_url": "http://shop.test/"})
    error: Any = again.value.error
    assert (error.code, error.payment_intent.id) == ("payment_intent_unexpected_state", made.id)


async def test_the_balance_transaction_follows_the_charge(
    client: stripe.StripeClient, sandbox: SandboxServer
) -> None:
    intent = await pay(client, "pm_card_visa", amount=2500, expand=["latest_charge"])
    charge: Any = intent.latest_charge
    assert (charge.status, charge.captured, charge.balance_transaction) == ("succeeded", True, None)
    await until(lambda: "charge.updated" in types(sandbox))
    settled = await client.v1.charges.retrieve_async(charge.id, {"expand": ["balance_transaction"]})
    transaction: Any = settled.balance_transaction
    assert (transaction.amount, transaction.fee, transaction.net, transaction.status) == (2500, 103, 2397, "pending")
    (event,) = sandbox.sandbox.events("charge.updated")
    assert event["data"]["previous_attributes"] == {"balance_transaction": None}


@pytest.mark.parametrize(
    ("token", "code", "decline_code"),
    [
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_visa_chargeDeclinedLostCard", "card_declined", "lost_card"),
        ("pm_card_visa_chargeDeclinedStolenCard", "card_declined", "stolen_card"),
        ("pm_card_visa_chargeDeclinedVelocityLimitExceeded", "card_declined", "card_velocity_exceeded"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc"),
        ("pm_card_chargeDeclinedProcessingError", "processing_error", "processing_error"),
        ("pm_card_radarBlock", "card_declined", "fraudulent"),
        ("pm_card_chargeCustomerFail", "card_declined", "generic_decline"),
        ("pm_card_threeDSecureRequiredProcessingError", "card_declined", "generic_decline"),
    ],
)
async def test_a_declined_card_answers_402_with_the_intent(
    client: stripe.StripeClient, sandbox: SandboxServer, token: str, code: str, decline_code: str
) -> None:
    with pytest.raises(stripe.CardError) as refused:
        await pay(client, token)
    error: Any = refused.value.error
    assert (refused.value.http_status, error.code, error.decline_code) == (402, code, decline_code)
    intent = await client.v1.payment_intents.retrieve_async(error.payment_intent.id)
    last: Any = intent.last_payment_error
    assert (intent.status, intent.payment_method) == ("requires_payment_method", None)
    assert (last.decline_code, last.charge) == (decline_code, intent.latest_charge)
    assert error.payment_method.id == last.payment_method.id
    assert types(sandbox) == ["payment_intent.created", "charge.failed", "payment_intent.payment_failed"]


async def test_a_declined_intent_can_be_paid_with_another_card(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.CardError) as refused:
        await pay(client, "pm_card_chargeDeclined")
    error: Any = refused.value.error
    paid = await client.v1.payment_intents.confirm_async(
        error.payment_intent.id, {"payment_method": "pm_card_visa", "return_url": "http://shop.test/"}
    )
    assert (paid.status, paid.last_payment_error) == ("succeeded", None)
    charges = await client.v1.charges.list_async({"payment_intent": paid.id})
    assert [c.status for c in charges.data] == ["succeeded", "failed"]


@pytest.mark.parametrize(
    ("token", "confirmed", "status"),
    [
        ("pm_card_authenticationRequired", True, "succeeded"),
        ("pm_card_authenticationRequiredOnSetup", True, "succeeded"),
        ("pm_card_authenticationRequiredSetupForOffSession", True, "succeeded"),
        ("pm_card_threeDSecure2Required", True, "succeeded"),
        ("pm_card_threeDSecure2Required", False, "requires_payment_method"),
        ("pm_card_threeDSecureRequiredChargeDeclined", True, "requires_payment_method"),
        ("pm_card_authenticationRequiredChargeDeclinedInsufficientFunds", True, "requires_payment_method"),
    ],
)
async def test_a_3ds_card_sends_the_customer_to_the_bank_and_back(
    client: stripe.StripeClient,
    sandbox: SandboxServer,
    browser: httpx2.AsyncClient,
    token: str,
    confirmed: bool,
    status: str,
) -> None:
    asked = await pay(client, token)
    assert asked.status == "requires_action"
    action: Any = asked.next_action
    assert (action.type, action.redirect_to_url.return_url) == ("redirect_to_url", "http://shop.test/return")
    assert "Confirm your payment" in (await browser.get(action.redirect_to_url.url)).text
    answer = await browser.post(action.redirect_to_url.url, data={"answer": "complete" if confirmed else "fail"})
    back = httpx2.URL(answer.headers["location"])
    assert back.host == "shop.test"
    assert back.params["payment_intent"] == asked.id
    assert back.params["redirect_status"] == ("succeeded" if status == "succeeded" else "failed")
    done = await client.v1.payment_intents.retrieve_async(asked.id, {"expand": ["latest_charge"]})
    assert done.status == status
    last: Any = done.last_payment_error
    charge: Any = done.latest_charge
    if status == "succeeded":
        assert charge.payment_method_details.card.three_d_secure.result == "authenticated"
    elif not confirmed:
        assert (last.code, charge) == ("payment_intent_authentication_failure", None)
    assert "nothing to confirm" in (await browser.get(action.redirect_to_url.url)).text
    assert "payment_intent.requires_action" in types(sandbox)


async def test_without_a_way_back_the_bank_is_left_to_stripes_script(
    client: stripe.StripeClient, browser: httpx2.AsyncClient
) -> None:
    asked = await pay(client, "pm_card_threeDSecure2Required", automatic_payment_methods=CARD_ONLY, return_url=None)
    action: Any = asked.next_action
    assert action.type == "use_stripe_sdk"
    answer = await browser.post(action["use_stripe_sdk"]["stripe_js"], data={"answer": "complete"})
    assert "Thank you" in answer.text
    assert (await client.v1.payment_intents.retrieve_async(asked.id)).status == "succeeded"


@pytest.mark.parametrize(
    ("token", "decline_code"),
    [
        ("pm_card_visa", None),
        ("pm_card_threeDSecureOptional", None),
        ("pm_card_authenticationRequiredSetupForOffSession", None),
        ("pm_card_authenticationRequired", "authentication_required"),
        ("pm_card_authenticationRequiredOnSetup", "authentication_required"),
        ("pm_card_chargeCustomerFail", "generic_decline"),
    ],
)
async def test_off_session_only_a_card_that_asks_nothing_pays(
    client: stripe.StripeClient, token: str, decline_code: str | None
) -> None:
    customer, method = await saved(client, token)
    params: Any = {"customer": customer, "off_session": True, "return_url": None}
    if decline_code is None:
        assert (await pay(client, method, **params)).status == "succeeded"
        assert (await pay(client, method, **params)).status == "succeeded"
        return
    with pytest.raises(stripe.CardError) as refused:
        await pay(client, method, **params)
    error: Any = refused.value.error
    assert error.decline_code == decline_code
    assert error.payment_intent.status == "requires_payment_method"
    assert error.payment_method.id == method


async def test_paying_with_setup_saves_the_card_for_later(
    client: stripe.StripeClient, browser: httpx2.AsyncClient
) -> None:
    customer = (await client.v1.customers.create_async({"email": "a@example.com"})).id
    asked = await pay(
        client, "pm_card_authenticationRequiredOnSetup", customer=customer, setup_future_usage="off_session"
    )
    action: Any = asked.next_action
    await browser.post(action.redirect_to_url.url, data={"answer": "complete"})
    (method,) = (await client.v1.payment_methods.list_async({"customer": customer})).data
    later = await pay(client, method.id, customer=customer, off_session=True, return_url=None)
    assert later.status == "succeeded"


async def test_a_method_pays_once_unless_it_is_saved_and_never_for_another(client: stripe.StripeClient) -> None:
    loose = await client.v1.payment_methods.create_async({"type": "card", "card": {"token": "tok_visa"}})
    await pay(client, loose.id)
    with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
        await pay(client, loose.id)
    _, method = await saved(client, "pm_card_visa")
    with pytest.raises(stripe.InvalidRequestError, match="belongs to the Customer"):
        await pay(client, method)


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"amount": 0}, "parameter_invalid_integer", "amount"),
        ({"amount": 49}, "amount_too_small", "amount"),
        ({"amount": None}, "parameter_missing", "amount"),
        ({"customer": "cus_missing"}, "resource_missing", "customer"),
        ({"payment_method": "pm_missing"}, "resource_missing", "payment_method"),
        ({"payment_method": None}, "payment_intent_unexpected_state", None),
        ({"return_url": None}, None, None),
        ({"off_session": True, "setup_future_usage": "off_session"}, None, None),
        ({"colour": "red"}, "parameter_unknown", "colour"),
    ],
)
async def test_what_stripe_refuses_is_refused(
    client: stripe.StripeClient, change: dict[str, Any], code: str | None, param: str | None
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await pay(client, **{"payment_method": "pm_card_visa", **change})
    assert (refused.value.http_status, refused.value.code, refused.value.param) == (400, code, param)


async def test_error_on_requires_action_declines_instead_of_asking(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.CardError) as refused:
        await pay(client, "pm_card_threeDSecure2Required", error_on_requires_action=True)
    error: Any = refused.value.error
    assert (error.code, error.decline_code) == ("authentication_required", "authentication_not_handled")


async def test_held_money_is_captured_in_part(client: stripe.StripeClient, sandbox: SandboxServer) -> None:
    held = await pay(client, "pm_card_visa", amount=2900, capture_method="manual")
    assert (held.status, held.amount_capturable, held.amount_received) == ("requires_capture", 2900, 0)
    assert types(sandbox)[-1] == "payment_intent.amount_capturable_updated"
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await client.v1.payment_intents.capture_async(held.id, {"amount_to_capture": 2901})
    assert (refused.value.code, refused.value.param) == ("amount_too_large", "amount_to_capture")
    done = await client.v1.payment_intents.capture_async(
        held.id, {"amount_to_capture": 2000, "expand": ["latest_charge.balance_transaction"]}
    )
    assert (done.status, done.amount_capturable, done.amount_received) == ("succeeded", 0, 2000)
    charge: Any = done.latest_charge
    assert (charge.captured, charge.amount_captured, charge.amount_refunded) == (True, 2000, 900)
    assert (charge.balance_transaction.amount, charge.balance_transaction.fee) == (2000, 88)
    assert types(sandbox)[-2:] == ["charge.captured", "payment_intent.succeeded"]
    with pytest.raises(stripe.InvalidRequestError, match="could not be captured"):
        await client.v1.payment_intents.capture_async(held.id)


@pytest.mark.parametrize("by", ["the seller", "time"])
async def test_what_is_not_captured_is_let_go(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient, by: str
) -> None:
    held = await pay(client, "pm_card_visa", capture_method="manual")
    if by == "time":
        await browser.post(f"{sandbox.url}/sandbox/clock", data={"advance": str(7 * 86_400 + 1)})
        await until(lambda: "payment_intent.canceled" in types(sandbox))
    else:
        await client.v1.payment_intents.cancel_async(held.id, {"cancellation_reason": "duplicate"})
    intent = await client.v1.payment_intents.retrieve_async(held.id, {"expand": ["latest_charge"]})
    charge: Any = intent.latest_charge
    assert (intent.status, intent.amount_capturable) == ("canceled", 0)
    assert intent.cancellation_reason == ("automatic" if by == "time" else "duplicate")
    assert (charge.captured, charge.refunded, charge.amount_refunded) == (False, True, charge.amount)
    assert ("charge.expired" if by == "time" else "charge.refunded") in types(sandbox)


async def test_a_paid_intent_is_neither_cancelled_nor_repriced(client: stripe.StripeClient) -> None:
    paid = await pay(client, "pm_card_visa")
    with pytest.raises(stripe.InvalidRequestError, match="cannot cancel"):
        await client.v1.payment_intents.cancel_async(paid.id)
    with pytest.raises(stripe.InvalidRequestError, match="amount could not be updated"):
        await client.v1.payment_intents.update_async(paid.id, {"amount": 700})
    noted = await client.v1.payment_intents.update_async(paid.id, {"description": "Order 7"})
    assert noted.description == "Order 7"


async def test_a_charge_is_annotated(client: stripe.StripeClient, sandbox: SandboxServer) -> None:
    paid = await pay(client, "pm_card_visa")
    charge = await client.v1.charges.update_async(str(paid.latest_charge), {"metadata": {"order": "7"}})
    assert charge.metadata.to_dict() == {"order": "7"}
    event = sandbox.sandbox.events("charge.updated")[-1]
    assert event["data"]["object"]["metadata"] == {"order": "7"}


async def test_the_balance_is_pending_for_a_week_unless_the_card_bypasses_that(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient
) -> None:
    await pay(client, "pm_card_visa", amount=2500)
    await pay(client, "pm_card_bypassPending", amount=2500)
    await until(lambda: types(sandbox).count("charge.updated") == 2)
    balance = await client.v1.balance.retrieve_async()
    assert (balance.available[0].amount, balance.pending[0].amount) == (2397, 2397)
    (first, second) = (await client.v1.balance_transactions.list_async({"type": "charge"})).data
    assert (first.status, second.status) == ("available", "pending")
    await browser.post(f"{sandbox.url}/sandbox/clock", data={"advance": str(8 * 86_400)})
    store = sandbox.sandbox.store
    await until(lambda: (store.get(second.id) or {})["status"] == "available")
    assert (await client.v1.balance.retrieve_async()).available[0].amount == 2 * 2397
