"""What coupons take off: which may be used for what, how much that is on each line, and when it ends."""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from stripe_sandbox.billing import coupon_shapes
from stripe_sandbox.calendar import plus_intervals
from stripe_sandbox.errors import StripeError
from stripe_sandbox.money import shown, split
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

INVALID = "This code is invalid."
"""What a buyer is told of a code that is not for them, or is none."""

_EXPIRED = "This code has expired."
_USED_UP = "This code has been used as often as it can be."


class Unusable(StripeError):
    """A coupon or promotion code that cannot be used. `told` is what a buyer reads who typed it."""

    def __init__(self, message: str, *, told: str = INVALID, code: str, param: str | None = None) -> None:
        super().__init__(message, code=code, param=param)
        self.told = told


def chosen(sandbox: Sandbox, given: Object, param: str, customer: str | None = None) -> tuple[Object, Object | None]:
    """The coupon that `given` names, by itself or by a promotion code. Raises Unusable, or Stripe's error for none."""
    if given.get("promotion_code"):
        code = sandbox.get(given["promotion_code"], "promotion_code", param=f"{param}[promotion_code]", status=400)
        _check_code(sandbox, code, customer, f"{param}[promotion_code]")
        coupon = sandbox.get(code["promotion"]["coupon"], "coupon", param=f"{param}[promotion_code]", status=400)
    else:
        code = None
        coupon = sandbox.get(given.get("coupon", ""), "coupon", param=f"{param}[coupon]", status=400)
    if not is_valid(sandbox, coupon):
        message = f"Coupon {coupon['id']} is not valid anymore."
        told = _USED_UP if _is_used_up(coupon) else _EXPIRED
        raise Unusable(message, told=told, code="coupon_expired", param=param)
    return coupon, code


def is_valid(sandbox: Sandbox, coupon: Object) -> bool:
    """Whether a coupon can still be redeemed."""
    over = coupon["redeem_by"] is not None and coupon["redeem_by"] <= sandbox.now()
    return not (_is_used_up(coupon) or over)


def check_amount(sandbox: Sandbox, code: Object | None, subtotal: int, currency: str, customer: str | None) -> None:
    """Raises Unusable when the order is not one that the promotion code is for."""
    if code is None:
        return
    rules = code["restrictions"]
    if rules["minimum_amount"] is not None and (
        rules["minimum_amount_currency"] != currency or subtotal < rules["minimum_amount"]
    ):
        least = shown(rules["minimum_amount"], rules["minimum_amount_currency"])
        raise Unusable(
            "This promotion code cannot be redeemed because the associated purchase does not meet the minimum amount "
            "requirement.",
            told=f"This code is for orders of {least} or more.",
            code="promotion_code_minimum_amount_not_met",
        )
    if rules["first_time_transaction"] and customer is not None and _has_paid(sandbox, customer):
        raise Unusable(
            "This promotion code cannot be redeemed because the associated customer has prior transactions.",
            told="This code is for first-time customers.",
            code="customer_not_eligible_for_promotion_code",
        )


def offer(sandbox: Sandbox, coupon: Object, code: Object | None, of: Object) -> Object:
    """The discount that a coupon would be, not redeemed yet."""
    now = sandbox.now()
    months = coupon["duration_in_months"]
    end = plus_intervals(now, "month", months) if coupon["duration"] == "repeating" else None
    return coupon_shapes.discount(now, end, coupon, None if code is None else code["id"], of)


def redeem(sandbox: Sandbox, discount: Object) -> Object:
    """Use a coupon, and its promotion code, once more. Returns the discount, which is kept and told of."""
    sandbox.store.put(discount)
    for id in filter(None, (discount["source"]["coupon"], discount["promotion_code"])):
        used = sandbox.store.get(id)
        if used is None:
            continue
        used = {**used, "times_redeemed": used["times_redeemed"] + 1}
        if used["object"] == "coupon":
            used["valid"] = is_valid(sandbox, used)
        sandbox.store.put(used)
    if discount["customer"]:
        sandbox.emit("customer.discount.created", discount)
    return discount


def given_discounts(sandbox: Sandbox, given: Any, of: Object, subtotal: int, currency: str) -> list[str]:
    """Redeem what a `discounts` parameter names. Returns the ids of the discounts."""
    made = []
    for n, entry in enumerate(given or []):
        if entry.get("discount"):
            made.append(sandbox.get(entry["discount"], "discount", param=f"discounts[{n}]", status=400)["id"])
            continue
        coupon, code = chosen(sandbox, entry, f"discounts[{n}]", of.get("customer"))
        check_amount(sandbox, code, subtotal, currency, of.get("customer"))
        made.append(redeem(sandbox, offer(sandbox, coupon, code, of))["id"])
    return made


def holding(sandbox: Sandbox, ids: Sequence[str], at: int) -> list[Object]:
    """The discounts among `ids` that hold at an instant."""
    found = [sandbox.get(id, "discount") for id in ids]
    return [discount for discount in found if discount["end"] is None or at < discount["end"]]


def off(coupon: Object, amounts: Sequence[int], products: Sequence[str], currency: str) -> list[int]:
    """How much a coupon takes off each of `amounts`, which are for `products`."""
    allowed = coupon["_products"]
    open_amounts = [
        amount if amount > 0 and (allowed is None or product in allowed) else 0
        for amount, product in zip(amounts, products, strict=True)
    ]
    if coupon["percent_off"] is not None:
        return [percent_of(amount, str(coupon["percent_off"])) for amount in open_amounts]
    if coupon["currency"] != currency:
        return [0 for _ in open_amounts]
    return split(min(coupon["amount_off"], sum(open_amounts)), open_amounts)


def percent_of(amount: int, percent: str) -> int:
    """That many percent of an amount, rounded to the nearest unit."""
    return int((Decimal(amount) * Decimal(percent) / 100).quantize(Decimal(1), ROUND_HALF_UP))


def left(sandbox: Sandbox, ids: Sequence[str], invoice: Object) -> list[str]:
    """What is left of a subscription's discounts after `invoice` used them: `once` and what is over end with it."""
    used = {part["discount"] for part in invoice["total_discount_amounts"] if part["amount"]}
    kept = []
    for id in ids:
        discount = sandbox.get(id, "discount")
        over = discount["end"] is not None and discount["end"] <= sandbox.now()
        if over or (discount["_coupon"]["duration"] == "once" and id in used):
            sandbox.emit("customer.discount.deleted", discount)
        else:
            kept.append(id)
    return kept


def _check_code(sandbox: Sandbox, code: Object, customer: str | None, param: str) -> None:
    if not code["active"]:
        raise Unusable("This promotion code is not active.", code="promotion_code_expired", param=param)
    if code["expires_at"] is not None and code["expires_at"] <= sandbox.now():
        message = "This promotion code has expired."
        raise Unusable(message, told=_EXPIRED, code="promotion_code_expired", param=param)
    if _is_used_up(code):
        raise Unusable(
            "This promotion code cannot be redeemed because it has been used the maximum number of times.",
            told=_USED_UP,
            code="promotion_code_expired",
            param=param,
        )
    if code["customer"] is not None and code["customer"] != customer:
        raise Unusable("This promotion code is for another customer.", code="resource_missing", param=param)


def _is_used_up(redeemable: Object) -> bool:
    most = redeemable["max_redemptions"]
    return most is not None and bool(redeemable["times_redeemed"] >= most)


def _has_paid(sandbox: Sandbox, customer: str) -> bool:
    return bool(
        sandbox.store.newest_first("charge", lambda c: bool(c["customer"] == customer and c["status"] == "succeeded"))
    )
