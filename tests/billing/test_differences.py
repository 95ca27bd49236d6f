"""Differences that come about seldom: what has to happen for them, what the report says, and what repairs them.

Stripe keeps its events for 30 days. Here it keeps none, so that each is found by what it is about.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import update

from stripe_sandbox import checkout, disputes, refunds
from tallystick.billing import PurchaseStatus, Report
from tallystick.billing.differences import Difference, Kind
from tallystick.billing.stripe_api import StripeApi
from tallystick.database.tables import purchases
from tallystick.domain.commands import RenewAllowance
from tallystick.domain.periods import Period
from tests.billing.conftest import BANK, Shop, forget_events, subscribe_double
from tests.billing.lifecycle import T0, Life, living, on


@pytest.fixture(autouse=True)
def _without_events(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_events(monkeypatch)
    monkeypatch.setattr("tallystick.billing.comparisons.CALLS_PER_SECOND", 10_000)


@pytest.fixture
async def life(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Life]:
    async with living(database_url, monkeypatch) as life:
        yield life


async def heal(shop: Shop) -> Report:
    return await shop.billing.reconcile(apply=True)


async def only_difference(shop: Shop) -> Difference:
    """The one that is found without repairing anything; every credit is explained by it."""
    report = await shop.billing.reconcile()
    (difference,) = report.left
    assert report.unexplained == 0
    return difference


async def assert_repaired(shop: Shop, difference: Difference) -> None:
    assert difference.is_safe
    report = await heal(shop)
    assert (report.repaired, report.left, report.unexplained) == ([difference], [], 0)
    report = await heal(shop)
    assert (report.repaired, report.is_healthy) == ([], True)
    await shop.assert_proven()


async def test_wrong_allowance_is_what_a_renewal_comes_to_that_nobody_told_us_of(life: Life) -> None:
    await life.subscribe()
    await life.pass_until(2026, 3, 5, deliver=False)
    life.events()
    await life.shows("plus", 0, "active")
    invoice = life.sandbox.store.newest_first("invoice")[0]
    difference = await only_difference(life)
    assert (difference.kind, difference.subject) == (Kind.WRONG_ALLOWANCE, life.newest()["id"])
    assert difference.what == f"The ledger has nothing of invoice:{invoice['id']}:plus."
    await assert_repaired(life, difference)
    await life.shows("plus", 500, "active")


async def test_wrong_period_is_what_a_month_comes_to_that_somebody_opened_by_hand(life: Life) -> None:
    await life.subscribe()
    await life.pass_until(2026, 2, 10)
    assert (await life.billing.reconcile()).is_healthy
    month = Period(life.clock(), on(2026, 4, 1))
    await life.ledger.submit(RenewAllowance(account_id="acme", key="by-hand", plan="plus", period=month))
    difference = await only_difference(life)
    assert (difference.kind, difference.subject) == (Kind.WRONG_PERIOD, life.newest()["id"])
    assert difference.what == (
        "The account has its allowance until 2026-04-01 09:30:00+00:00, and by what was paid for it should be until "
        "2026-02-28 09:30:00+00:00."
    )
    # Nothing is missing that could be told again: what was meant is for an operator to say.
    assert (difference.is_safe, difference.suggestion) == (False, "tallystick credits show acme")
    report = await heal(life)
    assert (report.repaired, report.left) == ([], [difference])


async def test_wrong_allowance_is_found_by_its_invoice_also_where_that_is_none_of_the_newest(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    await life.subscribe()
    await life.pass_until(2026, 3, 5, deliver=False)
    life.events()
    invoice = life.sandbox.store.newest_first("invoice")[0]
    page, invoices_of = StripeApi.page, StripeApi.invoices_of

    async def only_invoices(self: StripeApi, of: str, params: dict[str, Any], after: str | None) -> Any:
        return await page(self, of, params, after) if of == "invoices" else ([], None)

    async def others(self: StripeApi, subscription_id: str) -> Any:
        return [each for each in await invoices_of(self, subscription_id) if each["id"] != invoice["id"]]

    monkeypatch.setattr(StripeApi, "page", only_invoices)
    monkeypatch.setattr(StripeApi, "invoices_of", others)
    difference = await only_difference(life)
    assert (difference.kind, difference.what) == (
        Kind.WRONG_ALLOWANCE,
        f"The ledger has nothing of invoice:{invoice['id']}:plus.",
    )
    report = await heal(life)
    assert (report.repaired, report.is_healthy) == ([difference], True)
    await life.shows("plus", 500, "active")


async def test_a_subscription_is_looked_at_once_with_all_of_its_invoices(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    await life.subscribe()
    await life.pass_until(2026, 4, 5)
    ours = life.newest()["id"]
    life.sandbox.seed_price(
        price_id="price_other", product_name="Another", unit_amount=500, currency="usd", recurring="month"
    )
    await subscribe_double(life, price="price_other")
    asked: list[str] = []
    subscription = StripeApi.subscription

    async def counting(self: StripeApi, id: str) -> Any:
        asked.append(id)
        return await subscription(self, id)

    monkeypatch.setattr(StripeApi, "subscription", counting)
    report = await life.billing.reconcile(since=T0)
    assert report.is_healthy
    assert (report.looked_at["invoices"], report.looked_at["subscriptions"]) == (4, 2)
    assert asked.count(ours) == 1


async def test_clawback_without_refund_is_what_a_refund_comes_to_that_failed_unheard(shop: Shop) -> None:
    purchase = await paid(shop)
    refund = refunds.create(shop.sandbox, {"payment_intent": purchase, "amount": 300})
    await shop.deliver()
    assert (await shop.account()).bonus == 100
    refunds.fail(shop.sandbox, refund["id"])
    difference = await only_difference(shop)
    assert (difference.kind, difference.subject, difference.credits) == (Kind.CLAWBACK_WITHOUT_REFUND, purchase, 100)
    assert difference.what == "100 of its credits were taken back, and only 0 are to be."
    await assert_repaired(shop, difference)
    assert (await shop.account()).bonus == 200


async def test_clawback_without_refund_is_what_a_dispute_comes_to_that_was_won_unheard(shop: Shop) -> None:
    purchase = await paid(shop)
    dispute = disputes.open(shop.sandbox, purchase)
    await shop.deliver()
    assert (await shop.account()).bonus == 0
    disputes.win(shop.sandbox, dispute["id"])
    difference = await only_difference(shop)
    assert (difference.kind, difference.credits) == (Kind.CLAWBACK_WITHOUT_REFUND, 200)
    await assert_repaired(shop, difference)
    assert (await shop.account()).bonus == 200


@pytest.mark.parametrize(
    ("is_paid", "credits", "suggestion"),
    [
        (True, 200, "tallystick credits grant acme 200 --key decided:{id} --reason 'Purchase {id}'"),
        (False, 0, "tallystick credits show acme"),
    ],
)
async def test_credited_without_entry_is_what_a_purchase_comes_to_that_was_marked_by_hand(
    shop: Shop, is_paid: bool, credits: int, suggestion: str
) -> None:
    await shop.open()
    id = (await shop.billing.start_pack_checkout("acme")).purchase_id
    if is_paid:
        # Goes on with the checkout that is open.
        assert (await shop.buy()).id == id
    await shop.sql(update(purchases).where(purchases.c.id == id).values(status=PurchaseStatus.CREDITED))
    difference = await only_difference(shop)
    assert (difference.kind, difference.subject) == (Kind.CREDITED_WITHOUT_ENTRY, id)
    assert (difference.credits, difference.suggestion) == (credits, suggestion.format(id=id))
    # Whether it is to be credited is for an operator to say.
    assert not difference.is_safe
    report = await heal(shop)
    assert (report.repaired, report.left, report.unexplained) == ([], [difference], 0)
    assert (await shop.account()).bonus == 0


async def test_not_closed_is_what_a_bank_payment_comes_to_that_nobody_told_us_of(shop: Shop) -> None:
    await shop.open()
    purchase = await shop.buy(form=BANK)
    difference = await only_difference(shop)
    assert (difference.kind, difference.subject) == (Kind.NOT_CLOSED, purchase.checkout_session_id)
    assert difference.what == "It is open here and complete at Stripe."
    await assert_repaired(shop, difference)
    pending = await shop.billing.purchase("acme", purchase.id)
    assert pending.status is PurchaseStatus.PENDING
    checkout.settle_bank_payment(shop.sandbox, str(pending.payment_intent_id), succeeds=False)
    difference = await only_difference(shop)
    assert difference.what == "It is pending here, and its payment is not coming any more."
    await assert_repaired(shop, difference)
    assert (await shop.billing.purchase("acme", purchase.id)).status is PurchaseStatus.FAILED


async def test_purchase_out_of_date_is_what_a_dispute_comes_to_that_was_lost_unheard(shop: Shop) -> None:
    purchase = await paid(shop)
    dispute = disputes.open(shop.sandbox, purchase)
    await shop.deliver()
    disputes.lose(shop.sandbox, dispute["id"])
    difference = await only_difference(shop)
    assert (difference.kind, difference.subject, difference.credits) == (Kind.PURCHASE_OUT_OF_DATE, purchase, 0)
    await assert_repaired(shop, difference)
    assert [p.dispute for p in await shop.billing.purchases("acme")] == ["lost"]


async def test_purchase_out_of_date_is_what_an_unheard_refund_comes_to_that_is_worth_no_credit(shop: Shop) -> None:
    purchase = await paid(shop)
    refunds.create(shop.sandbox, {"payment_intent": purchase, "amount": 1})
    difference = await only_difference(shop)
    assert (difference.kind, difference.credits) == (Kind.PURCHASE_OUT_OF_DATE, 0)
    await assert_repaired(shop, difference)
    assert [p.refunded_minor for p in await shop.billing.purchases("acme")] == [1]


async def paid(shop: Shop) -> str:
    """A credited purchase; its payment intent."""
    await shop.open()
    purchase = await shop.buy()
    await shop.deliver()
    return str((await shop.billing.purchase("acme", purchase.id)).payment_intent_id)
