"""What time alone has done to an account: holds that ran out, lapsed grants, ended periods, started grants.

Judged at the exact instant from the account's own state (S14), so it does not matter when, or whether,
anything looks.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from tallystick.domain.account import (
    Account,
    Allowance,
    Clawback,
    Entry,
    EntryKind,
    Grant,
    GrantKind,
    Hold,
    Lot,
    Scheduled,
)
from tallystick.domain.catalogue import Catalogue, Plan
from tallystick.domain.frozen import cheaply_made
from tallystick.domain.periods import Period, period_containing, share
from tallystick.domain.record import record

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@cheaply_made
@dataclass(frozen=True, slots=True)
class Decision:
    """The account after a command, and the entries that led there."""

    account: Account
    entries: tuple[Entry, ...]


def settle(account: Account, now: datetime, catalogue: Catalogue, *, since: datetime | None = None) -> Decision:
    """Apply everything that became due up to and including `now`, in the order in which it became due.

    At one instant holds run out first, then grants lapse, then a period ends, then scheduled grants start.
    Missed periods collapse into the one that contains `now` (S14). What
    only became due because of something that happened at `since` is dated from there.
    """
    if since is None and (account.wakes_at is None or now < account.wakes_at):
        return Decision(account, ())
    entries: list[Entry] = []
    while (due := _first_due(account, now, catalogue)) is not None:
        instant, apply = due
        # Nothing is dated before what led to it.
        since = instant if since is None else max(instant, since)
        account, new = apply(account, since, now)
        entries.extend(new)
    return Decision(account, tuple(entries))


_Step = Callable[[Account, datetime, datetime], tuple[Account, tuple[Entry, ...]]]


def _first_due(account: Account, now: datetime, catalogue: Catalogue) -> tuple[datetime, _Step] | None:
    """What became due first, and what it does. Ties go to what stands first here."""
    due: list[tuple[datetime, _Step]] = []
    returned = _to_repay(account)
    if returned is not None:
        due.append((_LONG_AGO, lambda a, at, now: repay(a, *returned, at=at, now=now)))
    hold = min(account.holds, key=lambda h: (h.expires_at, h.id), default=None)
    if hold is not None:
        due.append((hold.expires_at, lambda a, at, now: _run_out(a, hold, at=at, now=now)))
    over = [g for g in account.grants if g.expires_at is not None and g.free]
    lapsing = min(over, key=lambda g: (g.expires_at, g.id), default=None)
    if lapsing is not None and lapsing.expires_at is not None:
        due.append((lapsing.expires_at, lambda a, at, now: lapse(a, (lapsing,), at=at, now=now, reason="expired")))
    renewal = _renewal(account, now, catalogue)
    if renewal is not None:
        due.append((renewal.period.start, lambda a, at, now: open_allowance(a, renewal, at=at, now=now)))
    starting = min(account.scheduled, key=lambda s: (s.grant.effective_at, s.grant.id), default=None)
    if starting is not None:
        due.append((starting.grant.effective_at, lambda a, at, now: _begin(a, starting, at=at, now=now)))
    first = min(due, key=lambda step: step[0], default=None)
    return first if first is not None and first[0] <= now else None


def settle_after(account: Account, entry: Entry, now: datetime, catalogue: Catalogue) -> Decision:
    """The decision that ends in `entry`, and in what time and debt make of it at once.

    What returned to a grant that is over lapses (S13), what returned to one that was taken back repays (S24).
    """
    settled = settle(account, now, catalogue, since=now)
    return Decision(settled.account, (entry, *settled.entries))


def next_due(account: Account, catalogue: Catalogue) -> datetime | None:
    """The next instant at which time alone changes the account, or None when it never will.

    Counted from the state as it is written, so it can lie in the past: then `settle` has work to do.
    """
    instants = [g.expires_at for g in account.grants if g.expires_at is not None and g.free]
    if account.holds:
        instants += [h.expires_at for h in account.holds]
    if account.scheduled:
        instants += [s.grant.effective_at for s in account.scheduled]
    if account.allowance is not None and _goes_on(account, account.allowance, catalogue) is not None:
        instants.append(account.allowance.period.end)
    return min(instants) if instants else None


def allowance_grant(account: Account, allowance: Allowance, effective_at: datetime) -> Grant:
    """The grant that opens `allowance` as the next entry of `account`."""
    return Grant(
        id=account.seq + 1,
        kind=GrantKind.ALLOWANCE,
        remaining=allowance.credits,
        priority=GrantKind.ALLOWANCE.priority,
        effective_at=effective_at,
        expires_at=allowance.period.end,
    )


def open_allowance(
    account: Account, allowance: Allowance, *, at: datetime, now: datetime
) -> tuple[Account, tuple[Entry, ...]]:
    """Open `allowance` in an entry of its own, which also ends what is left of the one before, held or not."""
    return _one(
        record(
            account,
            EntryKind.ALLOWANCE_OPENED,
            effective_at=at,
            recorded_at=now,
            grant=allowance_grant(account, allowance, at),
            allowance=allowance,
            reason="period began",
        )
    )


def lapse(
    account: Account, grants: tuple[Grant, ...], *, at: datetime, now: datetime, reason: str
) -> tuple[Account, tuple[Entry, ...]]:
    """Take away what is left of `grants`; the entry says how much of each (S14).

    What a hold has set aside stays until the hold is resolved (S12).
    """
    return _one(
        record(
            account,
            EntryKind.LAPSED,
            effective_at=at,
            recorded_at=now,
            lots=tuple(Lot(grant.id, grant.kind, grant.free) for grant in grants),
            reason=reason,
        )
    )


def repay(
    account: Account, grant: Grant, debt: Clawback, *, at: datetime, now: datetime
) -> tuple[Account, tuple[Entry, ...]]:
    """Repay what is owed of `debt` from `grant`, as far as it goes (S24)."""
    amount = min(grant.free, debt.owed)
    return _one(
        record(
            account,
            EntryKind.DEBT_REPAID,
            effective_at=at,
            recorded_at=now,
            lots=(Lot(grant.id, grant.kind, amount),),
            clawback=replace(debt, owed=debt.owed - amount),
        )
    )


def repay_from(account: Account, grant_id: int, *, at: datetime, now: datetime) -> tuple[Account, tuple[Entry, ...]]:
    """Repay what the account owes from a bonus grant that has just arrived, oldest debt first (S24)."""
    entries: list[Entry] = []
    while (debt := next((c for c in account.clawbacks if c.owed), None)) is not None:
        grant = next((g for g in account.grants if g.id == grant_id and g.free), None)
        if grant is None or grant.kind is GrantKind.ALLOWANCE:
            break
        account, new = repay(account, grant, debt, at=at, now=now)
        entries.extend(new)
    return account, tuple(entries)


def replace_allowance(account: Account, *, at: datetime, now: datetime) -> tuple[Account, tuple[Entry, ...]]:
    """Lapse what is left of the current allowance because another takes its place."""
    old = tuple(g for g in account.grants if g.kind is GrantKind.ALLOWANCE and g.free)
    if not old:
        return account, ()
    return lapse(account, old, at=at, now=now, reason="replaced")


def _goes_on(account: Account, allowance: Allowance, catalogue: Catalogue) -> Plan | None:
    """The plan whose next allowance opens at the end of this one without another invoice."""
    plan = catalogue.plan(account.plan)
    if plan is None or not (plan.renews_by_itself or allowance.is_paid_at(allowance.period.end)):
        return None
    return plan


def _one(written: tuple[Account, Entry]) -> tuple[Account, tuple[Entry, ...]]:
    account, entry = written
    return account, (entry,)


def _to_repay(account: Account) -> tuple[Grant, Clawback] | None:
    """A grant whose credits were taken back, and to which some that were held or spent have returned (S24)."""
    for debt in account.clawbacks:
        for grant in account.grants if debt.owed else ():
            if grant.id == debt.grant_id and grant.free:
                return grant, debt
    return None


def _run_out(account: Account, hold: Hold, *, at: datetime, now: datetime) -> tuple[Account, tuple[Entry, ...]]:
    return _one(
        record(
            account,
            EntryKind.RELEASED,
            effective_at=at,
            recorded_at=now,
            hold=hold.id,
            reason="deadline",
        )
    )


def _renewal(account: Account, now: datetime, catalogue: Catalogue) -> Allowance | None:
    """The allowance that `now` needs and that is not open yet.

    A paid plan's is that of the month of the time that was paid for (S15); where a change of the
    subscription has moved the months, the first one is short, and so is a paid plan's allowance (S17).
    """
    allowance = account.allowance
    if allowance is None or now < allowance.period.end:
        return None
    plan = _goes_on(account, allowance, catalogue)
    if plan is None:
        return None
    paid = None if plan.renews_by_itself else allowance.paid
    # Where all of what was paid for was missed, its last month opens, and lapses with it.
    at = now if paid is None or now < paid.end else paid.end - timedelta.resolution
    # That of a single month that was paid for is its end, and the month may have been cut short.
    anchor = min(allowance.anchor, allowance.period.end)
    month = period_containing(anchor, at)
    begin, end = max(month.start, allowance.period.end), month.end if paid is None else min(month.end, paid.end)
    credits = plan.allowance if paid is None else share(plan.allowance, month, begin)
    return Allowance(plan.name, anchor, Period(begin, end), credits, allowance.paid, account.seq + 1)


def _begin(
    account: Account, starting: Scheduled, *, at: datetime, now: datetime
) -> tuple[Account, tuple[Entry, ...]]:
    before: tuple[Entry, ...] = ()
    if starting.allowance is not None:
        account, before = replace_allowance(account, at=at, now=now)
    account, entry = record(
        account,
        EntryKind.GRANT_STARTED,
        effective_at=at,
        recorded_at=now,
        lots=(Lot(starting.grant.id, starting.grant.kind, starting.grant.remaining),),
        allowance=starting.allowance,
    )
    account, repaid = repay_from(account, starting.grant.id, at=at, now=now)
    return account, (*before, entry, *repaid)
