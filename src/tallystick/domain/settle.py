"""What time alone has done to an account: lapsed grants, ended periods, grants that became effective.

Judged at the exact instant from the account's own state (S14), so it does not matter when, or whether,
anything looks.
"""

from dataclasses import dataclass
from datetime import datetime

from tallystick.domain.account import (
    Account,
    Allowance,
    Entry,
    EntryKind,
    Grant,
    GrantKind,
    Lot,
    Scheduled,
)
from tallystick.domain.catalogue import Catalogue, Plan
from tallystick.domain.periods import period_containing
from tallystick.domain.record import record


@dataclass(frozen=True, slots=True)
class Decision:
    """The account after a command, and the entries that led there."""

    account: Account
    entries: tuple[Entry, ...]


def settle(account: Account, now: datetime, catalogue: Catalogue, *, since: datetime | None = None) -> Decision:
    """Apply everything that became due up to and including `now`, in the order in which it became due.

    At one instant grants lapse first, then a period ends, then scheduled grants start. Missed periods of
    a plan that renews by itself collapse into the one that contains `now` (S14). What only became due
    because of something that happened at `since` is dated from there.
    """
    entries: list[Entry] = []
    while True:
        lapsing = _first_to_lapse(account, now)
        starting = _first_to_start(account, now)
        renewal = _renewal(account, now, catalogue)
        due = [
            instant
            for instant in (
                lapsing.expires_at if lapsing else None,
                renewal.period.start if renewal else None,
                starting.grant.effective_at if starting else None,
            )
            if instant is not None
        ]
        if not due:
            return Decision(account, tuple(entries))
        first = min(due)
        at = first if since is None else max(first, since)
        if lapsing is not None and lapsing.expires_at == first:
            account, entry = lapse(account, (lapsing,), at=at, now=now, reason="expired")
        elif renewal is not None and renewal.period.start == first:
            account, entry = _open(account, renewal, at=at, now=now)
        elif starting is not None:
            account, new = _begin(account, starting, at=at, now=now)
            entries.extend(new)
            continue
        entries.append(entry)


def next_due(account: Account, catalogue: Catalogue) -> datetime | None:
    """The next instant at which time alone changes the account, or None when it never will.

    Counted from the state as it is written, so it can lie in the past: then `settle` has work to do.
    """
    instants = [g.expires_at for g in account.grants if g.expires_at is not None]
    instants += [s.grant.effective_at for s in account.scheduled]
    if account.allowance is not None and _renews_by_itself(account, catalogue) is not None:
        instants.append(account.allowance.period.end)
    return min(instants, default=None)


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


def lapse(
    account: Account, grants: tuple[Grant, ...], *, at: datetime, now: datetime, reason: str
) -> tuple[Account, Entry]:
    """Take away what is left of `grants`; the entry says how much of each (S14)."""
    return record(
        account,
        EntryKind.LAPSED,
        effective_at=at,
        recorded_at=now,
        lots=tuple(Lot(grant.id, grant.kind, grant.remaining) for grant in grants),
        reason=reason,
    )


def replace_allowance(account: Account, *, at: datetime, now: datetime) -> tuple[Account, tuple[Entry, ...]]:
    """Lapse what is left of the current allowance because another takes its place."""
    old = tuple(g for g in account.grants if g.kind is GrantKind.ALLOWANCE)
    if not old:
        return account, ()
    account, entry = lapse(account, old, at=at, now=now, reason="replaced")
    return account, (entry,)


def _renews_by_itself(account: Account, catalogue: Catalogue) -> Plan | None:
    plan = catalogue.plan(account.plan)
    return plan if plan is not None and plan.renews_by_itself else None


def _first_to_lapse(account: Account, now: datetime) -> Grant | None:
    over = [g for g in account.grants if g.expires_at is not None and g.expires_at <= now]
    return min(over, key=lambda g: (g.expires_at, g.id), default=None)


def _first_to_start(account: Account, now: datetime) -> Scheduled | None:
    ready = [s for s in account.scheduled if s.grant.effective_at <= now]
    return min(ready, key=lambda s: (s.grant.effective_at, s.grant.id), default=None)


def _renewal(account: Account, now: datetime, catalogue: Catalogue) -> Allowance | None:
    plan = _renews_by_itself(account, catalogue)
    allowance = account.allowance
    if plan is None or allowance is None or now < allowance.period.end:
        return None
    return Allowance(plan.name, allowance.anchor, period_containing(allowance.anchor, now), plan.allowance)


def _open(account: Account, allowance: Allowance, *, at: datetime, now: datetime) -> tuple[Account, Entry]:
    return record(
        account,
        EntryKind.ALLOWANCE_OPENED,
        effective_at=at,
        recorded_at=now,
        grant=allowance_grant(account, allowance, at),
        allowance=allowance,
        reason="period began",
    )


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
    return account, (*before, entry)
