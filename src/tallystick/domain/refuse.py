"""Refusals that several commands share."""

from datetime import datetime

from tallystick.domain.account import Account
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.errors import InsufficientCredits


def insufficient(
    account: Account, required: int, available: int, now: datetime, catalogue: Catalogue
) -> InsufficientCredits:
    """The refusal of a command that needs `required` credits, of which `available` could be had (S11)."""
    plan = catalogue.plan(account.plan)
    return InsufficientCredits(
        required=required,
        available=available,
        can_buy=plan is not None and plan.can_buy,
        resets_at=account.resets_at(now),
    )
