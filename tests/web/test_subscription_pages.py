"""S16 on the pages: how a subscription stands, what to do about it, and the way to Stripe's portal."""

from dataclasses import replace
from datetime import UTC, datetime

import httpx2
import pytest

from tallystick.billing import PurchaseStatus, Subscription
from tallystick.billing.subscription_table import SubscriptionTable
from tallystick.cli.house import House
from tallystick.domain.catalogue import Catalogue, Plan
from tallystick.web.subscription_view import subscription_view
from tests.web.conftest import make_plus, problem, sign_up

T0 = datetime(2026, 3, 1, tzinfo=UTC)
ACTIVE = Subscription(
    id="sub_1",
    account_id="acme",
    plan="plus",
    status="active",
    cancel_at_period_end=False,
    period_end=datetime(2026, 4, 1, tzinfo=UTC),
    stripe_customer_id="cus_1",
    stripe_price="price_plus",
    started_at=T0,
    ends_at=None,
    trial_end=None,
    collection_paused=False,
    changes_at=None,
    next_plan=None,
    next_price=None,
)
CATALOGUE = Catalogue(
    [
        Plan("free", 25),
        Plan("lite", 100, stripe_price="price_lite"),
        Plan("plus", 500, stripe_price="price_plus", stripe_price_yearly="price_plus_year"),
    ]
)
COMING = replace(ACTIVE, changes_at=ACTIVE.period_end, next_plan="lite", next_price="price_lite")
STATES = {
    "no subscription": (None, "You have no subscription", False),
    "active": (ACTIVE, "renews on April 1, 2026", False),
    "cancelled": (replace(ACTIVE, ends_at=ACTIVE.period_end), "on PLUS until April 1, 2026", False),
    "changes": (COMING, "active and changes to LITE on April 1, 2026", False),
    "changes interval": (
        replace(COMING, next_plan="plus", next_price="price_plus_year"),
        "is paid by the year from April 1, 2026 on",
        False,
    ),
    "changes, and ends later": (
        replace(COMING, ends_at=datetime(2026, 5, 1, tzinfo=UTC)),
        "changes to LITE on April 1, 2026. It ends on May 1, 2026",
        False,
    ),
    "ends before it changes": (replace(COMING, ends_at=ACTIVE.period_end), "on PLUS until April 1, 2026", False),
    "changes to a plan that left": (replace(COMING, next_plan="gone"), "changes to GONE on", False),
    "trial that changes": (
        replace(COMING, status="trialing", trial_end=T0),
        "unless you cancel before. Your subscription changes to LITE on April 1, 2026.",
        False,
    ),
    "trial": (replace(ACTIVE, status="trialing", trial_end=T0), "trying PLUS until March 1, 2026", False),
    "trial cancelled": (replace(ACTIVE, status="trialing", trial_end=T0, ends_at=T0), "nothing is charged", False),
    "billing paused": (replace(ACTIVE, collection_paused=True), "its billing is paused", False),
    "past due": (replace(ACTIVE, status="past_due"), "past due", True),
    "unpaid": (replace(ACTIVE, status="unpaid"), "it has stopped", True),
    "paused": (replace(ACTIVE, status="paused"), "is paused", False),
    "incomplete": (replace(ACTIVE, status="incomplete"), "not confirmed yet", False),
    "expired": (replace(ACTIVE, status="incomplete_expired"), "has ended", False),
    "canceled": (replace(ACTIVE, status="canceled"), "has ended", False),
}


@pytest.mark.parametrize(("subscription", "words", "alert"), STATES.values(), ids=STATES.keys())
def test_s16_every_state_has_words_and_those_with_something_to_do_have_an_alert(
    subscription: Subscription | None, words: str, alert: bool
) -> None:
    view = subscription_view(subscription, CATALOGUE)
    assert words in view.text
    assert (view.alert is not None) is alert


async def test_s16_past_due_is_told_on_dashboard_and_settings_with_the_way_out(
    house: House, browser: httpx2.AsyncClient
) -> None:
    account_id = await sign_up(browser)
    assert "Manage subscription" not in (await browser.get("/settings")).text
    credits = house.credits
    table = SubscriptionTable(credits.database, credits.catalogue, credits.clock)
    await table.keep(replace(ACTIVE, account_id=account_id, status="past_due"))
    for path in ("/dashboard", "/settings"):
        page = (await browser.get(path)).text
        assert 'data-testid="subscription-alert"' in page
        assert "did not go through" in page
        assert 'data-testid="manage-subscription"' in page


async def test_an_account_that_never_paid_has_no_portal(browser: httpx2.AsyncClient) -> None:
    assert problem(await browser.post("/api/stripe/portal"))[0] == 401
    await sign_up(browser)
    assert problem(await browser.post("/api/stripe/portal")) == (409, "no_customer")


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"plan": "plus", "interval": "year"}, (409, "plan_not_for_sale")),
        ({"plan": "plus", "interval": "week"}, (422, "invalid_input")),
    ],
)
async def test_a_plan_is_sold_only_by_the_intervals_it_has(
    browser: httpx2.AsyncClient, body: dict[str, str], answer: tuple[int, str]
) -> None:
    await sign_up(browser)
    assert problem(await browser.post("/api/stripe/create-plan-checkout", json=body)) == answer
    assert (await browser.post("/api/stripe/create-plan-checkout", json={"plan": "plus"})).status_code == 200


async def test_s21_a_checkout_that_has_expired_is_told_with_the_way_back(
    house: House, browser: httpx2.AsyncClient
) -> None:
    account_id = await sign_up(browser)
    await make_plus(house, account_id)
    bought = (await browser.post("/api/stripe/create-credit-checkout")).json()
    purchases = house.credits.billing._purchases
    purchase = await purchases.get(bought["purchase_id"])
    assert purchase is not None
    way_back = "http://127.0.0.1:1/recover"
    await purchases.move(purchase, PurchaseStatus.EXPIRED, leaving=[PurchaseStatus.OPEN], recovery_url=way_back)
    assert way_back in (await browser.get("/dashboard")).text
    page = await browser.get(f"/purchases/return?session_id={purchase.checkout_session_id}")
    assert way_back in page.text
    assert (await browser.get(f"/api/purchases/{purchase.id}")).json()["recovery_url"] == way_back


async def test_a_checkout_that_is_gone_at_stripe_is_told_as_closed_without_saying_what_was_charged(
    house: House, browser: httpx2.AsyncClient
) -> None:
    account_id = await sign_up(browser)
    await make_plus(house, account_id)
    gone = (await browser.post("/api/stripe/create-credit-checkout")).json()
    purchase = await house.credits.billing.purchase(account_id, gone["purchase_id"])
    house.sandbox.store.delete(purchase.checkout_session_id)
    again = (await browser.post("/api/stripe/create-credit-checkout")).json()
    assert again["purchase_id"] != gone["purchase_id"]
    page = await browser.get(f"/purchases/return?session_id={purchase.checkout_session_id}")
    assert "not to be found at Stripe any more" in page.text
    assert "Nothing was charged" not in page.text
