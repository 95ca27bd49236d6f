"""Quantities that buyers choose, tax, the buyer's own currency, and expired sessions that come back."""

from typing import Any

import httpx2
import pytest
import stripe

from stripe_sandbox import SandboxServer
from stripe_sandbox.billing import settings
from tests.sandbox.conftest import open_session, seed
from tests.sandbox.ordering import Buyer, buyer, promotion


async def lines_of(client: stripe.StripeClient, **adjustable: Any) -> list[dict[str, Any]]:
    price = await seed(client)
    return [{"price": price.id, "quantity": 1, "adjustable_quantity": {"enabled": True, **adjustable}}]


async def test_a_quantity_is_chosen_within_its_limits_and_the_totals_follow(
    client: stripe.StripeClient, browser: httpx2.AsyncClient
) -> None:
    guest = await buyer(client, browser, line_items=await lines_of(client, minimum=1, maximum=3))
    (line,) = await guest.lines()
    assert line.adjustable_quantity.to_dict() == {"enabled": True, "minimum": 1, "maximum": 3}
    said = await guest.take(3)
    assert "$5.99 each" in said
    assert "Pay $17.97" in said
    (line,) = await guest.lines()
    assert (line.quantity, line.amount_subtotal, line.amount_total) == (3, 1797, 1797)
    for wrong in (0, 4, -1, "x", ""):
        assert "You can take from 1 to 3 of 200 bonus credits." in await guest.take(wrong)
    assert "cannot be changed" in await guest.take(2, line="li_other")
    assert (await guest.session()).amount_total == 1797
    assert (await guest.pay())[0] == 303
    assert (await guest.session("payment_intent")).payment_intent.amount_received == 1797
    assert "not charged again" in await guest.take(2, line=line.id)


async def test_of_several_lines_one_may_go_and_the_last_one_stays(
    client: stripe.StripeClient, browser: httpx2.AsyncClient
) -> None:
    both = await lines_of(client) + await lines_of(client)
    guest = await buyer(client, browser, line_items=both)
    first, second = await guest.lines()
    assert first.adjustable_quantity.to_dict() == {"enabled": True, "minimum": 0, "maximum": 99}
    await guest.take(0, line=first.id)
    assert [line.id for line in await guest.lines()] == [second.id]
    assert "from 1 to 99" in await guest.take(0)
    fixed = await buyer(client, browser)
    assert "cannot be changed" in await fixed.take(2)


async def test_a_code_that_needs_more_goes_when_less_is_taken(
    client: stripe.StripeClient, browser: httpx2.AsyncClient
) -> None:
    await promotion(client, "BIG", restrictions={"minimum_amount": 1000, "minimum_amount_currency": "usd"})
    guest = await buyer(client, browser, line_items=await lines_of(client), allow_promotion_codes=True)
    await guest.take(2)
    assert "Pay $5.99" in await guest.type_code("BIG")
    assert "This code is for orders of $10.00 or more. The total has changed." in await guest.take(1)
    assert (await guest.session()).amount_total == 599


@pytest.mark.parametrize(
    ("quantity", "adjustable"), [(0, {}), (4, {"maximum": 3}), (1, {"minimum": 2}), (1, {"minimum": 3, "maximum": 2})]
)
async def test_limits_that_a_quantity_does_not_keep_are_refused(
    client: stripe.StripeClient, quantity: int, adjustable: dict[str, int]
) -> None:
    (line,) = await lines_of(client, **adjustable)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await open_session(client, line_items=[{**line, "quantity": quantity}])
    assert str(refused.value.param).startswith("line_items[0]")


async def test_a_seller_changes_the_lines_of_an_open_session_beyond_what_a_buyer_may(
    client: stripe.StripeClient, browser: httpx2.AsyncClient
) -> None:
    guest = await buyer(client, browser, line_items=await lines_of(client, maximum=3))
    (line,) = await guest.lines()
    change: Any = {"id": line.id, "quantity": 9, "adjustable_quantity": {"enabled": False}}
    changed = await client.v1.checkout.sessions.update_async(guest.id, {"line_items": [change]})
    assert changed.amount_total == 9 * 599
    with pytest.raises(stripe.InvalidRequestError, match="No such line item"):
        await client.v1.checkout.sessions.update_async(guest.id, {"line_items": [{"id": "li_x", "quantity": 1}]})
    assert (await guest.pay())[0] == 303
    with pytest.raises(stripe.InvalidRequestError, match="Only open"):
        await client.v1.checkout.sessions.update_async(guest.id, {"line_items": [change]})


@pytest.mark.parametrize(("behavior", "total", "tax"), [("exclusive", 659, 60), ("inclusive", 599, 54)])
async def test_automatic_tax_is_in_the_totals(
    client: stripe.StripeClient,
    sandbox: SandboxServer,
    browser: httpx2.AsyncClient,
    behavior: str,
    total: int,
    tax: int,
) -> None:
    settings.change(sandbox.sandbox, tax_percent="10")
    price = await client.v1.prices.create_async(
        {"currency": "usd", "unit_amount": 599, "product_data": {"name": "A"}, "tax_behavior": behavior}  # type: ignore[typeddict-item]
    )
    lines = [{"price": price.id, "quantity": 1}]
    guest = await buyer(client, browser, line_items=lines, automatic_tax={"enabled": True})
    said = await guest.see()
    assert f"Tax $0.{tax}" in said
    assert (await guest.pay())[0] == 303
    paid = await guest.session("total_details.breakdown")
    assert (paid.amount_subtotal, paid.amount_total, paid.total_details.amount_tax) == (599, total, tax)
    assert paid.automatic_tax.status == "complete"
    assert [part.amount for part in paid.total_details.breakdown.taxes] == [tax]


async def test_tax_rates_of_the_seller_are_computed_told_and_in_the_totals(
    client: stripe.StripeClient, browser: httpx2.AsyncClient
) -> None:
    rates = client.v1.tax_rates
    vat = await rates.create_async({"display_name": "VAT", "inclusive": True, "percentage": 20, "tax_type": "vat"})
    city = await rates.create_async({"display_name": "City", "inclusive": False, "percentage": 2.5})
    assert {rate.id for rate in (await rates.list_async({"active": True})).data} == {vat.id, city.id}
    (line,) = await lines_of(client, maximum=3)
    other = {"price": (await seed(client)).id, "quantity": 2, "tax_rates": [city.id]}
    guest = await buyer(
        client, browser, line_items=[{**line, "tax_rates": [vat.id, city.id]}, other], allow_promotion_codes=True
    )
    # 5.99 has 1.00 of VAT in it; 2.5 % of the 4.99 that are left are 0.12, and of 11.98 they are 0.30.
    said = await guest.see()
    for words in ("Subtotal $17.97", "VAT (20% inclusive) $1.00", "City (2.5%) $0.42", "Pay $18.39"):
        assert words in said
    assert [(each.amount_tax, each.amount_total) for each in await guest.lines()] == [(112, 611), (30, 1228)]
    # Half of them are 2.99 and 5.99: 0.50 of VAT in the first, 0.06 of the 2.49 that are left, and 0.15.
    await promotion(client, "HALF")
    assert "Pay $9.19" in await guest.type_code("HALF")
    assert (await guest.pay())[0] == 303
    paid = await guest.session("total_details.breakdown")
    assert (paid.amount_subtotal, paid.amount_total, paid.total_details.amount_tax) == (1797, 919, 71)
    assert [(tax.rate.id, tax.amount) for tax in paid.total_details.breakdown.taxes] == [(vat.id, 50), (city.id, 21)]


async def test_tax_rates_that_cannot_be_used_are_refused(
    client: stripe.StripeClient, browser: httpx2.AsyncClient
) -> None:
    rates, wrong = client.v1.tax_rates, stripe.InvalidRequestError
    vat = await rates.create_async({"display_name": "VAT", "inclusive": True, "percentage": 20})
    with pytest.raises(wrong, match="between 0 and 100"):
        await rates.create_async({"display_name": "VAT", "inclusive": True, "percentage": 120})
    line = {"price": (await seed(client)).id, "quantity": 1, "tax_rates": [vat.id]}
    refused: list[tuple[str, dict[str, Any]]] = [
        ("No such tax rate", {"line_items": [{**line, "tax_rates": ["txr_x"]}]}),
        ("automatic_tax", {"line_items": [line], "automatic_tax": {"enabled": True}}),
    ]
    for words, given in refused:
        with pytest.raises(wrong, match=words):
            await open_session(client, **given)
    session = await open_session(client, line_items=[line])
    recovery: Any = {"recovery": {"enabled": True}}
    left = await open_session(client, line_items=[line], after_expiration=recovery)
    assert (await rates.update_async(vat.id, {"active": False})).active is False
    with pytest.raises(wrong, match="archived"):
        await open_session(client, line_items=[line])
    (kept,) = (await client.v1.checkout.sessions.line_items.list_async(session.id)).data
    change: Any = {"id": kept.id, "tax_rates": ""}
    changed = await client.v1.checkout.sessions.update_async(session.id, {"line_items": [change]})
    assert (changed.amount_total, changed.total_details and changed.total_details.amount_tax) == (599, 0)
    # Whoever comes back pays as it was agreed on.
    expired = await client.v1.checkout.sessions.expire_async(left.id)
    url = expired.after_expiration and expired.after_expiration.recovery and expired.after_expiration.recovery.url
    assert "VAT (20% inclusive) $1.00" in await (await recovered(client, browser, str(url))).see()


async def test_a_buyer_elsewhere_may_pay_in_their_own_currency(
    client: stripe.StripeClient, browser: httpx2.AsyncClient
) -> None:
    guest = await buyer(client, browser, customer_email="a+location_FR@example.com")
    said = await guest.see()
    assert "€5.51" in said
    assert "$5.99" in said
    assert (await guest.pay(currency="eur", card_number="4000 0000 0000 0002"))[0] == 402
    assert (await guest.pay(currency="eur"))[0] == 303
    paid = await guest.session("payment_intent.latest_charge")
    theirs = {"presentment_amount": 551, "presentment_currency": "eur"}
    assert (paid.currency, paid.amount_total, paid.presentment_details.to_dict()) == ("usd", 599, theirs)
    intent = paid.payment_intent
    assert (intent.currency, intent.amount_received, intent.presentment_details.to_dict()) == ("usd", 599, theirs)
    assert intent.latest_charge.presentment_details.to_dict() == theirs

    in_ours = await buyer(client, browser, customer_email="a+location_JP@example.com")
    assert "904 JPY" in await in_ours.see()
    assert (await in_ours.pay(currency="usd"))[0] == 303
    assert "presentment_details" not in await in_ours.session()
    switched_off: Any = {"customer_email": "a+location_FR@example.com", "adaptive_pricing": {"enabled": False}}
    for options in ({}, {"customer_email": "a+location_US@example.com"}, switched_off):
        assert "€" not in await (await buyer(client, browser, **options)).see()


async def recovered(client: stripe.StripeClient, http: httpx2.AsyncClient, url: str) -> Buyer:
    answer = await http.get(url)
    assert answer.status_code == 303
    page = answer.headers["location"]
    return Buyer(http, client, page.rsplit("/", 1)[1], page)


async def test_an_expired_session_comes_back_as_a_copy(
    client: stripe.StripeClient, sandbox: SandboxServer, browser: httpx2.AsyncClient
) -> None:
    await promotion(client, "HALF")
    recovery = {"recovery": {"enabled": True, "allow_promotion_codes": True}}
    guest = await buyer(
        client,
        browser,
        line_items=await lines_of(client, maximum=3),
        after_expiration=recovery,
        metadata={"order": "1"},
        client_reference_id="acme",
        payment_intent_data={"metadata": {"order": "1"}},
        customer=(await client.v1.customers.create_async({"email": "a@example.com"})).id,
        expires_at=sandbox.sandbox.now() + 3600,
    )
    before = (await guest.session()).after_expiration.recovery
    assert (before.enabled, before.url, before.expires_at) == (True, None, None)
    await guest.take(2)
    await browser.post(f"{sandbox.url}/sandbox/clock", data={"advance": "3601"})
    (event,) = sandbox.sandbox.events("checkout.session.expired")
    told = event["data"]["object"]["after_expiration"]["recovery"]
    expired = await guest.session()
    link = expired.after_expiration.recovery
    assert (expired.status, expired.url) == ("expired", None)
    assert (told["url"], link.expires_at - expired.expires_at) == (link.url, 30 * 86_400)
    assert "This checkout has expired" in await guest.see()

    again = await recovered(client, browser, link.url)
    assert "Pay $5.99" in await again.type_code("HALF")
    assert (await again.pay())[0] == 303
    paid = await again.session("payment_intent")
    assert (paid.recovered_from, paid.client_reference_id, paid.customer) == (guest.id, "acme", expired.customer)
    assert [had.metadata.to_dict() for had in (paid, paid.payment_intent)] == [{"order": "1"}] * 2
    assert (paid.amount_subtotal, paid.amount_total) == (1198, 599)

    await browser.post(f"{sandbox.url}/sandbox/clock", data={"advance": str(30 * 86_400)})
    late = await browser.get(link.url)
    assert (late.status_code, "This link has expired" in late.text) == (410, True)
    assert (await browser.get(f"{sandbox.url}/r/test_none")).status_code == 404


async def test_without_recovery_there_is_no_way_back_and_codes_are_as_it_says(
    client: stripe.StripeClient, browser: httpx2.AsyncClient
) -> None:
    none = await open_session(client, after_expiration={"recovery": {"enabled": False}})
    gone: Any = (await client.v1.checkout.sessions.expire_async(none.id)).after_expiration
    assert gone.recovery.url is None
    guest = await buyer(client, browser, allow_promotion_codes=True, after_expiration={"recovery": {"enabled": True}})
    expired: Any = (await client.v1.checkout.sessions.expire_async(guest.id)).after_expiration
    again = await recovered(client, browser, expired.recovery.url)
    assert "Promotion code" not in await again.see()
    (line,) = await guest.lines()
    await client.v1.prices.update_async(line.price.id, {"active": False})
    answer = await browser.get(expired.recovery.url)
    assert (answer.status_code, "not available any more" in answer.text) == (410, True)
