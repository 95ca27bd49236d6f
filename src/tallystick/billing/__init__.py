"""Billing: everything that has to do with Stripe, and the only room that imports its SDK."""

from tallystick.billing.billing import HANDLED_EVENTS, Billing
from tallystick.billing.checkout import StartedCheckout
from tallystick.billing.differences import Difference
from tallystick.billing.inbox_table import EventStatus, StoredEvent
from tallystick.billing.purchases import Purchase, PurchaseStatus
from tallystick.billing.refunds import Refund, RefundQuote, RefundStatus
from tallystick.billing.report import Report
from tallystick.billing.stripe_api import BillingSettings
from tallystick.billing.subscription_table import Subscription

__all__ = [
    "HANDLED_EVENTS",
    "Billing",
    "BillingSettings",
    "Difference",
    "EventStatus",
    "Purchase",
    "PurchaseStatus",
    "Refund",
    "RefundQuote",
    "RefundStatus",
    "Report",
    "StartedCheckout",
    "StoredEvent",
    "Subscription",
]
