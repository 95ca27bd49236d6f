"""What the customer portal lets customers do: its configurations."""

from stripe import params

from stripe_sandbox import operations
from stripe_sandbox.errors import StripeError, missing
from stripe_sandbox.ids import new_id
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

TYPE = "billing_portal.configuration"
MOST_PRODUCTS = 10
_REASONS = ("too_expensive", "missing_features", "switched_service", "unused", "other")
_FEATURES: Object = {
    "customer_update": {"allowed_updates": [], "enabled": False},
    "invoice_history": {"enabled": False},
    "payment_method_update": {"enabled": False, "payment_method_configuration": None},
    "subscription_cancel": {
        "cancellation_reason": {"enabled": False, "options": list(_REASONS)},
        "enabled": False,
        "mode": "at_period_end",
        "proration_behavior": "none",
    },
    "subscription_update": {
        "billing_cycle_anchor": None,
        "default_allowed_updates": [],
        "enabled": False,
        "proration_behavior": "none",
        "schedule_at_period_end": {"conditions": []},
        "trial_update_behavior": "end_trial",
        "_products": [],
    },
}
"""What each feature is when nothing is said of it."""


def create(sandbox: Sandbox, given: Object) -> Object:
    """A new configuration, which is not the default one. Raises StripeError for what Stripe would refuse."""
    return _make(sandbox, given, is_default=False)


def update(sandbox: Sandbox, id: str, given: Object) -> Object:
    """Change a configuration; what is not given stays. Raises StripeError for what Stripe would refuse."""
    found = sandbox.get(id, TYPE)
    if found["is_default"] and given.get("active") is False:
        raise StripeError("You cannot deactivate the default configuration.", param="active")
    changes = operations.changes(found, {name: given[name] for name in ("active", "metadata") if name in given})
    changes |= {name: given[name] or None for name in ("default_return_url", "name") if name in given}
    if "business_profile" in given:
        changes["business_profile"] = {**found["business_profile"], **_emptied(given["business_profile"])}
    if "features" in given:
        changes["features"] = _features(sandbox, found["features"], given["features"])
    if "login_page" in given:
        changes["login_page"] = _login_page(sandbox, given["login_page"], id)
    return sandbox.changed(f"{TYPE}.updated", found, **changes, updated=sandbox.now())


def save_default(sandbox: Sandbox, features: Object | None = None) -> Object:
    """The default configuration, as when somebody saves the portal's settings in the dashboard.

    Without `features`, customers can see invoices, change their card and e-mail, and cancel at the period's end.
    """
    usual = {
        "customer_update": {"allowed_updates": ["email", "name", "address", "phone"], "enabled": True},
        "invoice_history": {"enabled": True},
        "payment_method_update": {"enabled": True},
        "subscription_cancel": {
            "cancellation_reason": {"enabled": True, "options": list(_REASONS)},
            "enabled": True,
        },
    }
    given = {"features": usual if features is None else features}
    with sandbox.store.transaction():
        there = default(sandbox)
        return _make(sandbox, given, is_default=True) if there is None else update(sandbox, there["id"], given)


def default(sandbox: Sandbox) -> Object | None:
    """The default configuration, if it was ever saved."""
    return next(iter(sandbox.store.newest_first(TYPE, lambda c: bool(c["is_default"]))), None)


def unknown(param: str) -> StripeError:
    """The error for what only later versions of the API know."""
    return StripeError(f"Received unknown parameter: {param}", code="parameterunknown", param=param)


def _make(sandbox: Sandbox, given: Object, *, is_default: bool) -> Object:
    now, id = sandbox.now(), new_id("bpc")
    profile = {"headline": None, "privacy_policy_url": None, "terms_of_service_url": None}
    made: Object = {
        "id": id,
        "object": TYPE,
        "active": True,
        "application": None,
        "business_profile": {**profile, **_emptied(given.get("business_profile") or {})},
        "created": now,
        "default_return_url": given.get("default_return_url") or None,
        "features": _features(sandbox, _FEATURES, given["features"]),
        "is_default": is_default,
        "livemode": False,
        "login_page": _login_page(sandbox, given.get("login_page") or {"enabled": False}, id),
        "metadata": given.get("metadata") or {},
        "name": given.get("name") or None,
        "updated": now,
    }
    sandbox.store.put(made)
    sandbox.emit(f"{TYPE}.created", made)
    return made


def _features(sandbox: Sandbox, before: Object, given: Object) -> Object:
    """The features with what is given. Raises StripeError for one that is enabled and cannot work."""
    if "subscription_pause" in given:
        raise unknown("features[subscription_pause]")
    features = {**before}
    for name, wanted in given.items():
        wanted = {key: [] if value == "" else value for key, value in wanted.items()}
        if "products" in wanted:
            wanted["_products"] = _products(sandbox, wanted.pop("products"))
        for inner in {"cancellation_reason", "schedule_at_period_end"} & set(wanted):
            wanted[inner] = {**before[name][inner], **wanted[inner]}
        features[name] = {**before[name], **wanted}
    _check(features)
    return features


def _check(features: Object) -> None:
    customer, update = features["customer_update"], features["subscription_update"]
    at = "features[subscription_update]"
    needed = {
        "features[customer_update][allowed_updates]": customer["enabled"] and not customer["allowed_updates"],
        f"{at}[default_allowed_updates]": update["enabled"] and not update["default_allowed_updates"],
        f"{at}[products]": update["enabled"] and not update["_products"],
    }
    for param, lacks in needed.items():
        if lacks:
            raise StripeError(f"Missing required param: {param}.", code="parameter_missing", param=param)


def _products(sandbox: Sandbox, given: list[Object]) -> list[Object]:
    """What may be switched to, with every price looked up."""
    at = "features[subscription_update][products]"
    if len(given) > MOST_PRODUCTS:
        raise StripeError(f"You can give at most {MOST_PRODUCTS} products.", param=at)
    made = []
    for n, entry in enumerate(given):
        product = sandbox.get(entry["product"], "product", param=f"{at}[{n}][product]", status=400)
        for i, id in enumerate(entry["prices"]):
            param = f"{at}[{n}][prices][{i}]"
            price = sandbox.store.get(id, "price")
            if price is None:
                raise missing("price", id, param=param, status=400)
            if price["product"] != product["id"]:
                raise StripeError(f"The price `{id}` does not belong to the product `{product['id']}`.", param=param)
            if price["type"] != "recurring":
                raise StripeError(f"The price `{id}` is not recurring.", param=param)
        quantity = {"enabled": False, "maximum": None, "minimum": 1, **(entry.get("adjustable_quantity") or {})}
        made.append({"adjustable_quantity": quantity, "prices": entry["prices"], "product": product["id"]})
    return made


def _login_page(sandbox: Sandbox, given: Object, id: str) -> Object:
    return {"enabled": given["enabled"], "url": f"{sandbox.url}/p/login/{id}" if given["enabled"] else None}


def _emptied(given: Object) -> Object:
    return {name: value or None for name, value in given.items()}


_PATH = "/billing_portal/configurations"
INCLUDES = {
    (TYPE, "features.subscription_update.products"): lambda _, c: c["features"]["subscription_update"]["_products"]
}
OPERATIONS = [
    operations.create(_PATH, params.billing_portal.ConfigurationCreateParams, create),
    operations.list_of(TYPE, _PATH, params.billing_portal.ConfigurationListParams),
    operations.retrieve(TYPE, _PATH, params.billing_portal.ConfigurationRetrieveParams),
    operations.Operation("POST", f"{_PATH}/{{id}}", params.billing_portal.ConfigurationUpdateParams, update),
]
