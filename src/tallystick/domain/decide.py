"""The heart: what a command does to an account. The only place where credits move.

Pure: the account, the command, the instant and the catalogue are given, the result is returned. The
same function serves both databases, the property tests and the simulator; carrying its answers to a
database is the ledger's business.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from tallystick.domain.account import Account, Allowance, Entry, EntryKind, Grant
from tallystick.domain.amounts import MAX_BALANCE
from tallystick.domain.archiving import checkpoint
from tallystick.domain.catalogue import Catalogue, Plan
from tallystick.domain.commands import (
    Archive,
    Capture,
    ClawBack,
    Command,
    ExtendHold,
    GrantBonus,
    OpenAccount,
    PlaceHold,
    Release,
    Remove,
    RenewAllowance,
    Reverse,
    SetPlan,
    Settle,
    Spend,
)
from tallystick.domain.errors import (
    AccountExists,
    BalanceTooLarge,
    GrantExpired,
    Refusal,
    UnknownAccount,
    UnknownPlan,
)
from tallystick.domain.holds import capture, extend_hold, place_hold, release
from tallystick.domain.lots import burn
from tallystick.domain.periods import Period, add_months, period_containing, share
from tallystick.domain.record import blank, record
from tallystick.domain.refuse import insufficient
from tallystick.domain.settle import (
    Decision,
    allowance_grant,
    open_allowance,
    repay_from,
    replace_allowance,
    settle,
    settle_after,
)
from tallystick.domain.taking_back import NO_PAST, Past, claw_back, reverse

_SHORTEST_MONTH = timedelta(days=28)


def decide(
    account: Account | None, command: Command, now: datetime, catalogue: Catalogue, past: Past = NO_PAST
) -> Decision | Refusal:
    """Settle what time has done, then apply `command`, or refuse it.

    `account` is None when it has not been opened; `past` is what a Reverse or ClawBack refers to. A keyed
    command that is accepted leaves exactly one entry that carries its key; Settle leaves none when nothing
    was due. A refusal changes nothing, not even what time has done: that is settled again by whoever comes
    next (S8).
    """
    if isinstance(command, OpenAccount):
        return _open_account(account, command, now, catalogue)
    if account is None:
        return UnknownAccount(command.account_id)
    settled = settle(account, now, catalogue)
    account = settled.account
    match command:
        case Spend():
            outcome = _spend(account, command, now, catalogue)
        case PlaceHold():
            outcome = place_hold(account, command, now, catalogue)
        case ExtendHold():
            outcome = extend_hold(account, command, now, catalogue)
        case Capture():
            outcome = capture(account, command, now, catalogue)
        case Release():
            outcome = release(account, command, now, catalogue)
        case Reverse():
            outcome = reverse(account, command, now, catalogue, past)
        case GrantBonus():
            outcome = _grant_bonus(account, command, now)
        case Remove():
            outcome = _remove(account, command, now, catalogue)
        case ClawBack():
            outcome = claw_back(account, command, now, catalogue, past)
        case RenewAllowance():
            outcome = _renew_allowance(account, command, now, catalogue)
        case SetPlan():
            outcome = _set_plan(account, command, now, catalogue)
        case Archive():
            outcome = checkpoint(account, command, now)
        case Settle():
            return settled
    if isinstance(outcome, Refusal) or not settled.entries:
        return outcome
    return Decision(outcome.account, (*settled.entries, *outcome.entries))


def _spend(account: Account, command: Spend, now: datetime, catalogue: Catalogue) -> Decision | Refusal:
    if command.amount > account.available:
        return insufficient(account, command.amount, account.available, now, catalogue)
    account, entry = record(
        account,
        EntryKind.SPENT,
        effective_at=now,
        recorded_at=now,
        key=command.key,
        request=command.request,
        lots=burn(account.grants, command.amount),
        reason=command.operation,
    )
    return Decision(account, (entry,))


def _remove(account: Account, command: Remove, now: datetime, catalogue: Catalogue) -> Decision | Refusal:
    if command.amount > account.available:
        return insufficient(account, command.amount, account.available, now, catalogue)
    account, entry = record(
        account,
        EntryKind.REMOVED,
        effective_at=now,
        recorded_at=now,
        key=command.key,
        request=command.request,
        lots=burn(account.grants, command.amount),
        reason=command.reason,
    )
    return Decision(account, (entry,))


def _grant_bonus(account: Account, command: GrantBonus, now: datetime) -> Decision | Refusal:
    if command.expires_at is not None and command.expires_at <= now:
        return GrantExpired(command.expires_at)
    held = account.monthly + account.bonus + sum(s.grant.remaining for s in account.scheduled)
    if held + command.credits > MAX_BALANCE:
        return BalanceTooLarge(account.id, MAX_BALANCE)
    effective_at = now if command.effective_at is None else command.effective_at
    grant = Grant(
        id=account.seq + 1,
        kind=command.kind,
        remaining=command.credits,
        priority=command.kind.priority,
        effective_at=effective_at,
        expires_at=command.expires_at,
    )
    account, entry = record(
        account,
        EntryKind.GRANT_SCHEDULED if effective_at > now else EntryKind.BONUS_GRANTED,
        effective_at=now,
        recorded_at=now,
        key=command.key,
        request=command.request,
        grant=grant,
        reason=command.reason,
        reference=command.reference,
    )
    account, repaid = repay_from(account, grant.id, at=now, now=now)
    return Decision(account, (entry, *repaid))


def _open_account(
    account: Account | None, command: OpenAccount, now: datetime, catalogue: Catalogue
) -> Decision | Refusal:
    if account is not None:
        return AccountExists(command.account_id)
    plan = catalogue.plan(command.plan)
    if plan is None:
        return _unknown_plan(command.plan, catalogue)
    account = blank(command.account_id)
    allowance = _first_allowance(account, plan, now)
    account, entry = record(
        account,
        EntryKind.ACCOUNT_OPENED,
        effective_at=now,
        recorded_at=now,
        key=command.key,
        request=command.request,
        plan=plan.name,
        allowance=allowance,
        grant=None if allowance is None else allowance_grant(account, allowance, now),
        reason=command.reason,
    )
    return Decision(account, (entry,))


def _set_plan(account: Account, command: SetPlan, now: datetime, catalogue: Catalogue) -> Decision | Refusal:
    plan = catalogue.plan(command.plan)
    if plan is None:
        return _unknown_plan(command.plan, catalogue)
    since = now if command.since is None else min(command.since, now)
    current = account.allowance
    rests = command.rests
    is_news = rests or account.plan != plan.name
    if current is not None and is_news and _opened_in_error(current, plan, since, now, rests=rests):
        return _set_plan_late(account, current, plan, command, now, catalogue)
    allowance, grant = _allowance_on_change(account, plan, since, now, catalogue)
    leaves = command.since is not None and not rests
    if allowance is None and current is not None and leaves and plan.renews_by_itself:
        allowance = _paid_until(current, current.period.end)
    account, entry = _plan_set(account, plan, command, now, allowance, grant)
    return settle_after(account, entry, now, catalogue)


def _plan_set(
    account: Account, plan: Plan, command: SetPlan, now: datetime, allowance: Allowance | None, grant: Grant | None
) -> tuple[Account, Entry]:
    return record(
        account,
        EntryKind.PLAN_SET,
        effective_at=now,
        recorded_at=now,
        key=command.key,
        request=command.request,
        plan=plan.name,
        allowance=allowance,
        grant=grant,
        reason=command.reason,
        reference=command.reference,
    )


def _opened_in_error(current: Allowance, plan: Plan, since: datetime, now: datetime, *, rests: bool) -> bool:
    """Whether time has opened the running allowance only because a change that counts `since` then is heard now.

    Then it would not be there had the change been heard in time, and must not depend on that (S27).
    """
    if now not in current.period or current.period.start <= since:
        return False
    if rests:
        return current.plan != plan.name
    return current.credits > plan.allowance if plan.renews_by_itself else not current.is_paid_at(now)


def _set_plan_late(
    account: Account, current: Allowance, plan: Plan, command: SetPlan, now: datetime, catalogue: Catalogue
) -> Decision:
    """Take what is left of such an allowance away, and open what the plan opens by itself instead, if anything."""
    account, before = replace_allowance(account, at=now, now=now)
    start = current.period.start
    if command.rests:
        account, after = _rest_late(account, current, plan, command, now)
        settled = settle(account, now, catalogue, since=now)
        return Decision(settled.account, (*before, *after, *settled.entries))
    # No period is empty, and this one is over now, also at the very instant at which it began.
    over = replace(_paid_until(current, start), period=Period(min(start, now - timedelta.resolution), now))
    account, entry = _plan_set(account, plan, command, now, over, None)
    settled = settle_after(account, entry, now, catalogue)
    return Decision(settled.account, (*before, *settled.entries))


def _rest_late(
    account: Account, current: Allowance, plan: Plan, command: SetPlan, now: datetime
) -> tuple[Account, tuple[Entry, ...]]:
    """Open the month of `plan` that time would have opened where the running one did.

    In an entry of its own, which ends also what holds keep of the one from before (S12). It comes first: what is looked
    for of the running month begins with the entry that opened it.
    """
    rest_of_month = Period(current.period.start, _calendar_month(current).end)
    opened = replace(current, plan=plan.name, period=rest_of_month, credits=plan.allowance, opened_by=account.seq + 1)
    account, begun = open_allowance(account, opened, at=now, now=now)
    account, entry = _plan_set(account, plan, command, now, None, None)
    return account, (*begun, entry)


def _paid_until(allowance: Allowance, end: datetime) -> Allowance:
    """The same, but of what was paid for, nothing counts from `end` on: its subscription is over (S16)."""
    paid = allowance.paid
    if paid is None or not paid.start < end < paid.end:
        return allowance
    return replace(allowance, paid=Period(paid.start, end))


def _allowance_on_change(
    account: Account, plan: Plan, since: datetime, now: datetime, catalogue: Catalogue
) -> tuple[Allowance | None, Grant | None]:
    """What a change to `plan` opens at once. A paid plan opens nothing before an invoice is paid (S15).

    An upgrade inside a period adds floor((new - old) * remaining fraction), counted from `since`; anything
    else waits for the period's end, so that switching back and forth never creates credits (S17).
    """
    current = account.allowance
    if not plan.renews_by_itself and (current is None or not current.is_paid_at(now)):
        return None, None
    if current is None:
        allowance = _first_allowance(account, plan, now)
        return allowance, None if allowance is None else allowance_grant(account, allowance, now)
    credits, month = _whole_month(current, catalogue)
    if now not in current.period or plan.allowance <= credits:
        return None, None
    whole = max(current.credits, share(plan.allowance, month, current.period.start))
    raised = replace(current, plan=plan.name, credits=whole)
    if since <= current.period.start:
        # As if the whole of it had opened so.
        added = raised.credits - current.credits
    else:
        added = (plan.allowance - credits) * (current.period.end - since) // (month.end - month.start)
    grant = allowance_grant(account, raised, now)
    return raised, replace(grant, remaining=added)


def _whole_month(current: Allowance, catalogue: Catalogue) -> tuple[int, Period]:
    """The credits and the month of which an allowance is a part, where it is short; else its own."""
    plan, month = catalogue.plan(current.plan), _calendar_month(current)
    start = current.period.start
    if plan is not None and current.paid is not None and month.start < start:
        short = plan.allowance if plan.renews_by_itself else share(plan.allowance, month, start)
        if current.credits == short:
            return plan.allowance, month
    return current.credits, current.period


def _calendar_month(current: Allowance) -> Period:
    """The month, counted from its anchor, in which an allowance began."""
    start, end = current.period.start, current.period.end
    if current.anchor < start:
        return period_containing(current.anchor, start)
    # What prolongs a short month has its anchor in it, or where it begins: then only its end says which month it is
    # a part of.
    return Period(add_months(end, -1), end) if end - start < _SHORTEST_MONTH else current.period


def _first_allowance(account: Account, plan: Plan, now: datetime) -> Allowance | None:
    if not plan.renews_by_itself:
        return None
    return Allowance(plan.name, now, period_containing(now, now), plan.allowance, opened_by=account.seq + 1)


def _renew_allowance(
    account: Account, command: RenewAllowance, now: datetime, catalogue: Catalogue
) -> Decision | Refusal:
    plan = catalogue.plan(command.plan)
    if plan is None:
        return _unknown_plan(command.plan, catalogue)
    before: tuple[Entry, ...] = ()
    allowance: Allowance | None = None
    grant: Grant | None = None
    current = account.allowance
    if _is_superseded(account, plan, command, now):
        kind = EntryKind.ALLOWANCE_SKIPPED
    elif command.prolongs and current is not None and now in current.period and _still_runs(current, command, now):
        kind = EntryKind.ALLOWANCE_PROLONGED
        allowance = replace(current, anchor=command.anchor, paid=command.period)
    else:
        allowance = _after(_paid_allowance(plan, command, now), command, now)
        if allowance.period.start > now:
            kind = EntryKind.GRANT_SCHEDULED
        else:
            kind = EntryKind.ALLOWANCE_OPENED
            account, before = replace_allowance(account, at=now, now=now)
        grant = allowance_grant(account, allowance, allowance.period.start)
        allowance = replace(allowance, opened_by=grant.id)
    account, entry = record(
        account,
        kind,
        effective_at=now,
        recorded_at=now,
        key=command.key,
        request=command.request,
        allowance=allowance,
        grant=grant,
        reason=command.reason,
        reference=command.reference,
    )
    return Decision(account, (*before, entry))


def _still_runs(current: Allowance, command: RenewAllowance, now: datetime) -> bool:
    """Whether the running allowance is the one that a change prolongs, and not one that runs after that for want of it."""
    return current.is_paid_at(now) and (command.follows is None or now < command.follows)


def _paid_allowance(plan: Plan, command: RenewAllowance, now: datetime) -> Allowance:
    """The allowance that a paid period opens now, or when it begins."""
    paid = command.period
    if command.months > 1:
        month = command.month_at(max(now, paid.start))
        return Allowance(plan.name, command.anchor, month, plan.allowance, paid)
    # Stripe counts months from its own anchor, so one month is as long as it was billed for. A plan that
    # renews by itself, should one follow, counts its periods from its end.
    return Allowance(plan.name, paid.end, paid, plan.allowance, paid)


def _after(allowance: Allowance, command: RenewAllowance, now: datetime) -> Allowance:
    """The same, of the rest of its month alone where another one ran into it, as if that had been heard in time."""
    month, ran_until = allowance.period, command.follows
    if ran_until is None or ran_until > now or not month.start < ran_until < month.end:
        return allowance
    short = replace(allowance, anchor=command.anchor, period=Period(ran_until, month.end))
    return replace(short, credits=share(allowance.credits, month, ran_until))


def _is_superseded(account: Account, plan: Plan, command: RenewAllowance, now: datetime) -> bool:
    """True when the period is over, or this period or a later one of the plan has been opened already."""
    current, start = account.allowance, command.period.start
    if command.period.end <= now:
        return True
    if current is None or current.paid is None or current.plan != plan.name:
        return False
    # A change may come at the very instant at which the period began that it changes, and so may what is longer.
    if command.prolongs or command.period.end > current.paid.end:
        return start < current.paid.start
    return start <= current.paid.start


def _unknown_plan(name: str, catalogue: Catalogue) -> UnknownPlan:
    return UnknownPlan(name, tuple(plan.name for plan in catalogue.plans))
