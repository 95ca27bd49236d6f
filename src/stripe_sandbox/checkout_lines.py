"""The lines of a checkout session: what is sold, in which quantity, and what it comes to with discount and tax."""

from stripe_sandbox import shapes, tax_rates
from stripe_sandbox.billing import discounts, tax
from stripe_sandbox.errors import StripeError, missing
from stripe_sandbox.ids import new_id
from stripe_sandbox.money import MINIMUM
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

MOST = 99
"""The largest quantity that a buyer can choose when nothing else is said."""

_LIMIT = 999_999


def line(sandbox: Sandbox, n: int, given: Object, mode: str) -> Object:
    """What the `n`-th entry of `line_items` asks for. Raises StripeError for what Stripe would refuse."""
    at = f"line_items[{n}]"
    if not given.get("price"):
        raise StripeError(
            "The sandbox sells by price id: give `price`.", code="parameter_missing", param=f"{at}[price]"
        )
    price = sandbox.store.get(given["price"], "price")
    if price is None:
        raise missing("price", given["price"], param=f"{at}[price]", status=400)
    if not price["active"]:
        raise StripeError(
            "The price specified is inactive. This field only accepts active prices.", param=f"{at}[price]"
        )
    if mode == "payment" and price["type"] == "recurring":
        raise StripeError(
            "You specified `payment` mode but passed a recurring price. Either switch to `subscription` mode or use "
            "only one-time prices.",
            param="mode",
        )
    if mode == "subscription" and price["type"] == "one_time":
        raise StripeError(
            "You must provide at least one recurring price in `subscription` mode when using prices.", param="mode"
        )
    product = sandbox.get(price["product"], "product")
    made = shapes.line_item(new_id("li"), price, product, given.get("quantity", 1))
    return adjusted(sandbox, made, given, at)


def adjusted(sandbox: Sandbox, made: Object, given: Object, at: str) -> Object:
    """A line with the quantity, its limits and the tax rates that are given. Raises StripeError for what cannot be."""
    quantity: int = given["quantity"] if "quantity" in given else made["quantity"]
    adjustable = made["adjustable_quantity"]
    if "adjustable_quantity" in given:
        adjustable = _adjustable(given["adjustable_quantity"])
    if quantity < 1:
        raise StripeError("This value must be greater than or equal to 1.", param=f"{at}[quantity]")
    if adjustable is not None:
        least, most = adjustable["minimum"], adjustable["maximum"]
        if not 0 <= least <= most <= _LIMIT or most < 1:
            raise StripeError(
                f"`minimum` must not be more than `maximum`, which can be up to {_LIMIT}.",
                param=f"{at}[adjustable_quantity]",
            )
        if not least <= quantity <= most:
            raise StripeError(
                f"The quantity {quantity} is not between the minimum {least} and the maximum {most} of "
                "`adjustable_quantity`.",
                param=f"{at}[quantity]",
            )
    rates = made.get("_tax_rates", [])
    if "tax_rates" in given:
        rates = tax_rates.chosen(sandbox, given["tax_rates"], f"{at}[tax_rates]")
    return {**made, "quantity": quantity, "adjustable_quantity": adjustable, "_tax_rates": rates}


def priced(sandbox: Sandbox, session: Object) -> Object:
    """A session with the amounts of its lines, and what they come to. It is not kept."""
    lines, discount = session["_line_items"], session.get("_discount")
    # Nothing is due on the day on which a trial begins.
    amounts = [0 if begins_with_trial(session) else line["price"]["unit_amount"] * line["quantity"] for line in lines]
    taken = [0 for _ in lines]
    if discount is not None:
        products = [line["price"]["product"] for line in lines]
        taken = discounts.off(discount["_coupon"], amounts, products, session["currency"])
    taxes = [_taxes(sandbox, session, *what) for what in zip(lines, amounts, taken, strict=True)]
    on_top = [sum(tax["amount"] for tax in each if not tax["rate"]["inclusive"]) for each in taxes]
    lines = [
        {
            **line,
            "amount_discount": off,
            "amount_subtotal": amount,
            "amount_tax": sum(tax["amount"] for tax in owed),
            "amount_total": amount - off + extra,
        }
        for line, amount, off, owed, extra in zip(lines, amounts, taken, taxes, on_top, strict=True)
    ]
    return {
        **session,
        "amount_subtotal": sum(amounts),
        "amount_total": sum(line["amount_total"] for line in lines),
        "total_details": {
            "amount_discount": sum(taken),
            "amount_shipping": 0,
            "amount_tax": sum(line["amount_tax"] for line in lines),
        },
        "_line_items": lines,
        "_taxes": tax_rates.by_rate(tax for owed in taxes for tax in owed),
    }


def check_minimum(session: Object) -> None:
    """Raises StripeError for a total that is more than nothing, and less than can be charged."""
    if 0 < session["amount_total"] < MINIMUM:
        raise StripeError(
            "The Checkout Session's total amount due must add up to at least $0.50 USD",
            code="amount_too_small",
            saved=True,
        )


def with_discount(sandbox: Sandbox, session: Object, given: Object, param: str) -> Object:
    """A session with the coupon or promotion code that `given` names, priced with it. It is not kept.

    Raises discounts.Unusable for one that this order cannot have, StripeError for one that is not there.
    """
    customer = session["customer"]
    coupon, code = discounts.chosen(sandbox, given, param, customer)
    discounts.check_amount(sandbox, code, session["amount_subtotal"], session["currency"], customer)
    discount = discounts.offer(sandbox, coupon, code, {"checkout_session": session["id"]})
    discount["_letters"] = code and code["code"]
    named = {"coupon": None if code else coupon["id"], "promotion_code": code and code["id"]}
    changed = priced(sandbox, {**session, "_discount": discount, "discounts": [named]})
    if changed["amount_subtotal"] and not changed["total_details"]["amount_discount"]:
        raise discounts.Unusable(
            "This promotion code cannot be redeemed because the associated coupon is not valid for any of the items.",
            code="coupon_not_applicable",
            param=param,
        )
    return changed


def without_discount(sandbox: Sandbox, session: Object) -> Object:
    """A session without a discount, priced so. It is not kept."""
    return priced(sandbox, {**session, "_discount": None, "discounts": []})


def begins_with_trial(session: Object) -> bool:
    """Whether a session is for a subscription that costs nothing at first."""
    given = session["_subscription"]
    return bool(given.get("trial_period_days") or given.get("trial_end"))


def breakdown(session: Object) -> Object:
    """What discount and tax a session's total is made of."""
    off = session["total_details"]["amount_discount"]
    discount = session.get("_discount")
    return {
        "discounts": [] if discount is None else [{"amount": off, "discount": discount}],
        "taxes": session["_taxes"],
    }


def _adjustable(given: Object) -> Object | None:
    if not given["enabled"]:
        return None
    return {"enabled": True, "maximum": given.get("maximum", MOST), "minimum": given.get("minimum", 0)}


def _taxes(sandbox: Sandbox, session: Object, line: Object, amount: int, off: int) -> list[Object]:
    """What a line is taxed with: by Stripe itself, or by the rates that the seller gave for it, or for all."""
    rates = line.get("_tax_rates") or session.get("_default_tax_rates", [])
    automatic, behavior = session["automatic_tax"]["enabled"], line["price"]["tax_behavior"]
    return [
        {"amount": owed, "rate": rate, "taxability_reason": tax.reason(rate), "taxable_amount": taxable}
        for owed, taxable, rate in tax.on(sandbox, amount - off, behavior, rates, automatic=automatic)
    ]
