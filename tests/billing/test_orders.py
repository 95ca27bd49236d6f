"""S20, S21, S23: what buyers order at Stripe's page - how many, with which code, in which currency - and what becomes of
it through our own webhook. `test_terms` holds the same rules for what no page would report."""

import asyncio
from typing import Any

import httpx2
import pytest

from stripe_sandbox.billing import settings
from tallystick.billing import EventStatus, Purchase, PurchaseStatus
from tallystick.billing.errors import NeedsOperator, NothingToRefund
from tallystick.billing.purchases import Purchases
from tallystick.billing.stripe_api import StripeApi
from tallystick.ledger import Ledger
from tests.billing.conftest import Shop
from tests.sandbox.conftest import CARD
from tests.sandbox.ordering import Buyer, promotion


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tallystick.billing.comparisons.CALLS_PER_SECOND", 10_000)


CODES: dict[str, dict[str, Any]] = {
    "HALF": {"percent_off": 50},
    "MINUS1": {"amount_off": 100, "currency": "usd"},
    "FREE": {"percent_off": 100},
}


async def at_the_page(shop: Shop, http: httpx2.AsyncClient, account_id: str = "acme", **given: Any) -> Buyer:
    """A buyer of that account who was sent to Stripe's page."""
    started = await shop.billing.start_pack_checkout(account_id, **given)
    return Buyer(http, shop.stripe, started.url.rsplit("/", 1)[1], started.url)


async def purchase_of(shop: Shop, account_id: str = "acme") -> Purchase:
    (purchase,) = await shop.billing.purchases(account_id)
    return purchase


async def with_code(
    shop: Shop, http: httpx2.AsyncClient, code: str, account_id: str = "acme", packs: int = 2
) -> Buyer:
    """A new account's buyer who has chosen so many packs and typed a code that there is."""
    await promotion(shop.stripe, code, CODES[code])
    await shop.open(account_id)
    buyer = await at_the_page(shop, http, account_id)
    if packs > 1:
        await buyer.take(packs)
    await buyer.type_code(code)
    return buyer


async def paid(shop: Shop, buyer: Buyer, account_id: str = "acme", **form: str) -> Purchase:
    status, said = await buyer.pay(**form)
    assert status == 303, said
    await shop.deliver()
    return await purchase_of(shop, account_id)


def with_parameters(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """As if every checkout session were made with these parameters too; None leaves one out."""
    made = StripeApi.create_session

    async def create_session(self: StripeApi, params: dict[str, Any], key: str) -> dict[str, Any]:
        together = {name: value for name, value in {**params, **changes}.items() if value is not None}
        return await made(self, together, key)

    monkeypatch.setattr(StripeApi, "create_session", create_session)


async def test_s20_a_promotion_code_or_coupon_changes_what_is_paid_and_not_what_is_credited(
    generous: Shop, browser: httpx2.AsyncClient
) -> None:
    shop = generous
    for code, cost in (("HALF", 299), ("MINUS1", 499)):
        buyer = await with_code(shop, browser, code, code, packs=1)
        purchase = await paid(shop, buyer, code)
        assert (purchase.status, purchase.problem) == (PurchaseStatus.CREDITED, None)
        assert ((await shop.account(code)).bonus, purchase.price.minor, purchase.paid_minor) == (200, 599, cost)
        entry = await shop.ledger.entry_by_key(code, purchase.ledger_key)
        assert entry is not None
        assert entry.reason == f"Bought 200 credits for {cost / 100:.2f} USD"


async def test_s21_a_code_for_all_of_it_is_credited_though_there_is_no_payment(
    generous: Shop, browser: httpx2.AsyncClient
) -> None:
    shop = generous
    buyer = await with_code(shop, browser, "FREE")
    purchase = await paid(shop, buyer)
    assert (purchase.status, purchase.payment_intent_id) == (PurchaseStatus.CREDITED, None)
    assert str(purchase.comes_to) == "0.00 USD"
    assert ((await buyer.session()).payment_status, (await shop.account()).bonus) == ("no_payment_required", 400)
    with pytest.raises(NothingToRefund):
        await shop.billing.quote_refund(purchase.id)
    assert (await shop.billing.reconcile(apply=True)).is_healthy


async def test_s23_what_was_paid_with_a_code_is_what_a_refund_is_a_share_of(
    generous: Shop, browser: httpx2.AsyncClient
) -> None:
    shop = generous
    buyer = await with_code(shop, browser, "HALF")
    purchase = await paid(shop, buyer)
    for refunded, left in ((150, 300), (449, 0)):
        await shop.stripe.v1.refunds.create_async(
            {"payment_intent": str(purchase.payment_intent_id), "amount": refunded}
        )
        await shop.deliver()
        assert (await shop.account()).bonus == left


async def test_s20_a_discount_that_was_not_agreed_to_needs_review(
    shop: Shop, browser: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.open()
    coupon = await shop.stripe.v1.coupons.create_async({"percent_off": 50, "duration": "once"})
    with_parameters(monkeypatch, discounts=[{"coupon": coupon.id}])
    purchase = await paid(shop, await at_the_page(shop, browser))
    assert purchase.status is PurchaseStatus.NEEDS_REVIEW
    assert "a discount of 300" in str(purchase.problem)
    assert (await shop.account()).bonus == 0


async def test_s20_a_quantity_is_credited_within_the_frozen_limits_and_beyond_them_needs_review(
    generous: Shop, browser: httpx2.AsyncClient
) -> None:
    shop = generous
    await shop.open()
    buyer = await at_the_page(shop, browser)
    assert "from 1 to 5" in await buyer.take(6)
    await buyer.take(5)
    purchase = await paid(shop, buyer)
    assert (purchase.status, purchase.quantity, purchase.credits) == (PurchaseStatus.CREDITED, 5, 1000)
    assert (purchase.price.minor, purchase.credits_each, purchase.minor_each) == (2995, 200, 599)
    assert (await shop.account()).bonus == 1000

    await shop.open("mallory")
    buyer = await at_the_page(shop, browser, "mallory")
    (line,) = await buyer.lines()
    edit: Any = {"id": line.id, "quantity": 6, "adjustable_quantity": {"enabled": False}}
    await shop.stripe.v1.checkout.sessions.update_async(buyer.id, {"line_items": [edit]})
    edited = await paid(shop, buyer, "mallory")
    assert "quantity is 6 at Stripe and from 1 to 5 in the purchase" in str(edited.problem)
    assert (await shop.account("mallory")).bonus == 0
    shown = await shop.billing.latest_purchases(10, PurchaseStatus.NEEDS_REVIEW)
    assert [purchase.id for purchase in shown] == [edited.id]


async def test_s20_tax_and_the_buyer_s_own_currency_change_nothing_in_what_is_credited(
    shop: Shop, browser: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.open()
    french = await at_the_page(shop, browser, email="a+location_FR@example.com")
    purchase = await paid(shop, french, currency="eur", email="a+location_FR@example.com")
    assert (await french.session()).presentment_details.presentment_currency == "eur"
    assert (purchase.status, str(purchase.price)) == (PurchaseStatus.CREDITED, "5.99 USD")

    await shop.open("taxed")
    settings.change(shop.sandbox, tax_percent="10")
    with_parameters(monkeypatch, automatic_tax={"enabled": True})
    buyer = await at_the_page(shop, browser, "taxed")
    taxed = await paid(shop, buyer, "taxed")
    assert (await buyer.session()).amount_total == 659
    assert (taxed.status, taxed.problem) == (PurchaseStatus.CREDITED, None)
    assert [(await shop.account(id)).bonus for id in ("acme", "taxed")] == [200, 200]


async def test_s21_an_expired_checkout_goes_on_by_its_recovery_link_and_is_credited_once(
    generous: Shop, browser: httpx2.AsyncClient
) -> None:
    shop = generous
    await shop.open()
    await promotion(shop.stripe, "HALF", CODES["HALF"])
    buyer = await at_the_page(shop, browser)
    await buyer.take(3)
    await shop.stripe.v1.checkout.sessions.expire_async(buyer.id)
    await shop.deliver()
    expired = await purchase_of(shop)
    assert expired.status is PurchaseStatus.EXPIRED
    # The buyer opens the link in two tabs, and pays in both.
    tabs = [(await browser.get(str(expired.recovery_url))).headers["location"] for _ in range(2)]
    again, twice = (Buyer(browser, shop.stripe, tab.rsplit("/", 1)[1], tab) for tab in tabs)
    await again.type_code("HALF")
    purchase = await paid(shop, again)
    assert (purchase.id, purchase.status, purchase.checkout_session_id) == (
        expired.id,
        PurchaseStatus.CREDITED,
        again.id,
    )
    assert (purchase.quantity, (await shop.account()).bonus, purchase.recovery_url) == (3, 600, None)
    assert (await browser.post(twice.url, data=CARD)).status_code == 303
    await shop.deliver()
    (parked,) = [event for event in await shop.billing.latest_events(50) if event.status == "parked"]
    assert "Refund it" in str(parked.last_error)
    assert (await shop.account()).bonus == 600


@pytest.mark.parametrize("alike", [True, False], ids=["the same order", "another order"])
@pytest.mark.parametrize("first", [0, 1])
async def test_s21_an_expired_checkout_that_is_paid_in_two_tabs_at_once_is_credited_once_and_parked_once(
    generous: Shop, browser: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, first: int, alike: bool
) -> None:
    shop = generous
    buyer = await at_the_page(shop, browser)
    await shop.stripe.v1.checkout.sessions.expire_async(buyer.id)
    await shop.deliver()
    expired = await purchase_of(shop)
    tabs = [(await browser.get(str(expired.recovery_url))).headers["location"] for _ in range(2)]
    buyers = [Buyer(browser, shop.stripe, tab.rsplit("/", 1)[1], tab) for tab in tabs]
    if not alike:
        await buyers[1].take(2)
    for tab in buyers:
        assert (await browser.post(tab.url, data=CARD)).status_code == 303
    # Both have taken the purchase up before one of them is credited, as events that waited out an outage do.
    credits = 400 if first == 1 and not alike else 200
    taken, both, granted = 0, asyncio.Event(), asyncio.Event()
    take_up, submit = Purchases.take_up, Ledger.submit

    async def together(self: Purchases, *args: Any, **options: Any) -> Purchase:
        nonlocal taken
        purchase = await take_up(self, *args, **options)
        taken += 1
        if taken == 2:
            both.set()
        await asyncio.wait_for(both.wait(), 10)
        return purchase

    async def in_turn(self: Ledger, command: Any) -> Any:
        if command.credits != credits:
            await asyncio.wait_for(granted.wait(), 10)
        receipt = await submit(self, command)
        granted.set()
        return receipt

    with monkeypatch.context() as patched:
        patched.setattr(Purchases, "take_up", together)
        patched.setattr(Ledger, "submit", in_turn)
        events = shop.events()
        await shop.deliver(events if first == 0 else reversed(events))
    purchase = await purchase_of(shop)
    assert (purchase.status, purchase.credits, (await shop.account()).bonus) == (
        PurchaseStatus.CREDITED,
        credits,
        credits,
    )
    sessions = {tab.id: await tab.session() for tab in buyers}
    assert purchase.payment_intent_id == sessions[purchase.checkout_session_id].payment_intent
    (parked,) = await shop.billing.latest_events(50, EventStatus.PARKED)
    (other,) = sessions.keys() - {purchase.checkout_session_id}
    assert other in str(parked.last_error)
    assert "Refund it" in str(parked.last_error)
    # Told again, by whomever, the one that was credited is as it was, and the other one is not forgotten.
    assert await shop.billing.fulfil(purchase.checkout_session_id) == purchase
    with pytest.raises(NeedsOperator):
        await shop.billing.fulfil(other)
    await shop.billing.refund(purchase.id, key="r")
    assert (await shop.account()).bonus == 0


async def test_s21_one_session_that_is_looked_at_many_times_at_once_is_credited_once_and_parks_nothing(
    generous: Shop, browser: httpx2.AsyncClient
) -> None:
    shop = generous
    buyer = await at_the_page(shop, browser)
    await shop.stripe.v1.checkout.sessions.expire_async(buyer.id)
    await shop.deliver()
    page = (await browser.get(str((await purchase_of(shop)).recovery_url))).headers["location"]
    assert (await browser.post(page, data=CARD)).status_code == 303
    looks = await asyncio.gather(*(shop.billing.fulfil(page.rsplit("/", 1)[1]) for _ in range(6)))
    assert {look and look.status for look in looks} == {PurchaseStatus.CREDITED}
    await shop.deliver()
    assert await shop.billing.latest_events(50, EventStatus.PARKED) == []
    assert (await shop.account()).bonus == 200


async def test_s21_orders_that_no_event_told_of_are_made_up_for_by_reconciliation(
    generous: Shop, browser: httpx2.AsyncClient
) -> None:
    shop = generous
    for code in ("FREE", "HALF"):
        buyer = await with_code(shop, browser, code, code)
        assert (await buyer.pay())[0] == 303
    await shop.open()
    left = await at_the_page(shop, browser)
    recovery: Any = (await shop.stripe.v1.checkout.sessions.expire_async(left.id)).after_expiration
    page = (await browser.get(recovery.recovery.url)).headers["location"]
    assert (await browser.post(page, data=CARD)).status_code == 303
    shop.events()
    report = await shop.billing.reconcile(apply=True)
    assert (report.left, report.unexplained) == ([], 0)
    assert [(await shop.account(id)).bonus for id in ("FREE", "HALF", "acme")] == [400, 400, 200]
    assert (await shop.billing.reconcile(apply=True)).is_healthy
