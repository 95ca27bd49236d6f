"""The credits layer for Python apps: monthly allowances, credit packs, and a ledger that proves every number.

These are the public names. `Tallystick` is the object a host application holds in its hand; it brings
the database drivers and Stripe with it, so it is loaded only when it is asked for, and so is what belongs to it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tallystick.domain.account import Entry, EntryKind, GrantKind
from tallystick.domain.amounts import Money
from tallystick.domain.catalogue import Catalogue, Pack, Plan
from tallystick.domain.errors import (
    AlreadyReversed,
    BalanceTooLarge,
    EntryArchived,
    GrantExpired,
    HoldNotOpen,
    IdempotencyConflict,
    InsufficientCredits,
    InvalidAmount,
    InvalidInput,
    InvalidInstant,
    InvalidMoney,
    LedgerUnavailable,
    NotReversible,
    Overloaded,
    Refusal,
    TallystickError,
    TooManyHolds,
    Unavailable,
    UnknownAccount,
    UnknownEntry,
    UnknownPlan,
    WorkNotCharged,
)

if TYPE_CHECKING:
    from tallystick.balance import Balance, Spent
    from tallystick.billing.errors import (
        AlreadyOnPlan,
        NoCustomer,
        NothingToRefund,
        PlanNotForSale,
        PlanRequired,
        PriceMismatch,
        RefundConflict,
        RefundRejected,
        RefundTooLarge,
        StripeRejected,
        StripeUnavailable,
        UnknownPack,
        UnknownPurchase,
        WebhookRefused,
    )
    from tallystick.config import ConfigurationError
    from tallystick.database.engine import DatabaseUnavailable
    from tallystick.database.schema import CannotConnect, SchemaOutOfDate
    from tallystick.holding import HoldClosed
    from tallystick.ledger.errors import DistributionUnfinished, PlannerSettingsMissing
    from tallystick.loop_thread import ClosedMeanwhile
    from tallystick.service import BillingNotConfigured, NotOpen, Tallystick
    from tallystick.sync import OpenInParent

__all__ = [
    "AlreadyOnPlan",
    "AlreadyReversed",
    "Balance",
    "BalanceTooLarge",
    "BillingNotConfigured",
    "CannotConnect",
    "Catalogue",
    "ClosedMeanwhile",
    "ConfigurationError",
    "DatabaseUnavailable",
    "DistributionUnfinished",
    "Entry",
    "EntryArchived",
    "EntryKind",
    "GrantExpired",
    "GrantKind",
    "HoldClosed",
    "HoldNotOpen",
    "IdempotencyConflict",
    "InsufficientCredits",
    "InvalidAmount",
    "InvalidInput",
    "InvalidInstant",
    "InvalidMoney",
    "LedgerUnavailable",
    "Money",
    "NoCustomer",
    "NotOpen",
    "NotReversible",
    "NothingToRefund",
    "OpenInParent",
    "Overloaded",
    "Pack",
    "Plan",
    "PlanNotForSale",
    "PlanRequired",
    "PlannerSettingsMissing",
    "PriceMismatch",
    "RefundConflict",
    "RefundRejected",
    "RefundTooLarge",
    "Refusal",
    "SchemaOutOfDate",
    "Spent",
    "StripeRejected",
    "StripeUnavailable",
    "Tallystick",
    "TallystickError",
    "TooManyHolds",
    "Unavailable",
    "UnknownAccount",
    "UnknownEntry",
    "UnknownPack",
    "UnknownPlan",
    "UnknownPurchase",
    "WebhookRefused",
    "WorkNotCharged",
]

_LATER = {
    "AlreadyOnPlan": "tallystick.billing.errors",
    "Balance": "tallystick.balance",
    "BillingNotConfigured": "tallystick.service",
    "CannotConnect": "tallystick.database.schema",
    "ClosedMeanwhile": "tallystick.loop_thread",
    "ConfigurationError": "tallystick.config",
    "DatabaseUnavailable": "tallystick.database.engine",
    "DistributionUnfinished": "tallystick.ledger.errors",
    "HoldClosed": "tallystick.holding",
    "NoCustomer": "tallystick.billing.errors",
    "NotOpen": "tallystick.service",
    "NothingToRefund": "tallystick.billing.errors",
    "OpenInParent": "tallystick.sync",
    "PlanNotForSale": "tallystick.billing.errors",
    "PlanRequired": "tallystick.billing.errors",
    "PlannerSettingsMissing": "tallystick.ledger.errors",
    "PriceMismatch": "tallystick.billing.errors",
    "RefundConflict": "tallystick.billing.errors",
    "RefundRejected": "tallystick.billing.errors",
    "RefundTooLarge": "tallystick.billing.errors",
    "SchemaOutOfDate": "tallystick.database.schema",
    "Spent": "tallystick.balance",
    "StripeRejected": "tallystick.billing.errors",
    "StripeUnavailable": "tallystick.billing.errors",
    "Tallystick": "tallystick.service",
    "UnknownPack": "tallystick.billing.errors",
    "UnknownPurchase": "tallystick.billing.errors",
    "WebhookRefused": "tallystick.billing.errors",
}
"""Where the names are that are loaded when they are asked for."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
