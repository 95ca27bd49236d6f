"""Objects in the shape of an earlier API version: what Stripe moved or renamed, put back where it was.

Only breaking changes count: keys that were added later are sent to everybody. Known are the two releases whose
changes people meet in webhooks: 2025-03-31 (basil) and 2026-03-25 (dahlia).
"""

import re
from collections.abc import Callable
from typing import Any

from stripe_sandbox.errors import StripeError
from stripe_sandbox.store import Object, Store, public

BASIL = "2025-03-31"
DAHLIA = "2026-03-25"

_FORM = re.compile(r"\d{4}-\d{2}-\d{2}(\.[a-z]+)?")
_UI_MODES = {"hosted_page": "hosted", "embedded_page": "embedded", "elements": "custom"}


def of_request(header: str | None, newest: str) -> str:
    """The version that a request is answered in: the one it names, or the newest there is.

    Raises StripeError for what is no version.
    """
    if header is None:
        return newest
    if not _FORM.fullmatch(header):
        raise StripeError(f"Invalid Stripe API version: {header}")
    return min(header, newest)


def event(store: Store, event: Object, version: str | None) -> Object:
    """An event whose object and previous attributes are in the shape of `version` (None: as they are)."""
    if version is None:
        return event
    body = event["data"]["object"]
    data = {**event["data"], "object": render(store, body, version)}
    previous = data.get("previous_attributes")
    if previous and body["object"] == "subscription" and version < BASIL and "items" in previous:
        data["previous_attributes"] = {**previous, **_periods(previous["items"])}
    return {**event, "api_version": version, "data": data}


def render(store: Store, value: Any, version: str) -> Any:
    """`value`, and every object inside it, in the shape of `version`."""
    if version >= DAHLIA:
        return value
    if isinstance(value, list):
        return [render(store, item, version) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("object")
    if kind == "event":
        # It stays as it was written, whoever asks for it.
        return value
    changed = {name: render(store, inner, version) for name, inner in value.items()}
    if kind == "checkout.session":
        changed["ui_mode"] = _UI_MODES.get(value["ui_mode"], value["ui_mode"])
    if version < BASIL and kind in _BEFORE_BASIL:
        # From the new shape: what was rendered inside it lacks what the old keys are made of.
        changed |= _BEFORE_BASIL[kind](store, value)
    for gone in _GONE.get(str(kind), ()) if version < BASIL else ():
        changed.pop(gone, None)
    return changed


def _subscription(_: Store, body: Object) -> Object:
    item = body["items"]["data"][0]
    return {
        **_periods(body["items"]),
        "discount": None,
        "plan": _plan(item["price"]),
        "quantity": item["quantity"],
    }


def _periods(items: Object) -> Object:
    first = items["data"][0]
    return {name: first[name] for name in ("current_period_start", "current_period_end")}


def _subscription_item(_: Store, body: Object) -> Object:
    return {"plan": _plan(body["price"])}


def _plan(price: Object) -> Object:
    recurring = price["recurring"]
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "aggregate_usage": None,
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": False,
        "metadata": price["metadata"],
        "meter": None,
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": recurring["usage_type"],
    }


def _invoice(store: Store, body: Object) -> Object:
    parent = (body["parent"] or {}).get("subscription_details") or {}
    payment = _payment(store, body["id"])
    intent = payment and store.get(payment["payment"]["payment_intent"], "payment_intent")
    taxes = body["total_taxes"]
    return {
        "application_fee_amount": None,
        "charge": intent["latest_charge"] if intent else None,
        "discount": None,
        "paid": body["status"] == "paid",
        "paid_out_of_band": False,
        "payment_intent": intent["id"] if intent else None,
        "quote": None,
        "subscription": parent.get("subscription"),
        "subscription_details": {"metadata": parent.get("metadata")},
        "tax": sum(tax["amount"] for tax in taxes) if taxes else None,
        "total_tax_amounts": [_tax_amount(tax) for tax in taxes],
        "transfer_data": None,
    }


def _payment(store: Store, invoice: str) -> Object | None:
    found = store.newest_first("invoice_payment", lambda p: bool(p["invoice"] == invoice and p["is_default"]))
    return found[0] if found else None


def _line(store: Store, body: Object) -> Object:
    parent = body["parent"] or {}
    details = parent.get("subscription_item_details") or parent.get("invoice_item_details") or {}
    pricing = (body["pricing"] or {}).get("price_details") or {}
    price = store.get(pricing["price"], "price") if pricing else None
    return {
        "plan": _plan(price) if price and price["recurring"] else None,
        "price": price and public(price),
        "proration": details.get("proration", False),
        "proration_details": details.get("proration_details"),
        "subscription": details.get("subscription"),
        "subscription_item": details.get("subscription_item"),
        "tax_amounts": [_tax_amount(tax) for tax in body["taxes"]],
        "tax_rates": [public(store.get(tax["tax_rate_details"]["tax_rate"], "tax_rate")) for tax in body["taxes"]],
        "type": "subscription" if "subscription_item" in details else "invoiceitem",
    }


def _tax_amount(tax: Object) -> Object:
    kept = {name: tax[name] for name in ("amount", "taxability_reason", "taxable_amount")}
    return {**kept, "inclusive": tax["tax_behavior"] == "inclusive", "tax_rate": tax["tax_rate_details"]["tax_rate"]}


def _billed(store: Store, body: Object) -> Object:
    """A charge or a payment intent: the invoice that it pays."""
    intent = body["id"] if body["object"] == "payment_intent" else body["payment_intent"]
    found = store.newest_first("invoice_payment", lambda p: bool(p["payment"].get("payment_intent") == intent))
    return {"invoice": found[0]["invoice"] if found else None}


_BEFORE_BASIL: dict[str, Callable[[Store, Object], Object]] = {
    "charge": _billed,
    "invoice": _invoice,
    "line_item": _line,
    "payment_intent": _billed,
    "subscription": _subscription,
    "subscription_item": _subscription_item,
}
_GONE = {
    "invoice": ("parent", "total_taxes"),
    "line_item": ("parent", "pricing", "taxes"),
    "subscription_item": ("current_period_start", "current_period_end"),
}
