"""Coupons, promotion codes and discounts, complete: every key that Stripe sends."""

from stripe_sandbox.ids import new_id
from stripe_sandbox.store import Object


def coupon(id: str, created: int, given: Object) -> Object:
    """A coupon from the parameters of its creation."""
    return {
        "id": id,
        "object": "coupon",
        "amount_off": given.get("amount_off"),
        "created": created,
        "currency": given.get("currency") if given.get("amount_off") else None,
        "duration": given.get("duration", "once"),
        "duration_in_months": given.get("duration_in_months"),
        "livemode": False,
        "max_redemptions": given.get("max_redemptions"),
        "metadata": given.get("metadata") or {},
        "name": given.get("name"),
        "percent_off": given.get("percent_off"),
        "redeem_by": given.get("redeem_by"),
        "times_redeemed": 0,
        "valid": True,
        "_products": (given.get("applies_to") or {}).get("products"),
    }


def promotion_code(created: int, code: str, coupon: str, given: Object) -> Object:
    """A promotion code from the parameters of its creation."""
    restrictions = given.get("restrictions") or {}
    return {
        "id": new_id("promo"),
        "object": "promotion_code",
        "active": given.get("active", True),
        "code": code,
        "created": created,
        "customer": given.get("customer"),
        "customer_account": None,
        "expires_at": given.get("expires_at"),
        "livemode": False,
        "max_redemptions": given.get("max_redemptions"),
        "metadata": given.get("metadata") or {},
        "promotion": {"coupon": coupon, "type": "coupon"},
        "restrictions": {
            "first_time_transaction": restrictions.get("first_time_transaction", False),
            "minimum_amount": restrictions.get("minimum_amount"),
            "minimum_amount_currency": restrictions.get("minimum_amount_currency"),
        },
        "times_redeemed": 0,
    }


def discount(start: int, end: int | None, coupon: Object, promotion_code: str | None, of: Object) -> Object:
    """What a coupon takes off something; `of` names the customer, subscription, invoice or session it is on.

    It keeps the coupon as it was: who has redeemed it keeps it when it is deleted.
    """
    return {
        "id": new_id("di"),
        "object": "discount",
        "checkout_session": of.get("checkout_session"),
        "customer": of.get("customer"),
        "customer_account": None,
        "end": end,
        "invoice": of.get("invoice"),
        "invoice_item": None,
        "promotion_code": promotion_code,
        "source": {"coupon": coupon["id"], "type": "coupon"},
        "start": start,
        "subscription": of.get("subscription"),
        "subscription_item": None,
        "_coupon": coupon,
    }
