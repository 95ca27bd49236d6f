"""What Stripe shows of a subscription, as it is kept here. Pure."""

from typing import Any

from tallystick.billing.reading import Schedule, period_end_of
from tallystick.billing.story import Change
from tallystick.billing.subscription_table import Subscription
from tallystick.billing.told import instant
from tallystick.domain.catalogue import Plan


def seen_at_stripe(
    fetched: dict[str, Any],
    item: dict[str, Any],
    account_id: str,
    plan: Plan,
    price: str | None,
    planned: Schedule | None,
    change: Change | None,
) -> Subscription:
    """A subscription of an account: what it is now, of which `item` is for the plan, and what is planned for it."""
    ends = period_end_of(fetched, item)
    period_end = None if ends is None else instant(ends)
    # While a schedule has it, that says when it ends: `cancel_at` may only be where one phase becomes the next.
    decided = fetched.get("ended_at") or (fetched.get("cancel_at") if planned is None else planned.ends)
    trial_end = fetched.get("trial_end") if fetched["status"] == "trialing" else None
    return Subscription(
        id=fetched["id"],
        account_id=account_id,
        plan=plan.name,
        status=fetched["status"],
        cancel_at_period_end=fetched["cancel_at_period_end"],
        period_end=period_end,
        stripe_customer_id=fetched["customer"],
        stripe_price=price,
        started_at=instant(fetched["created"]),
        ends_at=instant(decided) if decided else (period_end if fetched["cancel_at_period_end"] else None),
        trial_end=None if trial_end is None else instant(trial_end),
        collection_paused=fetched.get("pause_collection") is not None,
        changes_at=None if change is None else instant(change.at),
        next_plan=None if change is None else change.plan.name,
        next_price=None if change is None else change.price,
    )
