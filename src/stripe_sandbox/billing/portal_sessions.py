"""Visits to the customer portal: made by the seller, each for one customer, good for a while."""

import base64
from binascii import Error as NotBase64

from stripe import params

from stripe_sandbox import operations
from stripe_sandbox.billing import discounts, portal_configurations, standing
from stripe_sandbox.errors import StripeError
from stripe_sandbox.ids import new_id
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

TYPE = "billing_portal.session"
UNUSED_SECONDS = 5 * 60
"""How long the address of a visit may wait to be opened."""

IDLE_SECONDS = 3600
"""How long a visit goes on without anything happening."""

_NEEDS = {
    "customer_update": ("customer_update", "This customer cannot be updated because the customer update"),
    "payment_method_update": (
        "payment_method_update",
        "This customer's payment method cannot be updated because the payment method update",
    ),
    "subscription_cancel": (
        "subscription_cancel",
        "This subscription cannot be canceled because the subscription cancellation",
    ),
    **dict.fromkeys(
        ("subscription_update", "subscription_update_confirm"),
        ("subscription_update", "This subscription cannot be updated because the subscription update"),
    ),
}
"""By flow: the feature that has to be enabled for it, and how its refusal begins."""


def create(sandbox: Sandbox, given: Object) -> Object:
    """A visit, to the whole portal or to one flow. Raises StripeError for what Stripe would refuse."""
    if "after_expiration" in given:
        raise portal_configurations.unknown("after_expiration")
    if not given.get("customer"):
        raise StripeError("Missing required param: customer.", code="parameter_missing", param="customer")
    customer = sandbox.get(given["customer"], "customer", param="customer", status=400)
    configuration = _configuration(sandbox, given.get("configuration"))
    id = new_id("bps")
    now = sandbox.now()
    flow = given.get("flow_data")
    made: Object = {
        "id": id,
        "object": TYPE,
        "configuration": configuration["id"],
        "created": now,
        "customer": customer["id"],
        "customer_account": None,
        "flow": None if flow is None else _flow(sandbox, customer, configuration, flow),
        "livemode": False,
        "locale": given.get("locale"),
        "on_behalf_of": None,
        "return_url": given.get("return_url") or configuration["default_return_url"],
        "url": f"{sandbox.url}/p/session/test_{base64.urlsafe_b64encode(id.encode()).decode().rstrip('=')}",
        "_good_until": now + UNUSED_SECONDS,
    }
    sandbox.store.put(made)
    sandbox.emit(f"{TYPE}.created", made)
    return made


def named(sandbox: Sandbox, token: str) -> Object | None:
    """The visit that the last part of an address names."""
    code = token.removeprefix("test_")
    try:
        id = base64.urlsafe_b64decode(code + "=" * (-len(code) % 4)).decode()
    except (NotBase64, ValueError):
        return None
    return sandbox.store.get(id, TYPE)


def _configuration(sandbox: Sandbox, id: str | None) -> Object:
    if id is not None:
        found = sandbox.store.get(id, portal_configurations.TYPE)
        if found is None:
            raise StripeError(f"No such configuration: '{id}'", code="resource_missing", param="configuration")
        if not found["active"]:
            raise StripeError(f"The configuration '{id}' is not active.", param="configuration")
        return found
    default = portal_configurations.default(sandbox)
    if default is None:
        raise StripeError(
            "No configuration provided and your test mode default configuration has not been created. Provide a "
            "configuration or create your default by saving your customer portal settings in test mode at "
            "https://dashboard.stripe.com/test/settings/billing/portal."
        )
    return default


def _flow(sandbox: Sandbox, customer: Object, configuration: Object, given: Object) -> Object:
    kind = given["type"]
    at = f"flow_data[{kind}]"
    if kind == "subscription_pause":
        raise StripeError("Invalid flow_data[type]: subscription_pause", param="flow_data[type]")
    if kind.startswith("subscription_") and kind not in given:
        raise StripeError(f"Missing required param: {at}.", code="parameter_missing", param=at)
    for other in set(given) - {"type", "after_completion", kind}:
        raise StripeError(f"You can only give `{other}` with a flow of that type.", param=f"flow_data[{other}]")
    feature, refused = _NEEDS[kind]
    if not configuration["features"][feature]["enabled"]:
        raise StripeError(f"{refused} feature in the portal configuration is disabled.", param="flow_data[type]")
    flow: Object = {
        "after_completion": _after(given.get("after_completion") or {"type": "portal_homepage"}),
        "subscription_cancel": None,
        "subscription_update": None,
        "subscription_update_confirm": None,
        "type": kind,
    }
    if kind in given:
        subscription = _subscription(sandbox, customer, given[kind]["subscription"], f"{at}[subscription]")
        flow[kind] = {"subscription": subscription["id"]}
        if kind == "subscription_cancel":
            flow[kind]["retention"] = _retention(sandbox, given[kind].get("retention"))
            if subscription["cancel_at"] is not None:
                raise StripeError(
                    f"The subscription `{subscription['id']}` is already set to be canceled.",
                    param=f"{at}[subscription]",
                )
        if kind == "subscription_update_confirm":
            flow[kind] |= _confirmed(sandbox, configuration, subscription, given[kind], at)
    return flow


def _after(given: Object) -> Object:
    kind = given["type"]
    if kind == "redirect" and "redirect" not in given:
        param = "flow_data[after_completion][redirect]"
        raise StripeError(f"Missing required param: {param}.", code="parameter_missing", param=param)
    message = (given.get("hosted_confirmation") or {}).get("custom_message")
    return {
        "hosted_confirmation": {"custom_message": message} if kind == "hosted_confirmation" else None,
        "redirect": given.get("redirect") if kind == "redirect" else None,
        "type": kind,
    }


def _subscription(sandbox: Sandbox, customer: Object, id: str, param: str) -> Object:
    found = sandbox.get(id, "subscription", param=param, status=400)
    if found["customer"] != customer["id"]:
        raise StripeError(f"The subscription `{id}` does not belong to the customer `{customer['id']}`.", param=param)
    if found["status"] in standing.ENDED:
        raise StripeError(f"The subscription `{id}` has a status of `{found['status']}`.", param=param)
    return found


def _retention(sandbox: Sandbox, given: Object | None) -> Object | None:
    if given is None:
        return None
    param = "flow_data[subscription_cancel][retention][coupon_offer]"
    coupon, _ = discounts.chosen(sandbox, given["coupon_offer"], param)
    return {"coupon_offer": {"coupon": coupon["id"]}, "type": given["type"]}


def _confirmed(sandbox: Sandbox, configuration: Object, subscription: Object, given: Object, at: str) -> Object:
    """The one item that the customer is to confirm the change of."""
    data = subscription["items"]["data"]
    if len(given["items"]) != 1 or len(data) != 1:
        raise StripeError(
            "You can only update a subscription with one item, and only that one.", param=f"{at}[items]"
        )
    wanted = given["items"][0]
    if wanted["id"] != data[0]["id"]:
        raise StripeError(
            f"The item `{wanted['id']}` does not belong to the subscription `{subscription['id']}`.",
            param=f"{at}[items][0][id]",
        )
    price = wanted.get("price", data[0]["price"]["id"])
    quantity = wanted.get("quantity", data[0]["quantity"])
    sold = [id for entry in products(configuration) for id in entry["prices"]]
    if price != data[0]["price"]["id"] and price not in sold:
        raise StripeError(
            f"The item cannot be updated to the price `{price}` because it is not one of the portal configuration's "
            "`features[subscription_update][products]`.",
            param=f"{at}[items][0][price]",
        )
    if (price, quantity) == (data[0]["price"]["id"], data[0]["quantity"]):
        raise StripeError("The subscription is like that already: there is nothing to confirm.", param=f"{at}[items]")
    made = []
    for n, entry in enumerate(given.get("discounts") or []):
        discounts.chosen(sandbox, entry, f"{at}[discounts][{n}]", subscription["customer"])
        made.append({"coupon": entry.get("coupon"), "promotion_code": entry.get("promotion_code")})
    return {
        "discounts": made or None,
        "items": [{"id": wanted["id"], "price": price, "quantity": quantity}],
    }


def products(configuration: Object) -> list[Object]:
    """What subscriptions may be switched to."""
    found: list[Object] = configuration["features"]["subscription_update"]["_products"]
    return found


_PATH = "/billing_portal/sessions"
OPERATIONS = [operations.create(_PATH, params.billing_portal.SessionCreateParams, create)]
