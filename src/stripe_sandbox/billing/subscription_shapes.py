"""Objects of a subscription, complete: every key that Stripe sends."""

from stripe_sandbox.ids import new_id
from stripe_sandbox.shapes import list_of
from stripe_sandbox.store import Object


def item(
    created: int,
    subscription: str,
    price: Object,
    quantity: int,
    period: tuple[int, int],
    metadata: Object,
    tax_rates: list[Object],
) -> Object:
    """One price of a subscription, in its current period."""
    return {
        "id": new_id("si"),
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": created,
        "current_period_end": period[1],
        "current_period_start": period[0],
        "discounts": [],
        "metadata": metadata,
        "price": price,
        "quantity": quantity,
        "subscription": subscription,
        "tax_rates": tax_rates,
    }


def items(subscription: str, data: list[Object]) -> Object:
    """The list of a subscription's items."""
    return list_of(data, f"/v1/subscription_items?subscription={subscription}")


def subscription(id: str, created: int, customer: Object, data: list[Object], given: Object) -> Object:
    """A subscription to the items in `data`, from the parameters of its creation; it has no invoice yet."""
    payment = given.get("payment_settings") or {}
    trial = (given.get("trial_settings") or {}).get("end_behavior") or {}
    taxed = bool((given.get("automatic_tax") or {}).get("enabled"))
    return {
        "id": id,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": taxed,
            "liability": {"type": "self"} if taxed else None,
        },
        "billing_cycle_anchor": created,
        "billing_cycle_anchor_config": None,
        "billing_mode": {
            "flexible": {"proration_discounts": "included"},
            "type": "flexible",
            "updated_at": created,
        },
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": created,
        "currency": data[0]["price"]["currency"],
        "customer": customer["id"],
        "customer_account": None,
        "days_until_due": None,
        "default_payment_method": given.get("default_payment_method"),
        "default_source": None,
        "default_tax_rates": [],
        "description": given.get("description"),
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": items(id, data),
        "latest_invoice": None,
        "livemode": False,
        "managed_payments": {"enabled": False},
        "metadata": given.get("metadata") or {},
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": payment.get("save_default_payment_method", "off"),
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": created,
        "status": "incomplete",
        "test_clock": customer["test_clock"],
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": {
            "end_behavior": {"missing_payment_method": trial.get("missing_payment_method", "create_invoice")}
        },
        "trial_start": None,
    }
