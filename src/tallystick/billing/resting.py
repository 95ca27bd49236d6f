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
    Any other month has not changed by the rest; that it has gone on since is told of it for the months after.
    """
    went_on = rest.ended
    found = _month_at(told, rest.began, went_on or until)
    if found is None:
        return told
    paid, month = found
    name = f"{paid.reference}:{rest.began.timestamp():.0f}"
    within = rest.began < month.start != went_on
    if went_on is None:
        return _begun(told, _rest(paid, month, rest, first, name), month.start) if within else told
    plan = next(
        (t.command.plan for t in reversed(told) if t.happened < went_on and not only_prolongs(t.command)), paid.plan
    )
    goes_on = SetPlan(
        account_id=paid.account_id,
        key=f"rested:{name}:{went_on.timestamp():.0f}",
        plan=plan,
        since=went_on,
        reason="Subscription went on",
        reference=paid.reference,
    )
    going_on = Told(int(went_on.timestamp()), int(paid.period.end.timestamp()), goes_on)
    # What was changed in the second in which it went on was changed after that.
    after = [t for t in told if t.happened > went_on or (t.happened == went_on and isinstance(t.command, SetPlan))]
    if not within:
        return [*(t for t in told if t not in after), going_on, *after]
    before = [t for t in told if isinstance(t.command, RenewAllowance) and t.happened <= went_on]
    again = [_once_more(t, f"rested:{rest.began.timestamp():.0f}", month.end) for t in after]
    return [*before, _rest(paid, month, rest, first, name), going_on, *again]


def _begun(told: list[Told], begins: Told, at: datetime) -> list[Told]:
    """The same, with a rest that goes on: what is changed meanwhile counts when it is over."""
    payments = [t for t in told if isinstance(t.command, RenewAllowance)]
    return [*(t for t in payments if t.happened <= at), begins, *(t for t in payments if t.happened > at)]


def _rest(paid: RenewAllowance, month: Period, rest: Rest, first: Plan, name: str) -> Told:
    at = rest.ended or month.start
    begins = SetPlan(
        account_id=paid.account_id,
        key=f"rest:{name}:{at.timestamp():.0f}" if rest.ended is not None else f"rest:{name}",
        plan=first.name,
        since=rest.began,
        rests=True,
        reason="Subscription rested",
        reference=paid.reference,
    )
    return Told(int(at.timestamp()), int(month.end.timestamp()), begins, rest)


def _once_more(told: Told, after: str, until: datetime) -> Told:
    """A change as it counts once more when what it follows is heard after it, for as long as that matters."""
    if isinstance(told.command, RenewAllowance) or told.happened >= until:
        return told
    return replace(told, command=replace(told.command, key=f"{told.command.key}:{after}"))


def _month_at(told: list[Told], began: datetime, over: datetime) -> tuple[RenewAllowance, Period] | None:
    """The month that runs at `over`, and what paid for it; None where that was paid for since `began`, or by nothing."""
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
    return paid, month
