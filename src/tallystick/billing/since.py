"""From when a change of an account's plan counts to which a look at its subscription has led (S16, S27). Pure."""

from datetime import datetime, timedelta

from tallystick.billing.looks import Look
from tallystick.billing.story import Story
from tallystick.billing.subscription_table import ENDED, Subscription
from tallystick.billing.told import Told
from tallystick.domain.account import Account
from tallystick.domain.commands import RenewAllowance


def carried_since(account: Account, carrier: Subscription, story: Story | None, now: datetime) -> datetime | None:
    """From when a change to the carrier's plan counts, however late it is heard (S27).

    None where it counts from now on: a change within a paid time says itself since when (S17). A month that began in
    time that the carrier had paid for, as its `story` tells, is not there by right, also where both began at once.
    """
    month = account.allowance
    if month is not None and month.is_paid_at(now):
        return None
    if month is not None and story is not None and has_paid_at(month.period.start, story.told):
        return month.period.start - timedelta.resolution
    return carrier.started_at


def has_paid_at(at: datetime, told: tuple[Told, ...]) -> bool:
    """Whether something that is told has paid for that instant."""
    return any(at in payment.period for payment in _payments(told))


def _payments(told: tuple[Told, ...]) -> list[RenewAllowance]:
    return [each.command for each in told if isinstance(each.command, RenewAllowance)]


def left_since(account: Account, look: Look, subscriptions: list[Subscription]) -> datetime | None:
    """Since when none of its subscriptions carries an account: since the last of them ended.

    A month that one paid for is over by right with that one, also where another has come and gone since.
    """
    paid = None if account.allowance is None else account.allowance.paid
    of_this_one = paid is not None and any(each.period.start == paid.start for each in _payments(look.story.told))
    if of_this_one and look.seen.status in ENDED and look.seen.ends_at is not None:
        return look.seen.ends_at
    ends = [each.ends_at for each in subscriptions if each.status in ENDED and each.ends_at is not None]
    return max(ends, default=None)
