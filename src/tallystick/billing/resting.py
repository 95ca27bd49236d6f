"""What a time in which a subscription rested makes of what it does to its account (S16, S27). Pure."""

from dataclasses import replace
from datetime import datetime

from tallystick.billing.rests import Rest
from tallystick.billing.told import Told, instant, only_prolongs
from tallystick.domain.catalogue import Plan
from tallystick.domain.commands import RenewAllowance, SetPlan
from tallystick.domain.periods import Period


def resting(told: list[Told], rest: Rest, until: datetime, first: Plan) -> list[Told]:
    """The same, where the month in which a rest is over, or `until` lies when it is not, has begun within that rest.

    It began as the first plan's. What was changed before it went on counts from then, not from when it was changed.
    """
    went_on = rest.ended
    found = _month_within(told, rest.began, went_on or until)
    if found is None:
        return told
    paid, month = found
    if month.start == went_on:
        return told
    name = f"{paid.reference}:{rest.began.timestamp():.0f}"
    month_end = int(month.end.timestamp())
    begins = SetPlan(
        account_id=paid.account_id,
        key=f"rest:{name}:{went_on.timestamp():.0f}" if went_on is not None else f"rest:{name}",
        plan=first.name,
        since=rest.began,
        rests=True,
        reason="Subscription rested",
        reference=paid.reference,
    )
    at = went_on or month.start
    before = [t for t in told if isinstance(t.command, RenewAllowance) and t.happened <= at]
    # What was changed in the second in which it went on was changed after that.
    after = [t for t in told if t.happened > at or (t.happened == at and isinstance(t.command, SetPlan))]
    between = [Told(int(at.timestamp()), month_end, begins, Rest(rest.began, went_on))]
    if went_on is None:
        return [*before, *between, *(t for t in after if isinstance(t.command, RenewAllowance))]
    plan = next(
        (t.command.plan for t in reversed(told) if t.happened < at and not only_prolongs(t.command)), paid.plan
    )
    goes_on = SetPlan(
        account_id=paid.account_id,
        key=f"rested:{name}:{went_on.timestamp():.0f}",
        plan=plan,
        since=went_on,
        reason="Subscription went on",
        reference=paid.reference,
    )
    between.append(Told(int(at.timestamp()), int(paid.period.end.timestamp()), goes_on))
    return [*before, *between, *(_once_more(t, f"rested:{rest.began.timestamp():.0f}", month.end) for t in after)]


def _once_more(told: Told, after: str, until: datetime) -> Told:
    """A change as it counts once more when what it follows is heard after it, for as long as that matters."""
    if isinstance(told.command, RenewAllowance) or told.happened >= until:
        return told
    return replace(told, command=replace(told.command, key=f"{told.command.key}:{after}"))


def _month_within(told: list[Told], began: datetime, over: datetime) -> tuple[RenewAllowance, Period] | None:
    """The month that runs at `over` and has begun since `began` without being paid for since, and what paid for it."""
    payments = [
        (instant(max(t.at, t.paid_at or t.at)), t.command)
        for t in told
        if isinstance(t.command, RenewAllowance) and t.happened <= over
    ]
    if any(at > began and not payment.prolongs for at, payment in payments):
        return None
    before = [payment for at, payment in payments if at <= began]
    while before and before[-1].follows is not None and over < before[-1].follows:
        before.pop()
    if not before or over not in before[-1].period:
        return None
    paid = before[-1]
    month = paid.month_at(over)
    if paid.follows is not None and paid.follows in month:
        month = Period(paid.follows, month.end)
    return (paid, month) if month.start > began else None
