"""How a payment intent is to be paid: what its parameters come to on the object, every key that Stripe sends."""

from stripe_sandbox.store import Object

_TAKEN_AS_GIVEN = (
    "capture_method",
    "confirmation_method",
    "description",
    "receipt_email",
    "setup_future_usage",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_group",
)
_ADDRESS = ("city", "country", "line1", "line2", "postal_code", "state")
_PARCEL = ("carrier", "name", "phone", "tracking_number")


def of(given: Object, intent: Object | None = None) -> Object:
    """The keys of an intent that `given` sets; `intent` is the one that is changed, None for a new one."""
    settings = {name: given[name] or None for name in _TAKEN_AS_GIVEN if name in given}
    if "automatic_payment_methods" in given or intent is None:
        wanted = given.get("automatic_payment_methods") or {"enabled": True}
        settings["automatic_payment_methods"] = (
            {"allow_redirects": "always"} | wanted if wanted["enabled"] else wanted
        )
    if "shipping" in given:
        settings["shipping"] = _shipping(given["shipping"]) if given["shipping"] else None
    options = (given.get("payment_method_options") or {}).get("card") or {}
    before = (intent or {}).get("payment_method_options") or {"card": CARD_OPTIONS}
    settings["payment_method_options"] = {**before, "card": {**before["card"], **_known(options)}}
    return settings


CARD_OPTIONS: Object = {
    "installments": None,
    "mandate_options": None,
    "network": None,
    "request_three_d_secure": "automatic",
}
"""What is said of cards when nothing was asked for."""


def _known(options: Object) -> Object:
    return {name: value for name, value in options.items() if name in (*CARD_OPTIONS, "setup_future_usage")}


def _shipping(given: Object) -> Object:
    address = given.get("address") or {}
    return {"address": {name: address.get(name) for name in _ADDRESS}, **{name: given.get(name) for name in _PARCEL}}
