"""The items of a subscription: prices and quantities as they are asked for, each in its period."""

from collections.abc import Sequence

from stripe_sandbox import catalogue, tax_rates
from stripe_sandbox.billing import subscription_shapes
from stripe_sandbox.calendar import period_at
from stripe_sandbox.errors import StripeError, missing
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object


def build(
    sandbox: Sandbox, subscription_id: str, entries: Sequence[Object], anchor: int, until: int | None
) -> list[Object]:
    """New items for what `entries` ask for, in the period counted from `anchor` or, if given, from now `until` then.

    Raises StripeError for prices that cannot be subscribed to together.
    """
    made = [new(sandbox, subscription_id, entry, f"items[{n}]", anchor, until) for n, entry in enumerate(entries)]
    if not made:
        raise StripeError("Missing required param: items.", code="parameter_missing", param="items")
    check_together(made)
    return made


def new(
    sandbox: Sandbox, subscription_id: str, entry: Object, param: str, anchor: int, until: int | None = None
) -> Object:
    """One new item."""
    price = price_of(sandbox, entry, param)
    now = sandbox.now()
    period = period_of(price, anchor, now) if until is None else (now, until)
    quantity, metadata = entry.get("quantity", 1), entry.get("metadata") or {}
    rates = tax_rates.chosen(sandbox, entry.get("tax_rates") or [], f"{param}[tax_rates]")
    return subscription_shapes.item(now, subscription_id, price, quantity, period, metadata, rates)


def period_of(price: Object, anchor: int, at: int) -> tuple[int, int]:
    """The period of a price, counted from `anchor`, that an instant is in."""
    recurring = price["recurring"]
    return period_at(anchor, recurring["interval"], recurring["interval_count"], at)


def sold_as(sandbox: Sandbox, item: Object, price: str, quantity: int) -> Object:
    """An item as another price and quantity."""
    return {**item, "price": sandbox.get(price, "price"), "quantity": quantity}


def price_of(sandbox: Sandbox, entry: Object, param: str) -> Object:
    """The recurring price that an entry names, or describes."""
    if entry.get("price_data"):
        return catalogue.create_price(sandbox, entry["price_data"])
    id = entry.get("price")
    if not id:
        raise StripeError(
            f"Missing required param: {param}[price].", code="parameter_missing", param=f"{param}[price]"
        )
    price = sandbox.store.get(id, "price")
    if price is None:
        raise missing("price", id, param=f"{param}[price]", status=400)
    if price["type"] != "recurring":
        raise StripeError(
            "The price specified is set to `type=one_time` but this field only accepts prices with `type=recurring`.",
            param=f"{param}[price]",
        )
    if not price["active"]:
        raise StripeError(
            "The price specified is inactive. This field only accepts active prices.", param=f"{param}[price]"
        )
    return price


def check_together(items: Sequence[Object]) -> None:
    """Raises StripeError for items that cannot be on one subscription."""
    prices = [item["price"] for item in items]
    if len({price["id"] for price in prices}) < len(prices):
        raise StripeError("Cannot add multiple subscription items with the same price.", param="items")
    if len({price["currency"] for price in prices}) > 1:
        raise StripeError("All prices on a subscription must have the same currency.", param="items")


def description(sandbox: Sandbox, item: Object) -> str:
    """What an invoice calls an item."""
    price, product = item["price"], sandbox.get(item["price"]["product"], "product")
    return f"{item['quantity']} × {product['name']} (at {catalogue.price_text(price)})"
