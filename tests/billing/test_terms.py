"""S20, S21: what a buyer may choose at Stripe within the frozen terms, and what Stripe may add to or take from the price."""

from typing import Any

import pytest

from tallystick.billing import Purchase, PurchaseStatus
from tallystick.domain.catalogue import Pack
from tallystick.domain.errors import InvalidInput
from tests.billing.conftest import Shop


async def buy(shop: Shop, account_id: str, *, quantity: int = 1, **reported: Any) -> Purchase:
    """A paid purchase of which Stripe reports what is given, delivered."""
    await shop.open(account_id)
    purchase = await shop.buy(account_id)
    session = shop.sandbox.get(purchase.checkout_session_id, "checkout.session")
    line = {**session["_line_items"][0], "quantity": quantity}
    amount = 599 * quantity
    amounts = {"amount_subtotal": amount, "amount_total": amount, **reported}
    shop.sandbox.store.put({**session, **amounts, "_line_items": [line]})
    await shop.deliver()
    return await shop.billing.purchase(account_id, purchase.id)


def details(discount: int = 0, tax: int = 0, shipping: int = 0) -> dict[str, int]:
    return {"amount_discount": discount, "amount_tax": tax, "amount_shipping": shipping}


async def test_s20_the_limits_that_count_are_the_frozen_ones(generous: Shop) -> None:
    started = await generous.billing.start_pack_checkout("acme")
    frozen = await generous.billing.purchase("acme", str(started.purchase_id))
    assert (frozen.max_quantity, frozen.promotion_codes, frozen.quantity) == (5, True, 1)


EXPLAINED: dict[str, dict[str, Any]] = {
    "a-discount": {"amount_total": 499, "total_details": details(discount=100)},
    "tax-on-top": {"amount_total": 659, "total_details": details(tax=60)},
    "tax-inside": {"amount_total": 599, "total_details": details(tax=60)},
    "a-discount-and-tax": {"amount_total": 549, "total_details": details(discount=100, tax=50)},
    "shipping": {"amount_total": 699, "total_details": details(shipping=100)},
    "another-currency-shown": {"presentment_details": {"presentment_amount": 550, "presentment_currency": "eur"}},
    "a-promotion-code-for-all-of-it": {
        "amount_total": 0,
        "payment_status": "no_payment_required",
        "payment_intent": None,
        "_intent": None,
        "total_details": details(discount=599),
    },
}
UNEXPLAINED: dict[str, dict[str, Any]] = {
    "less-than-the-discount-explains": {"amount_total": 398, "total_details": details(discount=200)},
    "more-than-tax-explains": {"amount_total": 700, "total_details": details(tax=60)},
    "less-before-the-discount": {"amount_subtotal": 499, "amount_total": 499},
    "nothing-at-all": {"amount_total": 0},
    "none-of-them": {"quantity": 0},
}


async def test_s20_credits_follow_the_pack_and_not_the_gross_amount(generous: Shop) -> None:
    for what, reported in EXPLAINED.items():
        purchase = await buy(generous, what, **reported)
        assert (purchase.status, purchase.problem) == (PurchaseStatus.CREDITED, None), what
        assert (await generous.account(what)).bonus == 200, what


async def test_s20_an_amount_that_nothing_explains_needs_review(generous: Shop) -> None:
    for what, reported in UNEXPLAINED.items():
        purchase = await buy(generous, what, **reported)
        assert purchase.status is PurchaseStatus.NEEDS_REVIEW, what
        assert (await generous.account(what)).bonus == 0, what


@pytest.mark.parametrize("most", [0, 1_000, True, "3"])
def test_a_pack_says_how_many_can_be_bought_at_once_as_a_sensible_number(most: Any) -> None:
    with pytest.raises(InvalidInput, match="max_quantity"):
        Pack("p", credits=1, price="1.00 USD", stripe_price="price_p", max_quantity=most)
