"""S20, S21: what a buyer may choose at Stripe within the frozen terms, and what Stripe may add to or take from the price."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from stripe_sandbox import Sandbox, SandboxServer
from tallystick.billing import Purchase, PurchaseStatus
from tallystick.domain.catalogue import Catalogue, Pack
from tallystick.domain.errors import InvalidInput
from tests.billing.conftest import Shop, make_shop, seed
from tests.conftest import PACK_PRICE


@pytest.fixture
async def generous(database_url: str, catalogue: Catalogue) -> AsyncIterator[Shop]:
    """A shop whose pack can be bought up to five at a time, with promotion codes."""
    pack = Pack(
        "credits_200",
        credits=200,
        price="5.99 USD",
        stripe_price=PACK_PRICE,
        max_quantity=5,
        promotion_codes=True,
    )
    async with SandboxServer(Sandbox()) as server:
        seed(server.sandbox)
        async with make_shop(database_url, Catalogue(catalogue.plans, [pack]), server) as made:
            await made.open()
            yield made
            await made.assert_proven()


async def buy(shop: Shop, *, quantity: int = 1, **reported: Any) -> Purchase:
    """A paid purchase of which Stripe reports what is given, delivered."""
    purchase = await shop.buy()
    session = shop.sandbox.get(purchase.checkout_session_id, "checkout.session")
    line = {**session["_line_items"][0], "quantity": quantity}
    amount = 599 * quantity
    amounts = {"amount_subtotal": amount, "amount_total": amount, **reported}
    shop.sandbox.store.put({**session, **amounts, "_line_items": [line]})
    await shop.deliver()
    return await shop.billing.purchase("acme", purchase.id)


def details(discount: int = 0, tax: int = 0, shipping: int = 0) -> dict[str, int]:
    return {"amount_discount": discount, "amount_tax": tax, "amount_shipping": shipping}


@pytest.mark.parametrize("quantity", [1, 3, 5])
async def test_s20_what_is_credited_is_the_quantity_that_was_bought(generous: Shop, quantity: int) -> None:
    purchase = await buy(generous, quantity=quantity)
    assert purchase.status is PurchaseStatus.CREDITED
    assert (purchase.quantity, purchase.credits, purchase.price.minor) == (quantity, 200 * quantity, 599 * quantity)
    assert (purchase.credits_each, purchase.minor_each) == (200, 599)
    assert (await generous.account()).bonus == 200 * quantity
    entry = await generous.ledger.entry_by_key("acme", purchase.ledger_key)
    assert entry is not None
    assert entry.reason.startswith(f"Bought {200 * quantity:,} credits for ")


@pytest.mark.parametrize("quantity", [0, 6])
async def test_s20_a_quantity_outside_the_frozen_limits_needs_review(generous: Shop, quantity: Any) -> None:
    purchase = await buy(generous, quantity=quantity)
    assert purchase.status is PurchaseStatus.NEEDS_REVIEW
    assert "quantity" in str(purchase.problem)
    assert (await generous.account()).bonus == 0


async def test_s20_the_limits_that_count_are_the_frozen_ones(generous: Shop) -> None:
    started = await generous.billing.start_pack_checkout("acme")
    frozen = await generous.billing.purchase("acme", str(started.purchase_id))
    assert (frozen.max_quantity, frozen.promotion_codes, frozen.quantity) == (5, True, 1)


EXPLAINED: dict[str, dict[str, Any]] = {
    "a discount": {"amount_total": 499, "total_details": details(discount=100)},
    "tax on top": {"amount_total": 659, "total_details": details(tax=60)},
    "tax inside": {"amount_total": 599, "total_details": details(tax=60)},
    "a discount and tax": {"amount_total": 549, "total_details": details(discount=100, tax=50)},
    "shipping": {"amount_total": 699, "total_details": details(shipping=100)},
    "another currency shown": {"presentment_details": {"presentment_amount": 550, "presentment_currency": "eur"}},
    "a promotion code for all of it": {
        "amount_total": 0,
        "payment_status": "no_payment_required",
        "payment_intent": None,
        "_intent": None,
        "total_details": details(discount=599),
    },
}
UNEXPLAINED: dict[str, dict[str, Any]] = {
    "less than the discount explains": {"amount_total": 398, "total_details": details(discount=200)},
    "more than tax explains": {"amount_total": 700, "total_details": details(tax=60)},
    "less before the discount": {"amount_subtotal": 499, "amount_total": 499},
    "nothing at all": {"amount_total": 0},
}


@pytest.mark.parametrize("reported", EXPLAINED.values(), ids=EXPLAINED.keys())
async def test_s20_credits_follow_the_pack_and_not_the_gross_amount(generous: Shop, reported: dict[str, Any]) -> None:
    purchase = await buy(generous, **reported)
    assert (purchase.status, purchase.problem) == (PurchaseStatus.CREDITED, None)
    assert (await generous.account()).bonus == 200


@pytest.mark.parametrize("reported", UNEXPLAINED.values(), ids=UNEXPLAINED.keys())
async def test_s20_an_amount_that_nothing_explains_needs_review(generous: Shop, reported: dict[str, Any]) -> None:
    purchase = await buy(generous, **reported)
    assert purchase.status is PurchaseStatus.NEEDS_REVIEW
    assert (await generous.account()).bonus == 0


async def test_s20_a_discount_on_a_pack_that_allows_none_needs_review(shop: Shop) -> None:
    await shop.open()
    purchase = await buy(shop, amount_total=499, total_details=details(discount=100))
    assert purchase.status is PurchaseStatus.NEEDS_REVIEW


@pytest.mark.parametrize("most", [0, 1_000, True, "3"])
def test_a_pack_says_how_many_can_be_bought_at_once_as_a_sensible_number(most: Any) -> None:
    with pytest.raises(InvalidInput, match="max_quantity"):
        Pack("p", credits=1, price="1.00 USD", stripe_price="price_p", max_quantity=most)
