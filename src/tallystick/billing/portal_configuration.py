"""What Stripe's customer portal offers, made from the catalogue. Pure.

Stripe keeps it as a configuration; ours is found again by a mark in its metadata, which says what it was made from.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MARK = "tallystick_portal"
"""The metadata by which our configuration is found again; its value says what it was made from."""


def portal_configuration(sold: Mapping[str, Sequence[str]], return_url: str) -> dict[str, Any]:
    """The parameters of our configuration. `sold` has, by product, the prices that a subscription may change to."""
    update: dict[str, Any] = {"enabled": bool(sold)}
    if sold:
        update |= {
            "default_allowed_updates": ["price"],
            "products": [{"product": product, "prices": list(prices)} for product, prices in sold.items()],
            # An upgrade is paid at once; what is less waits for the end of what was paid for (S17).
            "proration_behavior": "always_invoice",
            "schedule_at_period_end": {
                "conditions": [{"type": "decreasing_item_amount"}, {"type": "shortening_interval"}]
            },
        }
    wanted = {
        "default_return_url": return_url,
        "features": {
            # Not the e-mail: that one is changed where the customer signs in, and follows from there.
            "customer_update": {"enabled": True, "allowed_updates": ["address", "name", "phone", "tax_id"]},
            "invoice_history": {"enabled": True},
            "payment_method_update": {"enabled": True},
            "subscription_cancel": {"enabled": True, "mode": "at_period_end"},
            "subscription_update": update,
        },
    }
    fingerprint = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:32]
    return {**wanted, "metadata": {MARK: fingerprint}}


def ours(configurations: Iterable[Mapping[str, Any]], wanted: Mapping[str, Any]) -> tuple[str | None, bool]:
    """The id of our configuration among those in use, None if there is none; and whether it is as wanted."""
    marked = [found for found in configurations if MARK in (found.get("metadata") or {})]
    for found in marked:
        if found["metadata"][MARK] == wanted["metadata"][MARK]:
            return str(found["id"]), True
    return (str(marked[0]["id"]), False) if marked else (None, False)
