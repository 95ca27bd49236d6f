"""Payment methods, through the unmodified SDK: test tokens and numbers, attaching, detaching, listing, changing."""

from typing import Any

import pytest
import stripe

from stripe_sandbox import SandboxServer
from tests.sandbox.conftest import types


async def customer(client: stripe.StripeClient, **given: Any) -> str:
    params: Any = {"email": "a@example.com", **given}
    return (await client.v1.customers.create_async(params)).id


@pytest.mark.parametrize(
    ("token", "brand", "last4", "country"),
    [
        ("pm_card_visa", "visa", "4242", "US"),
        ("pm_card_mastercard", "mastercard", "4444", "US"),
        ("pm_card_amex", "amex", "8431", "US"),
        ("pm_card_discover", "discover", "9424", "US"),
        ("pm_card_diners", "diners", "0004", "US"),
        ("pm_card_jcb", "jcb", "0505", "JP"),
        ("pm_card_unionpay", "unionpay", "0005", "CN"),
        ("pm_card_authenticationRequired", "visa", "3184", "DE"),
        ("pm_card_hu", "visa", "0005", "HU"),
        ("pm_card_chargeCustomerFail", "visa", "0341", "US"),
    ],
)
async def test_a_test_token_becomes_a_payment_method_of_the_customer(
    client: stripe.StripeClient, sandbox: SandboxServer, token: str, brand: str, last4: str, country: str
) -> None:
    owner = await customer(client)
    method = await client.v1.payment_methods.attach_async(token, {"customer": owner})
    assert method.id.startswith("pm_")
    assert len(method.id) == 27
    assert method.customer == owner
    card: Any = method.card
    assert (card.brand, card.last4, card.country) == (brand, last4, country)
    (event,) = sandbox.sandbox.events("payment_method.attached")
    assert event["data"]["object"]["id"] == method.id
    again = await client.v1.payment_methods.attach_async(method.id, {"customer": owner})
    assert again.id == method.id


async def test_a_payment_method_is_made_of_a_number_or_a_token(client: stripe.StripeClient) -> None:
    by_number = await client.v1.payment_methods.create_async(
        {
            "type": "card",
            "card": {"number": "5555555555554444", "exp_month": 12, "exp_year": 2040, "cvc": "123"},
            "billing_details": {"name": "Bo", "address": {"country": "DE"}},
            "metadata": {"a": "1"},
        }
    )
    card: Any = by_number.card
    assert (card.brand, card.exp_year, card.checks.cvc_check) == ("mastercard", 2040, "pass")
    assert by_number.customer is None
    billing: Any = by_number.billing_details
    assert (billing.name, billing.email, billing.address.country) == ("Bo", None, "DE")
    by_token = await client.v1.payment_methods.create_async({"type": "card", "card": {"token": "tok_visa"}})
    assert by_token.card is not None
    assert by_token.card.last4 == "4242"
    found = await client.v1.payment_methods.retrieve_async(by_number.id)
    assert found.metadata is not None
    assert found.metadata.to_dict() == {"a": "1"}


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"number": "4242424242424241"}, "incorrect_number", "number"),
        ({"exp_month": 13}, "invalid_expiry_month", "exp_month"),
        ({"exp_year": 1995}, "invalid_expiry_year", "exp_year"),
        ({"cvc": "99"}, "invalid_cvc", "cvc"),
        ({"number": "4111111111111111"}, "card_declined", None),
    ],
)
async def test_what_cannot_be_a_test_card_is_refused(
    client: stripe.StripeClient, change: dict[str, Any], code: str, param: str | None
) -> None:
    card: Any = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2040, "cvc": "123", **change}
    with pytest.raises(stripe.CardError) as refused:
        await client.v1.payment_methods.create_async({"type": "card", "card": card})
    assert (refused.value.http_status, refused.value.code, refused.value.param) == (402, code, param)


async def test_a_card_that_is_declined_cannot_be_attached_but_for_0341(client: stripe.StripeClient) -> None:
    owner = await customer(client)
    with pytest.raises(stripe.CardError) as refused:
        await client.v1.payment_methods.attach_async("pm_card_chargeDeclined", {"customer": owner})
    error: Any = refused.value.error
    assert (refused.value.http_status, error.code, error.decline_code) == (402, "card_declined", "generic_decline")
    assert (error.advice_code, error.network_decline_code, error.param) == ("try_again_later", "01", "")
    listed = await client.v1.payment_methods.list_async({"customer": owner})
    assert listed.data == []


async def test_attaching_refuses_as_stripe_does(client: stripe.StripeClient) -> None:
    first, second = await customer(client), await customer(client)
    method = await client.v1.payment_methods.attach_async("pm_card_visa", {"customer": first})
    for id, owner, status, code, param in [
        (method.id, second, 400, None, None),
        ("abcd", first, 404, "resource_missing", "payment_method"),
        (method.id, "cus_missing", 400, "resource_missing", "customer"),
    ]:
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await client.v1.payment_methods.attach_async(id, {"customer": owner})
        assert (refused.value.http_status, refused.value.code, refused.value.param) == (status, code, param)


async def test_a_detached_method_is_nobodys_default_and_may_not_come_back(
    client: stripe.StripeClient, sandbox: SandboxServer
) -> None:
    owner = await customer(client)
    method = await client.v1.payment_methods.attach_async("pm_card_visa", {"customer": owner})
    settings: Any = {"default_payment_method": method.id}
    changed = await client.v1.customers.update_async(owner, {"invoice_settings": settings})
    assert changed.invoice_settings is not None
    assert changed.invoice_settings.default_payment_method == method.id
    detached = await client.v1.payment_methods.detach_async(method.id)
    assert detached.customer is None
    (event,) = sandbox.sandbox.events("payment_method.detached")
    assert event["data"]["previous_attributes"] == {"customer": owner}
    after = await client.v1.customers.retrieve_async(owner)
    assert after.invoice_settings is not None
    assert after.invoice_settings.default_payment_method is None
    with pytest.raises(stripe.InvalidRequestError, match="detachment is impossible"):
        await client.v1.payment_methods.detach_async(method.id)
    with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
        await client.v1.payment_methods.attach_async(method.id, {"customer": owner})


async def test_lists_show_the_customers_own_methods(client: stripe.StripeClient) -> None:
    owner, other = await customer(client), await customer(client)
    mine = [
        (await client.v1.payment_methods.attach_async(token, {"customer": owner})).id
        for token in ("pm_card_visa", "pm_card_mastercard")
    ]
    theirs = await client.v1.payment_methods.attach_async("pm_card_visa", {"customer": other})
    listed = await client.v1.payment_methods.list_async({"customer": owner, "type": "card"})
    assert [m.id for m in listed.data] == mine[::-1]
    below = await client.v1.customers.payment_methods.list_async(owner, {"limit": 1})
    assert ([m.id for m in below.data], below.has_more) == (mine[1:], True)
    one = await client.v1.customers.payment_methods.retrieve_async(owner, mine[0])
    assert one.id == mine[0]
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await client.v1.customers.payment_methods.retrieve_async(owner, theirs.id)
    assert (refused.value.http_status, refused.value.code) == (404, "resource_missing")


async def test_only_a_saved_method_is_changed_and_the_event_has_just_what_did(
    client: stripe.StripeClient, sandbox: SandboxServer
) -> None:
    loose = await client.v1.payment_methods.create_async({"type": "card", "card": {"token": "tok_visa"}})
    with pytest.raises(stripe.InvalidRequestError, match="must save this PaymentMethod"):
        await client.v1.payment_methods.update_async(loose.id, {"metadata": {"a": "1"}})
    owner = await customer(client)
    method = await client.v1.payment_methods.attach_async(loose.id, {"customer": owner})
    assert method.card is not None
    year = method.card.exp_year
    changed = await client.v1.payment_methods.update_async(
        method.id, {"card": {"exp_year": year + 1}, "billing_details": {"email": "b@example.com"}}
    )
    assert changed.card is not None
    assert (changed.card.exp_year, changed.card.last4) == (year + 1, "4242")
    (event,) = sandbox.sandbox.events("payment_method.updated")
    assert event["data"]["previous_attributes"] == {"card": {"exp_year": year}, "billing_details": {"email": None}}


async def test_a_customer_can_come_with_a_method_and_has_no_default_that_is_not_theirs(
    client: stripe.StripeClient, sandbox: SandboxServer
) -> None:
    settings: Any = {"default_payment_method": "pm_card_visa"}
    owner = await customer(client, payment_method="pm_card_visa", invoice_settings=settings)
    (method,) = (await client.v1.payment_methods.list_async({"customer": owner})).data
    found = await client.v1.customers.retrieve_async(owner, {"expand": ["invoice_settings.default_payment_method"]})
    default: Any = found.invoice_settings and found.invoice_settings.default_payment_method
    assert default.id == method.id
    assert "payment_method.attached" in types(sandbox)
    other = await customer(client)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await client.v1.customers.update_async(other, {"invoice_settings": {"default_payment_method": method.id}})
    assert refused.value.param == "invoice_settings[default_payment_method]"
