"""Refusals that several commands share."""

from datetime import datetime

from tallystick.domain.account import Account, GrantKind
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.errors import InsufficientCredits


def insufficient(
    account: Account, required: int, available: int, now: datetime, catalogue: Catalogue
) -> InsufficientCredits:
    """The refusal of a command that needs `required` credits, of which `available` could be had (S11)."""
    plan = catalogue.plan(account.plan)
    can_buy = plan is not None and plan.can_buy
    resets_at = account.resets_at(now)
    own = 0 if plan is None else plan.allowance

    def bonus(until: datetime) -> int:
        kept = [g for g in account.grants if g.expires_at is None or g.expires_at > until]
        return sum(grant.free for grant in kept if grant.kind is not GrantKind.ALLOWANCE)

    ways = ["buy bonus credits"] if can_buy else []
    # What a hold has set aside is not counted: it is over by then, or it is no more than it is now.
    if resets_at is not None and own + bonus(resets_at) >= required:
        ways.append(f"wait for the next allowance at {resets_at.isoformat()}")
    others = [] if can_buy else [other for other in catalogue.plans if other is not plan]
    if any(other.allowance > own and other.allowance + bonus(now) >= required for other in others):
        ways.append("move to a plan with more credits")
    elif any(other.can_buy for other in others):
        ways.append("move to a plan that can buy bonus credits")
    return InsufficientCredits(
        required=required, available=available, can_buy=can_buy, resets_at=resets_at, ways=ways
    )
