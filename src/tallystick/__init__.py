"""The credits layer for Python apps: monthly allowances, credit packs, and a ledger that proves every number.

These are the public names. `Tallystick` is the object a host application holds in its hand; it brings
the database drivers and Stripe with it, so it is loaded only when it is asked for.
"""

from typing import TYPE_CHECKING, Any

from tallystick.domain.account import Entry, EntryKind, GrantKind
from tallystick.domain.amounts import Money
from tallystick.domain.catalogue import Catalogue, Pack, Plan
from tallystick.domain.errors import (
    AlreadyReversed,
    HoldNotOpen,
    IdempotencyConflict,
    InsufficientCredits,
    InvalidAmount,
    InvalidInput,
    NotReversible,
    Refusal,
    TallystickError,
    Unavailable,
    UnknownAccount,
    UnknownEntry,
    UnknownPlan,
)

if TYPE_CHECKING:
    from tallystick.balance import Balance, Spent
    from tallystick.service import Tallystick

__all__ = [
    "AlreadyReversed",
    "Balance",
    "Catalogue",
    "Entry",
    "EntryKind",
    "GrantKind",
    "HoldNotOpen",
    "IdempotencyConflict",
    "InsufficientCredits",
    "InvalidAmount",
    "InvalidInput",
    "Money",
    "NotReversible",
    "Pack",
    "Plan",
    "Refusal",
    "Spent",
    "Tallystick",
    "TallystickError",
    "Unavailable",
    "UnknownAccount",
    "UnknownEntry",
    "UnknownPlan",
]


def __getattr__(name: str) -> Any:
    if name in {"Balance", "Spent", "Tallystick"}:
        from tallystick import service

        return getattr(service, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
