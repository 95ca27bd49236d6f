"""Refusals that several commands share."""

from datetime import datetime

from tallystick.domain.account import Account, GrantKind
from tallystick.domain.catalogue import Catalogue, Plan
from tallystick.domain.errors import InsufficientCredits


def insufficient(
    account: Account, required: int, available: int, now: datetime, catalogue: Catalogue
) -> InsufficientCredits:
    """The refusal of a command that needs `required` credits, of which `available` could be had (S11)."""
    plan = catalogue.plan(account.plan)
    can_buy = plan is not None and plan.can_buy
    resets_at = account.resets_at(now)
    monthly = sum(grant.free for grant in account.grants if grant.kind is GrantKind.ALLOWANCE)
    beside = available - monthly

    def is_enough(plan: Plan | None) -> bool:
        return plan is not None and beside + plan.allowance >= required

    ways = ["buy bonus credits"] if can_buy else []
    if resets_at is not None and is_enough(plan):
        ways.append(f"wait for the next allowance at {resets_at.isoformat()}")
    own = 0 if plan is None else plan.allowance
    if not can_buy and any(is_enough(other) and other.allowance > own for other in catalogue.plans):
        ways.append("move to a plan with more credits")
    return InsufficientCredits(
        required=required, available=available, can_buy=can_buy, resets_at=resets_at, ways=ways
    )
