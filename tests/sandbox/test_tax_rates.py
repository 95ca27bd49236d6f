"""Tax rates that a seller puts on subscriptions, their items, invoices and invoice items: computed, summed and told."""

from typing import Any

import httpx2
import pytest
import stripe

from stripe_sandbox.billing import settings
from tests.sandbox.conftest import CARD, open_session
from tests.sandbox.subscribing import Shop
from tests.sandbox.visiting import Guest


async def rate(shop: Shop, name: str, percentage: float, *, inclusive: bool = False) -> str:
    given: Any = {"display_name": name, "percentage": percentage, "inclusive": inclusive}
    return (await shop.client.v1.tax_rates.create_async(given)).id


def taxes(of: Any) -> list[tuple[str, int, int, str]]:
    return [(t.tax_rate_details.tax_rate, t.amount, t.taxable_amount, t.tax_behavior) for t in of]


def sums(invoice: Any) -> tuple[int, int, int, int]:
    return invoice.subtotal, invoice.subtotal_excluding_tax, invoice.total_excluding_tax, invoice.total


@pytest.mark.parametrize(
    ("inclusive", "tax", "taxable", "expected", "told"),
    [
        (False, 380, 1900, (1900, 1900, 1900, 2280), "VAT (20%) $3.80"),
        (True, 317, 1583, (1900, 1583, 1583, 1900), "VAT (20% inclusive) $3.17"),
    ],
)
async def test_the_default_rates_of_a_subscription_tax_each_of_its_invoices(
    shop: Shop,
    browser: httpx2.AsyncClient,
    inclusive: bool,
    tax: int,
    taxable: int,
    expected: tuple[int, int, int, int],
    told: str,
) -> None:
    vat = await rate(shop, "VAT", 20, inclusive=inclusive)
    begun = await shop.subscribe(await shop.customer(), await shop.price(), default_tax_rates=[vat])
    assert [each.id for each in begun.default_tax_rates or []] == [vat]
    for paid in (0, 1):
        shop.pass_days(32 * paid)
        invoice = await shop.latest_invoice(begun.id)
        assert [each.id for each in invoice.default_tax_rates] == [vat]
        of_line = taxes(invoice.lines.data[0].taxes)
        assert of_line == taxes(invoice.total_taxes)
        assert of_line == [(vat, tax, taxable, "inclusive" if inclusive else "exclusive")]
        assert (sums(invoice), invoice.status, invoice.amount_paid) == (expected, "paid", expected[-1])
    guest = Guest(browser, invoice.hosted_invoice_url)
    said = await guest.see()
    assert told in said
    assert f"Total ${expected[-1] / 100:.2f}" in said


async def test_the_rates_of_an_item_take_the_place_of_the_subscription_s_and_discounts_come_first(
    shop: Shop,
) -> None:
    vat, city = await rate(shop, "VAT", 20, inclusive=True), await rate(shop, "City", 2.5)
    half = await shop.client.v1.coupons.create_async({"percent_off": 50, "duration": "once"})
    plus, extra = await shop.price(), await shop.price(1000, name="Extra")
    items: Any = [{"price": plus, "tax_rates": [vat, city]}, {"price": extra}]
    customer = await shop.customer()
    begun = await shop.subscribe(customer, items=items, default_tax_rates=[city], discounts=[{"coupon": half.id}])
    invoice = await shop.latest_invoice(begun.id)
    # 9.50 have 1.58 of VAT in them, and 0.20 of city tax on the 7.92 that are left; 5.00 have 0.13 on them.
    by_line = [sorted(tax.amount for tax in line.taxes) for line in invoice.lines.data]
    assert sorted(by_line) == [[13], [20, 158]]
    assert sorted(taxes(invoice.total_taxes)) == sorted([(vat, 158, 792, "inclusive"), (city, 33, 1292, "exclusive")])
    assert sums(invoice) == (2900, 2742, 1292, 1483)
    # Taken away again the item is taxed as everything else, from the next invoice on.
    (own,) = [item for item in begun["items"].data if item.price.id == plus]
    changed = await shop.client.v1.subscription_items.update_async(own.id, {"tax_rates": ""})
    assert changed.tax_rates == []
    shop.pass_days(32)
    assert taxes((await shop.latest_invoice(begun.id)).total_taxes) == [(city, 73, 2900, "exclusive")]


async def test_what_a_proration_gives_back_is_taxed_as_it_was_and_what_it_bills_as_it_is(shop: Shop) -> None:
    old, new = await rate(shop, "Old", 10), await rate(shop, "New", 20)
    plus, pro = await shop.price(2000), await shop.price(4000, name="PRO")
    begun = await shop.subscribe(await shop.customer(), plus, default_tax_rates=[old])
    item = begun["items"].data[0].id
    params: Any = {
        "items": [{"id": item, "price": pro}],
        "default_tax_rates": [new],
        "proration_behavior": "always_invoice",
    }
    await shop.client.v1.subscriptions.update_async(begun.id, params)
    invoice = await shop.latest_invoice(begun.id)
    assert [(line.amount, line.taxes[0].amount) for line in invoice.lines.data] == [(-2000, -200), (4000, 800)]
    assert taxes(invoice.total_taxes) == [(old, -200, -2000, "exclusive"), (new, 800, 4000, "exclusive")]
    assert invoice.total == 2600
    # The next ones wait as invoice items, which say what they are taxed with.
    back: Any = {"items": [{"id": item, "price": plus}], "default_tax_rates": ""}
    await shop.client.v1.subscriptions.update_async(begun.id, back)
    waiting = (await shop.client.v1.invoice_items.list_async({"pending": True})).data
    rates = {each.amount: [r.id for r in each.tax_rates or []] for each in waiting}
    assert rates == {-4000: [new], 2000: []}


async def test_previews_and_invoices_by_hand_are_taxed_too(shop: Shop) -> None:
    vat, city = await rate(shop, "VAT", 20), await rate(shop, "City", 2.5)
    begun = await shop.subscribe(customer := await shop.customer(), await shop.price())
    previews = shop.client.v1.invoices
    for details, total in (({"default_tax_rates": [vat]}, 2280), ({"default_tax_rates": ""}, 1900)):
        given: Any = {"subscription": begun.id, "subscription_details": details}
        assert (await previews.create_preview_async(given)).total == total
    assert (await shop.subscription(begun.id)).default_tax_rates == []
    items = shop.client.v1.invoice_items
    item = await items.create_async({"customer": customer, "amount": 1000, "currency": "usd", "tax_rates": [city]})
    assert [each.id for each in item.tax_rates or []] == [city]
    made = await previews.create_async(
        {"customer": customer, "default_tax_rates": [vat], "pending_invoice_items_behavior": "include"}
    )
    assert (made.total, taxes(made.total_taxes)) == (1025, [(city, 25, 1000, "exclusive")])
    await items.update_async(item.id, {"tax_rates": ""})
    assert (await previews.retrieve_async(made.id)).total == 1200
    assert (await previews.update_async(made.id, {"default_tax_rates": ""})).total == 1000
    done = await previews.finalize_invoice_async(made.id)
    with pytest.raises(stripe.InvalidRequestError, match="default_tax_rates"):
        await previews.update_async(done.id, {"default_tax_rates": [vat]})


@pytest.mark.parametrize("default", [True, False])
async def test_a_checkout_in_subscription_mode_is_taxed_with_rates_today_and_at_every_renewal(
    shop: Shop, browser: httpx2.AsyncClient, default: bool
) -> None:
    vat = await rate(shop, "VAT", 20)
    line: Any = {"price": await shop.price(), "quantity": 1, **({} if default else {"tax_rates": [vat]})}
    given: Any = {"subscription_data": {"default_tax_rates": [vat]}} if default else {}
    session = await open_session(shop.client, mode="subscription", line_items=[line], **given)
    assert (session.amount_total, session.total_details and session.total_details.amount_tax) == (2280, 380)
    assert "VAT (20%) $3.80" in await Guest(browser, str(session.url)).see()
    # What was agreed on stays, though the rate is archived meanwhile.
    await shop.client.v1.tax_rates.update_async(vat, {"active": False})
    assert (await browser.post(str(session.url), data=CARD)).status_code == 303
    paid = await shop.client.v1.checkout.sessions.retrieve_async(session.id)
    subscription = await shop.subscription(str(paid.subscription))
    of_item = subscription["items"].data[0].tax_rates
    assert [each.id for each in (subscription.default_tax_rates if default else of_item)] == [vat]
    shop.pass_days(32)
    invoice = await shop.latest_invoice(subscription.id)
    assert (invoice.billing_reason, invoice.total, invoice.status) == ("subscription_cycle", 2280, "paid")


async def test_before_basil_an_invoice_says_of_its_tax_what_it_said_then(
    shop: Shop, browser: httpx2.AsyncClient
) -> None:
    vat = await rate(shop, "VAT", 20, inclusive=True)
    begun = await shop.subscribe(await shop.customer(), await shop.price(), default_tax_rates=[vat])
    asked = await browser.get(
        f"{shop.server.url}/v1/invoices/{begun.latest_invoice}",
        headers={"Authorization": "Bearer sk_test_123", "Stripe-Version": "2024-06-20"},
    )
    invoice = asked.json()
    tax = {
        "amount": 317,
        "inclusive": True,
        "tax_rate": vat,
        "taxability_reason": "not_available",
        "taxable_amount": 1583,
    }
    line = invoice["lines"]["data"][0]
    assert (invoice["tax"], invoice["total_tax_amounts"], line["tax_amounts"]) == (317, [tax], [tax])
    assert [each["id"] for each in line["tax_rates"]] == [vat]


async def test_rates_that_cannot_be_used_on_a_subscription_are_refused(shop: Shop) -> None:
    settings.change(shop.sandbox, tax_percent="10")
    vat, customer, price = await rate(shop, "VAT", 20), await shop.customer(), await shop.price()
    automatic = {"automatic_tax": {"enabled": True}}
    with pytest.raises(stripe.InvalidRequestError, match="No such tax rate"):
        await shop.subscribe(customer, price, default_tax_rates=["txr_x"])
    with pytest.raises(stripe.InvalidRequestError, match="`default_tax_rates` when `automatic_tax`"):
        await shop.subscribe(customer, price, default_tax_rates=[vat], **automatic)
    with pytest.raises(stripe.InvalidRequestError, match="`tax_rates` when `automatic_tax`"):
        await shop.subscribe(customer, items=[{"price": price, "tax_rates": [vat]}], **automatic)
    begun = await shop.subscribe(customer, price, default_tax_rates=[vat])
    wrong: Any = automatic
    with pytest.raises(stripe.InvalidRequestError, match="`default_tax_rates` when `automatic_tax`"):
        await shop.client.v1.subscriptions.update_async(begun.id, wrong)
    both: Any = {"subscription_data": {"default_tax_rates": [vat]}, **automatic}
    with pytest.raises(stripe.InvalidRequestError, match="when `automatic_tax`"):
        await open_session(shop.client, mode="subscription", **both)
    await shop.client.v1.tax_rates.update_async(vat, {"active": False})
    with pytest.raises(stripe.InvalidRequestError, match="archived"):
        await shop.subscribe(customer, price, default_tax_rates=[vat])
    shop.pass_days(32)
    assert (await shop.latest_invoice(begun.id)).total == 2280
