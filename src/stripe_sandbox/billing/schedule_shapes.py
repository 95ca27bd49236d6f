"""Objects of a subscription schedule, complete: every key that Stripe sends."""

from collections.abc import Sequence

from stripe_sandbox.ids import new_id
from stripe_sandbox.store import Object

AFTER_SUBSCRIPTION = 2
"""Whose turn it is at a period's end: the subscription renews first, then its schedule goes on."""


def schedule(created: int, subscription: Object, first: Object) -> Object:
    """A schedule that has one phase: what `subscription` is now."""
    return {
        "id": new_id("sub_sched"),
        "object": "subscription_schedule",
        "application": None,
        "billing_mode": subscription["billing_mode"],
        "canceled_at": None,
        "completed_at": None,
        "created": created,
        "current_phase": span(first),
        "customer": subscription["customer"],
        "customer_account": None,
        "default_settings": {
            "application_fee_percent": None,
            "automatic_tax": {
                "disabled_reason": None,
                "enabled": subscription["automatic_tax"]["enabled"],
                "liability": subscription["automatic_tax"]["liability"],
            },
            "billing_cycle_anchor": "automatic",
            "billing_thresholds": None,
            "collection_method": subscription["collection_method"],
            "default_payment_method": subscription["default_payment_method"],
            "description": subscription["description"],
            "invoice_settings": {
                "account_tax_ids": None,
                "custom_fields": None,
                "days_until_due": None,
                "description": None,
                "footer": None,
                "issuer": {"type": "self"},
            },
            "on_behalf_of": None,
            "transfer_data": None,
        },
        "end_behavior": "release",
        "livemode": False,
        "metadata": {},
        "phases": [first],
        "released_at": None,
        "released_subscription": None,
        "status": "active",
        "subscription": subscription["id"],
        "test_clock": subscription["test_clock"],
        "_due": first["end_date"],
        "_turn": AFTER_SUBSCRIPTION,
    }


def phase(start: int, end: int, currency: str, items: Sequence[tuple[str, int]], given: Object) -> Object:
    """A phase with those prices and quantities, from the parameters for it."""
    return {
        "add_invoice_items": [],
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": given.get("billing_cycle_anchor"),
        "billing_thresholds": None,
        "collection_method": given.get("collection_method"),
        "currency": currency,
        "default_payment_method": given.get("default_payment_method"),
        "default_tax_rates": [],
        "description": given.get("description"),
        "discounts": [],
        "end_date": end,
        "invoice_settings": None,
        "items": [_item(price, quantity) for price, quantity in items],
        "metadata": given.get("metadata") or {},
        "on_behalf_of": None,
        "proration_behavior": given.get("proration_behavior", "create_prorations"),
        "start_date": start,
        "transfer_data": None,
        "trial_end": given.get("trial_end"),
    }


def span(phase: Object) -> Object:
    """When a phase is, as a schedule says it of its current one."""
    return {"end_date": phase["end_date"], "start_date": phase["start_date"]}


def _item(price: str, quantity: int) -> Object:
    return {
        "billing_thresholds": None,
        "discounts": [],
        "metadata": {},
        "plan": price,
        "price": price,
        "quantity": quantity,
        "tax_rates": [],
    }
