"""Coupons and promotion codes in the API. What they take off is in `discounts`."""

import secrets
import string

from stripe import params

from stripe_sandbox import operations
from stripe_sandbox.billing import coupon_shapes
from stripe_sandbox.errors import StripeError
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

_LETTERS = string.ascii_uppercase + string.digits


def create(sandbox: Sandbox, given: Object) -> Object:
    """A new coupon. Raises StripeError for one that takes nothing off, or does not say for how long."""
    if (given.get("percent_off") is None) == (given.get("amount_off") is None):
        raise StripeError("You must pass either percent_off or amount_off to create a coupon.")
    if given.get("amount_off") is not None and not given.get("currency"):
        raise StripeError("Missing required param: currency.", code="parameter_missing", param="currency")
    percent = given.get("percent_off")
    if percent is not None and not 0 < percent <= 100:
        raise StripeError("Invalid percent_off: must be greater than 0 and at most 100.", param="percent_off")
    if (given.get("duration") == "repeating") != ("duration_in_months" in given):
        raise StripeError(
            "duration_in_months goes with duration=repeating, and only with it.", param="duration_in_months"
        )
    id = given.get("id") or "".join(secrets.choice(_LETTERS) for _ in range(8))
    if sandbox.store.get(id) is not None:
        raise StripeError("Coupon already exists.", code="resource_already_exists", param="id")
    made = coupon_shapes.coupon(id, sandbox.now(), given)
    sandbox.store.put(made)
    sandbox.emit("coupon.created", made)
    return made


def delete(sandbox: Sandbox, id: str) -> Object:
    """Let nobody redeem a coupon any more; who has it keeps it."""
    found = sandbox.get(id, "coupon")
    answer = operations.deleted(sandbox, found)
    sandbox.emit("coupon.deleted", found)
    return answer


def create_code(sandbox: Sandbox, given: Object) -> Object:
    """A new promotion code for a coupon. Raises StripeError when an active one has the same letters."""
    coupon = sandbox.get(given["promotion"].get("coupon", ""), "coupon", param="promotion[coupon]", status=400)
    if given.get("customer"):
        sandbox.get(given["customer"], "customer", param="customer", status=400)
    code = given.get("code") or "".join(secrets.choice(_LETTERS) for _ in range(8))
    if find_code(sandbox, code) is not None:
        raise StripeError(f"An active promotion code with `code: {code}` already exists.", param="code")
    made = coupon_shapes.promotion_code(sandbox.now(), code, coupon["id"], given)
    sandbox.store.put(made)
    sandbox.emit("promotion_code.created", made)
    return made


def find_code(sandbox: Sandbox, code: str) -> Object | None:
    """The active promotion code with these letters, large or small."""
    found = sandbox.store.newest_first(
        "promotion_code", lambda c: bool(c["active"] and c["code"].lower() == code.lower())
    )
    return found[0] if found else None


_COUPONS = "/coupons"
_CODES = "/promotion_codes"
OPERATIONS = [
    operations.create(_COUPONS, params.CouponCreateParams, create),
    operations.list_of("coupon", _COUPONS, params.CouponListParams),
    operations.retrieve("coupon", _COUPONS, params.CouponRetrieveParams),
    operations.update("coupon", _COUPONS, params.CouponUpdateParams),
    operations.Operation("DELETE", f"{_COUPONS}/{{id}}", params.CouponDeleteParams, lambda s, id, _: delete(s, id)),
    operations.create(_CODES, params.PromotionCodeCreateParams, create_code),
    operations.list_of(
        "promotion_code",
        _CODES,
        params.PromotionCodeListParams,
        {
            "coupon": lambda code, wanted: code["promotion"]["coupon"] == wanted,
            "code": lambda code, wanted: code["code"].lower() == wanted.lower(),
        },
    ),
    operations.retrieve("promotion_code", _CODES, params.PromotionCodeRetrieveParams),
    operations.update("promotion_code", _CODES, params.PromotionCodeUpdateParams),
]

INCLUDES = {
    ("coupon", "applies_to"): lambda _, coupon: {"products": coupon["_products"] or []},
}
