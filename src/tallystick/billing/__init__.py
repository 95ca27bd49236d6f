"""Billing: everything that has to do with Stripe, and the only room that imports its SDK."""

from tallystick.billing.billing import HANDLED_EVENTS, Billing
from tallystick.billing.checkout import StartedCheckout
from tallystick.billing.diagnosis import Finding, State
from tallystick.billing.differences import REPAIR, Difference
from tallystick.billing.doctor import Doctor
from tallystick.billing.errors import SetupStopped
from tallystick.billing.event_desk import EventStory
from tallystick.billing.event_records import StoredEvent
from tallystick.billing.inbox_table import EventStatus
from tallystick.billing.purchases import Purchase, PurchaseStatus
from tallystick.billing.reconciliation import PHASES, Watch
from tallystick.billing.refunds import AfterRefund, Refund, RefundQuote, RefundStatus
from tallystick.billing.refusals import Refused, hour_of
from tallystick.billing.report import Report
from tallystick.billing.setup import Setup, can_be_reached, writes
from tallystick.billing.setup_plan import Plan as SetupPlan
from tallystick.billing.setup_steps import Done
from tallystick.billing.stripe_api import (
    API_VERSION,
    EVENTS_KEPT_DAYS,
    LEAST_EVENTS_KEPT_DAYS,
    WEBHOOK_PATH,
    BillingSettings,
    StripeApi,
)
from tallystick.billing.subscription_table import Subscription

__all__ = [
    "API_VERSION",
    "EVENTS_KEPT_DAYS",
    "HANDLED_EVENTS",
    "LEAST_EVENTS_KEPT_DAYS",
    "PHASES",
    "REPAIR",
    "WEBHOOK_PATH",
    "AfterRefund",
    "Billing",
    "BillingSettings",
    "Difference",
    "Doctor",
    "Done",
    "EventStatus",
    "EventStory",
    "Finding",
    "Purchase",
    "PurchaseStatus",
    "Refund",
    "RefundQuote",
    "RefundStatus",
    "Refused",
    "Report",
    "Setup",
    "SetupPlan",
    "SetupStopped",
    "StartedCheckout",
    "State",
    "StoredEvent",
    "StripeApi",
    "Subscription",
    "Watch",
    "can_be_reached",
    "hour_of",
    "writes",
]
