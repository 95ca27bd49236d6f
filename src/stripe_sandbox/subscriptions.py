"""Subscriptions and their invoices: begun by a checkout, renewed when the clock passes a period's end."""

from typing import Any

from stripe import params

from stripe_sandbox import operations, payments, subscription_shapes
from stripe_sandbox.calendar import plus_intervals
from stripe_sandbox.errors import StripeError
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object


def begin(
    sandbox: Sandbox, session: Object, customer: Object, intent: Object, method: Object
) -> tuple[Object, Object]:
    """A subscription for a checkout session, and its first invoice, paid by `intent` with `method`."""
    now = sandbox.now()
    line = session["_line_items"][0]
    price = line["price"]
    recurring = price["recurring"]
    subscription = subscription_shapes.subscription(
        now,
        customer["id"],
        price,
        line["quantity"],
        plus_intervals(now, recurring["interval"], recurring["interval_count"]),
        session["_subscription_metadata"],
    )
    subscription["default_payment_method"] = method["id"]
    sandbox.store.put(subscription)
    return subscription, _bill(sandbox, subscription, "subscription_create", intent=intent)


def renew_due(sandbox: Sandbox) -> None:
    """Renew, or end, every subscription whose period is over."""
    now = sandbox.now()
    for subscription in sandbox.store.newest_first("subscription", lambda s: bool(s["status"] == "active")):
        while subscription["status"] == "active" and _item(subscription)["current_period_end"] <= now:
            if subscription["cancel_at_period_end"]:
                subscription = cancel(sandbox, subscription)
            else:
                subscription = _renew(sandbox, subscription)


def cancel(sandbox: Sandbox, subscription: Object) -> Object:
    """End it now."""
    now = sandbox.now()
    cancelled = {
        **subscription,
        "status": "canceled",
        "canceled_at": subscription["canceled_at"] or now,
        "ended_at": now,
        "cancellation_details": {**subscription["cancellation_details"], "reason": "cancellation_requested"},
    }
    sandbox.store.put(cancelled)
    sandbox.emit("customer.subscription.deleted", cancelled)
    return cancelled


def update(sandbox: Sandbox, subscription: Object, given: Object) -> Object:
    """Change metadata, or whether it ends with its period."""
    changes: Object = {}
    if "metadata" in given:
        changes["metadata"] = {**subscription["metadata"], **(given["metadata"] or {})}
    if "cancel_at_period_end" in given:
        ends = given["cancel_at_period_end"]
        changes |= {
            "cancel_at_period_end": ends,
            "cancel_at": _item(subscription)["current_period_end"] if ends else None,
            "canceled_at": sandbox.now() if ends else None,
        }
    return sandbox.changed("customer.subscription.updated", subscription, **changes)


def _item(subscription: Object) -> Object:
    item: Object = subscription["items"]["data"][0]
    return item


def _renew(sandbox: Sandbox, subscription: Object) -> Object:
    before = subscription["items"]
    item = dict(_item(subscription))
    recurring = item["price"]["recurring"]
    periods = subscription["_periods"] + 1
    item["current_period_start"] = item["current_period_end"]
    item["current_period_end"] = plus_intervals(
        subscription["billing_cycle_anchor"], recurring["interval"], periods * recurring["interval_count"]
    )
    subscription = {**subscription, "items": {**before, "data": [item]}, "_periods": periods}
    sandbox.store.put(subscription)
    _bill(sandbox, subscription, "subscription_cycle", before=before)
    return sandbox.get(subscription["id"], "subscription")


def _bill(
    sandbox: Sandbox,
    subscription: Object,
    reason: str,
    *,
    intent: Object | None = None,
    before: Object | None = None,
) -> Object:
    """Make the invoice for the current period and pay it with the subscription's payment method.

    `intent` is the payment that the buyer began at the checkout; `before` the items before a renewal.
    """
    now = sandbox.now()
    customer = sandbox.get(subscription["customer"], "customer")
    product = sandbox.get(_item(subscription)["price"]["product"], "product")
    description = f"{_item(subscription)['quantity']} × {product['name']}"
    invoice = subscription_shapes.invoice(now, subscription, customer, reason, description)
    sandbox.store.put({**customer, "next_invoice_sequence": customer["next_invoice_sequence"] + 1})
    previous_invoice = subscription["latest_invoice"]
    subscription = {**subscription, "latest_invoice": invoice["id"]}
    sandbox.store.put(subscription)
    if before is None:
        sandbox.emit("customer.subscription.created", subscription)
    else:
        sandbox.emit(
            "customer.subscription.updated", subscription, {"items": before, "latest_invoice": previous_invoice}
        )
    sandbox.emit("invoice.created", invoice)
    invoice |= {
        "status": "open",
        "auto_advance": False,
        "status_transitions": {**invoice["status_transitions"], "finalized_at": now},
    }
    sandbox.emit("invoice.finalized", invoice)
    if invoice["amount_due"]:
        method = sandbox.get(subscription["default_payment_method"], "payment_method")
        if intent is None:
            intent = payments.new_intent(sandbox, invoice["amount_due"], invoice["currency"], customer["id"], {})
        intent = payments.succeed(sandbox, intent, method)
        sandbox.store.put(subscription_shapes.invoice_payment(now, invoice, intent))
    invoice |= {
        "status": "paid",
        "amount_paid": invoice["amount_due"],
        "amount_remaining": 0,
        "attempt_count": 1,
        "attempted": True,
        "status_transitions": {**invoice["status_transitions"], "paid_at": now},
    }
    sandbox.store.put(invoice)
    sandbox.emit("invoice.paid", invoice)
    sandbox.emit("invoice.payment_succeeded", invoice)
    return invoice


def _update_by_id(sandbox: Sandbox, id: str, given: Object) -> Object:
    unknown = set(given) - {"metadata", "cancel_at_period_end"}
    if unknown:
        raise StripeError(f"The sandbox cannot change {', '.join(sorted(unknown))} of a subscription yet.")
    return update(sandbox, sandbox.get(id, "subscription"), given)


def _cancel_by_id(sandbox: Sandbox, id: str, _: Object) -> Object:
    found = sandbox.get(id, "subscription")
    if found["status"] == "canceled":
        raise StripeError(f"No such subscription: '{id}'", status=404, code="resource_missing", param="id")
    return cancel(sandbox, found)


def _has_status(subscription: Object, wanted: Any) -> bool:
    if wanted == "ended":
        return bool(subscription["status"] == "canceled")
    return bool(wanted == "all" or subscription["status"] in ([wanted] if isinstance(wanted, str) else wanted))


OPERATIONS = [
    operations.list_of(
        "subscription",
        "/subscriptions",
        params.SubscriptionListParams,
        {"status": _has_status},
        defaults={"status": ["active", "past_due", "trialing", "unpaid"]},
    ),
    operations.retrieve("subscription", "/subscriptions", params.SubscriptionRetrieveParams),
    operations.Operation("POST", "/subscriptions/{id}", params.SubscriptionUpdateParams, _update_by_id),
    operations.Operation("DELETE", "/subscriptions/{id}", params.SubscriptionCancelParams, _cancel_by_id),
    operations.list_of(
        "invoice",
        "/invoices",
        params.InvoiceListParams,
        {"subscription": lambda i, wanted: i["parent"]["subscription_details"]["subscription"] == wanted},
    ),
    operations.retrieve("invoice", "/invoices", params.InvoiceRetrieveParams),
    operations.list_of(
        "invoice_payment",
        "/invoice_payments",
        params.InvoicePaymentListParams,
        {"payment": lambda p, wanted: p["payment"]["payment_intent"] == wanted.get("payment_intent")},
    ),
    operations.retrieve("invoice_payment", "/invoice_payments", params.InvoicePaymentRetrieveParams),
]
