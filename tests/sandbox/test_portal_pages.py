"""What customers do at the portal, and what Stripe's seller is told of it."""

from typing import Any

import httpx2
import pytest

from stripe_sandbox.billing import portal_configurations
from tests.sandbox.subscribing import ASKS, DAY, GOOD, Shop, in_order, lines
from tests.sandbox.visiting import CARD, Guest, Prices, features, plans, visit


@pytest.fixture
async def prices(shop: Shop) -> Prices:
    return await plans(shop)


async def arrive(
    shop: Shop, http: httpx2.AsyncClient, prices: Prices, price: str, *, card: str | None = GOOD, **changes: Any
) -> tuple[Any, Guest]:
    """A subscriber to `price`, at the portal."""
    made = await shop.client.v1.billing_portal.configurations.create_async(
        {"features": await features(shop, prices, **changes)}
    )
    customer = await shop.customer(card)
    bought = await shop.subscribe(customer, price)
    return bought, await visit(shop, http, customer, configuration=made.id)


async def test_the_first_page_says_how_things_stand(shop: Shop, browser: httpx2.AsyncClient, prices: Prices) -> None:
    _, guest = await arrive(shop, browser, prices, prices.monthly)
    text = await guest.see()
    assert guest.status == 200
    for said in (
        "PLUS",
        "$19.00 / month",
        "Your next billing date is",
        "for $19.00",
        "Visa •••• 4242",
        "a@example.com",
    ):
        assert said in text
    for said in ("Change plan", "Cancel plan", "Paid", "Return to the shop"):
        assert said in text


async def test_cancelling_at_the_periods_end_sets_a_date_and_can_be_taken_back(
    shop: Shop, browser: httpx2.AsyncClient, prices: Prices
) -> None:
    bought, guest = await arrive(shop, browser, prices, prices.monthly)
    path = f"/subscriptions/{bought.id}"
    assert "Until then you can take this back" in await guest.see(f"{path}/cancel")
    since = shop.mark()
    assert await guest.send(f"{path}/cancel", feedback="too_expensive", comment="no") == guest.url.removeprefix(
        shop.server.url
    )
    ends = bought["items"].data[0].current_period_end
    found = await shop.subscription(bought.id)
    # In flexible billing mode it is a date that the portal sets.
    assert (found.status, found.cancel_at, found.cancel_at_period_end) == ("active", ends, False)
    assert (found.cancellation_details.feedback, found.cancellation_details.comment) == ("too_expensive", "no")
    assert shop.types(since) == ["customer.subscription.updated"]
    text = await guest.see()
    assert "Cancels" in text
    assert "Change plan" not in text

    await guest.send(f"{path}/renew")
    found = await shop.subscription(bought.id)
    assert (found.cancel_at, found.canceled_at, found.cancellation_details.reason) == (None, None, None)
    assert "Your next billing date is" in await guest.see()
    await guest.send(f"{path}/cancel")
    shop.pass_days(32)
    assert (await shop.subscription(bought.id)).status == "canceled"
    assert "customer.subscription.deleted" in shop.types()


@pytest.mark.parametrize(("proration", "credited"), [("none", []), ("always_invoice", [-1900])])
async def test_cancelling_at_once_ends_it_and_credits_as_configured(
    shop: Shop, browser: httpx2.AsyncClient, prices: Prices, proration: str, credited: list[int]
) -> None:
    how = {"mode": "immediately", "proration_behavior": proration}
    bought, guest = await arrive(shop, browser, prices, prices.monthly, subscription_cancel=how)
    assert "Your plan ends now." in await guest.see(f"/subscriptions/{bought.id}/cancel")
    await guest.send(f"/subscriptions/{bought.id}/cancel")
    assert (await shop.subscription(bought.id)).status == "canceled"
    invoices = (await shop.client.v1.invoices.list_async({"customer": bought.customer})).data
    assert [invoice.total for invoice in invoices[:-1]] == credited
    assert "You have no subscription." in await guest.see()


async def test_an_upgrade_is_paid_at_once(shop: Shop, browser: httpx2.AsyncClient, prices: Prices) -> None:
    bought, guest = await arrive(shop, browser, prices, prices.small)
    path = f"/subscriptions/{bought.id}"
    text = await guest.see(f"{path}/update")
    assert text.index("PLUS") < text.index("SMALL")
    assert "Current" in text[text.index("SMALL") :]
    text = await guest.send(f"{path}/update", price=prices.monthly)
    assert "Due today $10.00" in text
    since = shop.mark()
    await guest.send(f"{path}/confirm", price=prices.monthly)
    found = await shop.subscription(bought.id)
    assert found["items"].data[0].price.id == prices.monthly
    assert [amount for _, amount in lines(await shop.latest_invoice(bought.id))] == [-900, 1900]
    assert in_order(shop.types(since), "customer.subscription.updated", "invoice.finalized", "invoice.paid")


async def test_an_upgrade_that_is_not_paid_does_not_happen(
    shop: Shop, browser: httpx2.AsyncClient, prices: Prices
) -> None:
    bought, guest = await arrive(shop, browser, prices, prices.small)
    await shop.set_card(bought.customer, "pm_card_chargeCustomerFail")
    await guest.see()
    since = shop.mark()
    text = await guest.send(f"/subscriptions/{bought.id}/confirm", price=prices.monthly)
    assert guest.status == 402
    assert "Your card was declined." in text
    assert (await shop.subscription(bought.id))["items"].data[0].price.id == prices.small
    assert shop.types(since) == []


@pytest.mark.parametrize("answer", ["complete", "fail"])
async def test_an_upgrade_that_the_bank_asks_about_waits_for_the_answer(
    shop: Shop, browser: httpx2.AsyncClient, prices: Prices, answer: str
) -> None:
    bought, guest = await arrive(shop, browser, prices, prices.small)
    await shop.set_card(bought.customer, ASKS)
    bank = await guest.send(f"/subscriptions/{bought.id}/confirm", price=prices.monthly)
    assert "/sandbox/authenticate/pi_" in bank
    sent_back = await browser.post(bank, data={"answer": answer}, follow_redirects=True)
    found = await shop.subscription(bought.id)
    assert found.pending_update is None
    if answer == "complete":
        assert found["items"].data[0].price.id == prices.monthly
        assert "customer.subscription.pending_update_applied" in shop.types()
    else:
        assert "Nothing was changed" in sent_back.text
        assert found["items"].data[0].price.id == prices.small
        assert (await shop.latest_invoice(bought.id)).status == "void"


@pytest.mark.parametrize("to", ["small", "monthly"])
async def test_a_downgrade_waits_for_the_periods_end_and_can_be_taken_back(
    shop: Shop, browser: httpx2.AsyncClient, prices: Prices, to: str
) -> None:
    """Less money (`small`), or a shorter interval (`monthly`)."""
    old, new = (prices.monthly, prices.small) if to == "small" else (prices.yearly, prices.monthly)
    bought, guest = await arrive(shop, browser, prices, old)
    path = f"/subscriptions/{bought.id}"
    assert "Nothing is charged today" in await guest.send(f"{path}/update", price=new)
    await guest.send(f"{path}/confirm", price=new)
    found = await shop.subscription(bought.id)
    assert found["items"].data[0].price.id == old
    assert found.schedule is not None
    assert "your plan becomes" in await guest.see()

    await guest.send(f"{path}/keep")
    assert (await shop.subscription(bought.id)).schedule is None
    await guest.send(f"{path}/confirm", price=new)
    shop.pass_days(367 if old == prices.yearly else 32)
    found = await shop.subscription(bought.id)
    assert found["items"].data[0].price.id == new
    invoice = await shop.latest_invoice(bought.id)
    assert invoice.amount_paid == (900 if to == "small" else 1900)


async def test_cancelling_and_upgrading_take_a_downgrade_back_that_waits(
    shop: Shop, browser: httpx2.AsyncClient, prices: Prices
) -> None:
    bought, guest = await arrive(shop, browser, prices, prices.monthly)
    path = f"/subscriptions/{bought.id}"
    await guest.send(f"{path}/confirm", price=prices.small)
    await guest.send(f"{path}/cancel")
    found = await shop.subscription(bought.id)
    assert (found.schedule, found.cancel_at is not None) == (None, True)
    await guest.send(f"{path}/renew")
    await guest.send(f"{path}/confirm", price=prices.small)
    await guest.send(f"{path}/confirm", price=prices.yearly)
    found = await shop.subscription(bought.id)
    assert (found.schedule, found["items"].data[0].price.id) == (None, prices.yearly)


async def test_a_new_card_is_what_everything_is_paid_with(
    shop: Shop, browser: httpx2.AsyncClient, prices: Prices
) -> None:
    bought, guest = await arrive(shop, browser, prices, prices.monthly)
    old = (await shop.client.v1.customers.retrieve_async(bought.customer)).invoice_settings
    assert old is not None
    await shop.client.v1.subscriptions.update_async(
        bought.id, {"default_payment_method": str(old.default_payment_method)}
    )
    since = shop.mark()
    assert "Your card number is" in await guest.send("/cards/new", **{**CARD, "card_number": "4242 4242 4242 4241"})
    assert "declined" in await guest.send("/cards/new", **{**CARD, "card_number": "4000 0000 0000 0002"})
    await guest.send("/cards/new", **{**CARD, "card_number": "5555 5555 5555 4444"})
    assert in_order(
        shop.types(since),
        "setup_intent.setup_failed",
        "setup_intent.created",
        "payment_method.attached",
        "setup_intent.succeeded",
        "customer.updated",
        "customer.subscription.updated",
    )
    customer = await shop.client.v1.customers.retrieve_async(bought.customer)
    assert customer.invoice_settings is not None
    new = customer.invoice_settings.default_payment_method
    assert (await shop.subscription(bought.id)).default_payment_method == new
    assert "Mastercard •••• 4444, expires 12/2040 Used" in await guest.see()

    assert "Add another one first" in await guest.send(f"/cards/{new}/remove")
    await guest.send(f"/cards/{old.default_payment_method}/use")
    await guest.send(f"/cards/{new}/remove")
    assert "4444" not in await guest.see()
    assert "payment_method.detached" in shop.types()


async def test_a_card_that_the_bank_asks_about_is_used_once_confirmed(
    shop: Shop, browser: httpx2.AsyncClient, prices: Prices
) -> None:
    bought, guest = await arrive(shop, browser, prices, prices.monthly)
    bank = await guest.send("/cards/new", **{**CARD, "card_number": "4000 0027 6000 3184"})
    assert "/sandbox/authenticate/seti_" in bank
    assert "3184" not in await guest.see()
    sent_back = await browser.post(bank, data={"answer": "complete"}, follow_redirects=True)
    assert "3184" in sent_back.text
    customer = await shop.client.v1.customers.retrieve_async(bought.customer, {"expand": ["invoice_settings"]})
    assert customer.invoice_settings is not None
    method = await shop.client.v1.payment_methods.retrieve_async(
        str(customer.invoice_settings.default_payment_method)
    )
    assert method.card is not None
    assert method.card.last4 == "3184"


async def test_a_customer_changes_what_the_seller_lets_them(
    shop: Shop, browser: httpx2.AsyncClient, prices: Prices
) -> None:
    bought, guest = await arrive(shop, browser, prices, prices.monthly)
    assert "Phone" not in await guest.see("/customer")
    assert "incomplete" in await guest.send("/customer", email="nobody", name="Pat")
    await guest.send("/customer", email="pat@example.com", name="Pat", phone="1")
    customer = await shop.client.v1.customers.retrieve_async(bought.customer)
    assert (customer.email, customer.name, customer.phone) == ("pat@example.com", "Pat", None)
    assert shop.last("customer.updated")["data"]["previous_attributes"]["email"] == "a@example.com"


async def test_what_is_switched_off_is_neither_shown_nor_done(
    shop: Shop, browser: httpx2.AsyncClient, prices: Prices
) -> None:
    off: Any = {name: {"enabled": False} for name in await features(shop, prices)}
    bought, guest = await arrive(shop, browser, prices, prices.monthly, **off)
    text = await guest.see()
    for absent in ("Change plan", "Cancel plan", "Add a card", "Change information", "Invoices "):
        assert absent not in text
    since = shop.mark()
    for path in (f"/subscriptions/{bought.id}/cancel", f"/subscriptions/{bought.id}/confirm", "/cards/new"):
        assert "not open to you" in await guest.send(path, price=prices.yearly, **CARD)
    assert shop.types(since) == []


@pytest.mark.parametrize("kind", ["redirect", "hosted_confirmation", "portal_homepage"])
async def test_a_flow_leads_to_its_page_and_on(
    shop: Shop, browser: httpx2.AsyncClient, prices: Prices, kind: str
) -> None:
    bought, _ = await arrive(shop, browser, prices, prices.monthly)
    after: Any = {"type": kind}
    if kind == "redirect":
        after["redirect"] = {"return_url": "http://shop.test/done"}
    if kind == "hosted_confirmation":
        after["hosted_confirmation"] = {"custom_message": "See you"}
    made = (await shop.client.v1.billing_portal.configurations.list_async()).data[0]
    guest = await visit(
        shop,
        browser,
        bought.customer,
        configuration=made.id,
        flow_data={
            "type": "subscription_cancel",
            "subscription_cancel": {"subscription": bought.id},
            "after_completion": after,
        },
    )
    assert "Cancel your plan" in await guest.see()
    led_to = await guest.send(f"/subscriptions/{bought.id}/cancel")
    expected = {"redirect": "http://shop.test/done", "portal_homepage": "/p/session/test_"}
    assert expected.get(kind, "Thank you See you") in led_to
    assert "Cancels" in await guest.see()


async def test_a_change_to_confirm_is_the_flows_own(shop: Shop, browser: httpx2.AsyncClient, prices: Prices) -> None:
    bought, _ = await arrive(shop, browser, prices, prices.monthly)
    made = (await shop.client.v1.billing_portal.configurations.list_async()).data[0]
    item = bought["items"].data[0].id
    confirm = {"subscription": bought.id, "items": [{"id": item, "price": prices.yearly, "quantity": 1}]}
    flow = {
        "type": "subscription_update_confirm",
        "subscription_update_confirm": confirm,
        "after_completion": {"type": "redirect", "redirect": {"return_url": "http://shop.test/done"}},
    }
    guest = await visit(shop, browser, bought.customer, configuration=made.id, flow_data=flow)
    assert "Due today $171.00" in await guest.see()
    # What a form says otherwise does not count.
    assert await guest.send(f"/subscriptions/{bought.id}/confirm", price=prices.small) == "http://shop.test/done"
    assert (await shop.subscription(bought.id))["items"].data[0].price.id == prices.yearly


async def test_an_address_is_good_for_a_while_and_for_one_customer(
    shop: Shop, browser: httpx2.AsyncClient, prices: Prices
) -> None:
    bought, guest = await arrive(shop, browser, prices, prices.monthly)
    stranger = await shop.subscribe(await shop.customer(), prices.monthly)
    await guest.send(f"/subscriptions/{stranger.id}/cancel")
    assert guest.status == 400
    assert (await shop.subscription(stranger.id)).cancel_at is None
    shop.pass_days(2 / 24)
    assert "not there any more" in await guest.see()
    assert guest.status == 410
    await guest.send(f"/subscriptions/{bought.id}/cancel")
    assert (await shop.subscription(bought.id)).cancel_at is None
    nowhere = Guest(browser, f"{shop.server.url}/p/session/test_nothing")
    assert "not there any more" in await nowhere.see()
    assert nowhere.status == 404


async def test_it_happens_in_the_time_of_the_customers_test_clock(
    shop: Shop, browser: httpx2.AsyncClient, prices: Prices
) -> None:
    start = shop.sandbox.now() + 400 * DAY
    clock = await shop.client.v1.test_helpers.test_clocks.create_async({"frozen_time": start})
    customer = await shop.customer(test_clock=clock.id)
    bought = await shop.subscribe(customer, prices.monthly)
    portal_configurations.save_default(shop.sandbox)
    guest = await visit(shop, browser, customer)
    await guest.send(f"/subscriptions/{bought.id}/cancel")
    assert (await shop.subscription(bought.id)).canceled_at == start


async def test_an_invoice_has_a_page_and_an_open_one_is_paid_there(
    shop: Shop, browser: httpx2.AsyncClient, prices: Prices
) -> None:
    bought, guest = await arrive(shop, browser, prices, prices.monthly)
    paid = Guest(browser, (await shop.latest_invoice(bought.id)).hosted_invoice_url)
    text = await paid.see()
    for said in ("$19.00", "Paid", "Visa •••• 4242", "1 × PLUS"):
        assert said in text
    await shop.set_card(bought.customer, "pm_card_chargeCustomerFail")
    shop.pass_days(32)
    assert (await shop.subscription(bought.id)).status == "past_due"
    guest = await visit(shop, browser, bought.customer, configuration=(await configuration(shop)))
    assert "Pay the open invoice" in await guest.see()
    owed = Guest(browser, (await shop.latest_invoice(bought.id)).hosted_invoice_url)
    assert "declined" in await owed.send("", **{**CARD, "card_number": "4000 0000 0000 0002"})
    bank = await owed.send("", **{**CARD, "card_number": "4000 0027 6000 3184"})
    refused = await browser.post(bank, data={"answer": "fail"}, follow_redirects=True)
    assert "Nothing was paid" in refused.text
    await owed.send("", **CARD)
    assert "Paid" in await owed.see()
    assert (await shop.subscription(bought.id)).status == "active"
    nowhere = Guest(browser, f"{shop.server.url}/i/in_1")
    assert "no such invoice" in await nowhere.see()


async def configuration(shop: Shop) -> str:
    return (await shop.client.v1.billing_portal.configurations.list_async()).data[0].id
