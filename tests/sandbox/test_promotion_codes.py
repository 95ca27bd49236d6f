"""Discounts at the hosted checkout page: codes that buyers type, and coupons that sellers give."""

from typing import Any

import httpx2
import pytest
import stripe

from stripe_sandbox import SandboxServer
from tests.sandbox.conftest import CARD, seed, types
from tests.sandbox.ordering import buyer, promotion

WITH_CODES: dict[str, Any] = {"allow_promotion_codes": True}


async def test_a_code_takes_its_part_off_and_can_be_taken_back(
    client: stripe.StripeClient, browser: httpx2.AsyncClient
) -> None:
    code = await promotion(client, "HALF")
    guest = await buyer(client, browser, **WITH_CODES)
    assert "Promotion code" in await guest.see()
    said = await guest.type_code(" half ")
    assert "HALF" in said
    assert "50% off" in said
    assert "-$3.00" in said
    assert "Pay $2.99" in said
    session = await guest.session("total_details.breakdown", "discounts.promotion_code")
    assert (session.amount_subtotal, session.amount_total, session.total_details.amount_discount) == (599, 299, 300)
    assert [(d.coupon, d.promotion_code.code) for d in session.discounts] == [(None, "HALF")]
    (part,) = session.total_details.breakdown.discounts
    assert (part.amount, part.discount.promotion_code, part.discount.checkout_session) == (300, code.id, guest.id)
    assert [(line.amount_discount, line.amount_total) for line in await guest.lines()] == [(300, 299)]

    assert "Pay $5.99" in await guest.remove_code()
    assert ((await guest.session()).amount_total, (await guest.session()).discounts) == (599, [])
    await guest.type_code("HALF")
    assert (await client.v1.promotion_codes.retrieve_async(code.id)).times_redeemed == 0
    assert (await guest.pay())[0] == 303
    paid = await guest.session("payment_intent")
    assert (paid.payment_status, paid.payment_intent.amount_received) == ("paid", 299)
    redeemed = await client.v1.promotion_codes.retrieve_async(code.id, {"expand": ["promotion.coupon"]})
    coupon: Any = redeemed.promotion.coupon
    assert (redeemed.times_redeemed, coupon.times_redeemed) == (1, 1)


async def test_a_code_for_all_of_it_needs_no_payment(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient
) -> None:
    await promotion(client, "FREE", {"percent_off": 100})
    guest = await buyer(client, browser, **WITH_CODES)
    assert (await guest.pay(card_number="4000 0000 0000 0002"))[0] == 402
    said = await guest.type_code("FREE")
    assert "Complete order" in said
    assert "Card number" not in said
    assert (await guest.pay(email="nobody"))[0] == 402
    assert (await guest.pay())[0] == 303
    done = await guest.session("customer")
    assert (done.status, done.payment_status, done.amount_total, done.payment_intent) == (
        "complete",
        "no_payment_required",
        0,
        None,
    )
    assert done.customer.email == CARD["email"]
    assert "charge.succeeded" not in types(sandbox)


@pytest.mark.parametrize(
    ("coupon", "given", "told"),
    [
        ({}, {"active": False}, "This code is invalid."),
        ({"percent_off": 50, "applies_to": {"products": ["prod_other"]}}, {}, "This code is invalid."),
        ({"amount_off": 100, "currency": "eur"}, {}, "This code is invalid."),
        ({}, {"expires_at": 1_000_000_000}, "This code has expired."),
        ({"percent_off": 50, "redeem_by": 1_000_000_000}, {}, "This code has expired."),
        ({}, {"max_redemptions": 1}, "This code has been used as often as it can be."),
        ({"percent_off": 50, "max_redemptions": 1}, {}, "This code has been used as often as it can be."),
        (
            {},
            {"restrictions": {"minimum_amount": 1000, "minimum_amount_currency": "usd"}},
            "This code is for orders of $10.00 or more.",
        ),
        ({"amount_off": 580, "currency": "usd"}, {}, "The total would be less than $0.50"),
    ],
)
async def test_a_code_that_cannot_be_used_says_why_and_changes_nothing(
    client: stripe.StripeClient,
    browser: httpx2.AsyncClient,
    coupon: dict[str, Any],
    given: dict[str, Any],
    told: str,
) -> None:
    await promotion(client, "CODE", coupon, **given)
    if "as often" in told:
        first = await buyer(client, browser, **WITH_CODES)
        await first.type_code("CODE")
        assert (await first.pay())[0] == 303
    guest = await buyer(client, browser, **WITH_CODES)
    said = await guest.type_code("CODE")
    assert told in said
    assert "Pay $5.99" in said
    assert "This code is invalid." in await guest.type_code("NONE")
    assert (await guest.session()).amount_total == 599


async def test_codes_for_one_customer_and_for_first_orders_are_for_those(
    client: stripe.StripeClient, browser: httpx2.AsyncClient
) -> None:
    ann = (await client.v1.customers.create_async({"email": "ann@example.com"})).id
    await promotion(client, "ANNS", customer=ann)
    await promotion(client, "FIRST", restrictions={"first_time_transaction": True})
    somebody = await buyer(client, browser, **WITH_CODES)
    assert "This code is invalid." in await somebody.type_code("ANNS")
    guest = await buyer(client, browser, customer=ann, **WITH_CODES)
    assert "50% off" in await guest.type_code("FIRST")
    assert "50% off" in await guest.type_code("ANNS")
    assert (await guest.pay())[0] == 303
    again = await buyer(client, browser, customer=ann, **WITH_CODES)
    assert "This code is for first-time customers." in await again.type_code("FIRST")


async def test_a_code_that_somebody_else_used_up_meanwhile_is_gone_before_anything_is_charged(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient
) -> None:
    await promotion(client, "ONCE", max_redemptions=1)
    slow, quick = [await buyer(client, browser, **WITH_CODES) for _ in range(2)]
    for guest in (slow, quick):
        await guest.type_code("ONCE")
    assert (await quick.pay())[0] == 303
    status, said = await slow.pay()
    assert status == 402
    assert "This code has been used as often as it can be. The total has changed." in said
    assert "Pay $5.99" in said
    assert types(sandbox).count("charge.succeeded") == 1
    assert (await slow.pay())[0] == 303
    assert (await slow.session()).amount_total == 599


async def test_a_coupon_of_the_seller_s_is_taken_off_and_stays(
    client: stripe.StripeClient, browser: httpx2.AsyncClient
) -> None:
    coupon = await client.v1.coupons.create_async({"amount_off": 100, "currency": "usd", "name": "Welcome"})
    guest = await buyer(client, browser, discounts=[{"coupon": coupon.id}])
    said = await guest.see()
    assert "Welcome" in said
    assert "$1.00 off" in said
    assert "Promotion code" not in said
    assert "takes no promotion codes" in await guest.type_code("HALF")
    assert "part of the order" in await guest.remove_code()
    assert (await guest.pay())[0] == 303
    paid = await guest.session()
    assert (paid.amount_total, paid.discounts[0].coupon) == (499, coupon.id)
    assert (await client.v1.coupons.retrieve_async(coupon.id)).times_redeemed == 1
    both: Any = {"discounts": [{"coupon": coupon.id}], **WITH_CODES}
    with pytest.raises(stripe.InvalidRequestError, match="only specify one of these parameters"):
        await buyer(client, browser, **both)


async def test_an_intent_that_was_begun_is_paid_at_the_new_total(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient
) -> None:
    await promotion(client, "HALF")
    guest = await buyer(client, browser, **WITH_CODES)
    assert (await guest.pay(card_number="4000000000003220"))[0] == 303
    await guest.type_code("HALF")
    late = await browser.post(f"{guest.url}/authenticate", data={"answer": "complete"})
    assert (late.status_code, "the order has changed" in late.text) == (409, True)
    assert "charge.succeeded" not in types(sandbox)
    assert (await guest.pay())[0] == 303
    assert (await guest.session("payment_intent")).payment_intent.amount_received == 299


@pytest.mark.parametrize("percent", [50, 100])
async def test_a_code_on_a_subscription_is_on_its_first_invoice(
    client: stripe.StripeClient, browser: httpx2.AsyncClient, percent: int
) -> None:
    code = await promotion(client, "PART", {"percent_off": percent})
    price = await seed(client, recurring=True, amount=1000)
    guest = await buyer(
        client, browser, mode="subscription", line_items=[{"price": price.id, "quantity": 1}], **WITH_CODES
    )
    await guest.type_code("PART")
    assert (await guest.pay(card_number="4000 0000 0000 0002"))[0] == 402
    assert (await guest.pay())[0] == 303
    done = await guest.session("subscription", "invoice")
    due = 1000 - 10 * percent
    assert (done.amount_total, done.invoice.total, done.invoice.status) == (due, due, "paid")
    assert (done.payment_status, done.subscription.status) == ("paid" if due else "no_payment_required", "active")
    assert done.subscription.default_payment_method is not None
    assert (await client.v1.promotion_codes.retrieve_async(code.id)).times_redeemed == 1


async def test_a_free_subscription_asks_for_no_card_if_none_is_required(
    client: stripe.StripeClient, browser: httpx2.AsyncClient
) -> None:
    await promotion(client, "FREE", {"percent_off": 100})
    options: dict[str, Any] = {"mode": "subscription", "payment_method_collection": "if_required", **WITH_CODES}
    guest = await buyer(client, browser, **options)
    assert "Complete order" in await guest.type_code("FREE")
    assert (await guest.pay())[0] == 303
    done = await guest.session("subscription")
    assert (done.subscription.status, done.subscription.default_payment_method) == ("active", None)
