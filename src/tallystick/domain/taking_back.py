"""Giving back what was spent (S13) and taking back what was granted (S24). Pure; `decide` calls it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from tallystick.domain.account import Account, Clawback, Entry, EntryKind, Grant, GrantKind, Lot
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import ClawBack, Reverse
from tallystick.domain.errors import (
    AlreadyReversed,
    ClawbackSuperseded,
    EntryArchived,
    NotABonusGrant,
    NotReversible,
    Refusal,
    UnknownEntry,
)
from tallystick.domain.record import record
from tallystick.domain.settle import Decision, settle_after


@dataclass(frozen=True, slots=True)
class Past:
    """What a command names of the account's history, looked up beforehand.

    `entry` is the one to reverse, `reversed_by` the number of the entry that already reversed it, `origins`
    the entries that made the grants concerned, by number.
    """

    entry: Entry | None = None
    reversed_by: int | None = None
    origins: Mapping[int, Entry] = field(default_factory=dict)


NO_PAST = Past()


def reverse(
    account: Account, command: Reverse, now: datetime, catalogue: Catalogue, past: Past
) -> Decision | Refusal:
    """Return the credits of a spend, as far as their grants have not lapsed meanwhile."""
    spend = past.entry
    if spend is None:
        if command.entry <= account.archived:
            return EntryArchived(account.id, command.entry, account.archived)
        return UnknownEntry(account.id, command.entry)
    if spend.kind not in (EntryKind.SPENT, EntryKind.CAPTURED):
        return NotReversible(spend.seq, spend.kind)
    if past.reversed_by is not None:
        return AlreadyReversed(spend.seq, past.reversed_by)
    usable = {grant.id for grant in account.grants if grant.expires_at is None or now < grant.expires_at}
    returned, reopened, lapsed = [], [], []
    for lot in spend.lots:
        origin = past.origins[lot.grant_id]
        if lot.grant_id in usable:
            returned.append(lot)
        elif _is_over(account, origin, now):
            lapsed.append(lot)
        else:
            returned.append(lot)
            if origin.grant is not None:
                reopened.append(_reopened(account, origin.grant, lot.amount))
    account, entry = record(
        account,
        EntryKind.REVERSED,
        effective_at=now,
        recorded_at=now,
        key=command.key,
        request=command.request,
        lots=tuple(returned),
        reverses=spend.seq,
        reopened=tuple(reopened),
        lapsed=tuple(lapsed),
        reason=command.reason,
    )
    return settle_after(account, entry, now, catalogue)


def _is_over(account: Account, origin: Entry, now: datetime) -> bool:
    """Whether the grant that `origin` made has lapsed, or its allowance was replaced by another (S13)."""
    grant, current = origin.grant, account.allowance
    if grant is None or (grant.expires_at is not None and grant.expires_at <= now):
        return True
    if grant.kind is not GrantKind.ALLOWANCE:
        return False
    if current is None or now not in current.period or grant.id < current.opened_by:
        return True
    # An allowance that was scheduled has a lower number than those that opened before it began.
    return grant.id > current.opened_by and origin.effective_at < current.period.start


def _reopened(account: Account, granted: Grant, remaining: int) -> Grant:
    """A grant that was used up, with so much in it again; still out of reach if it was frozen meanwhile (S25)."""
    return replace(granted, remaining=remaining, frozen=account.clawback_of(granted.id).frozen)


def claw_back(
    account: Account, command: ClawBack, now: datetime, catalogue: Catalogue, past: Past
) -> Decision | Refusal:
    """Bring what is taken back of a bonus grant to the command's total, up or down."""
    origin = past.origins.get(command.grant)
    granted = None if origin is None else origin.grant
    if granted is None or granted.kind is GrantKind.ALLOWANCE or granted.remaining < command.total:
        return NotABonusGrant(command.grant, command.total)
    before = account.clawback_of(command.grant)
    if command.version <= before.version:
        return ClawbackSuperseded(command.grant, before.version)
    present = (*account.grants, *(s.grant for s in account.scheduled))
    grant = next((g for g in present if g.id == command.grant), None)
    more = command.total - before.total
    if more > 0:
        kind = EntryKind.CLAWED_BACK
        moved = 0 if grant is None else min(grant.unheld, more)
        owed = before.owed + more - moved
    elif more < 0:
        kind = EntryKind.RESTORED
        # What is owed of it still is forgiven first; only what was really taken, or repaid, comes back.
        forgiven = min(before.owed, -more)
        moved, owed = -more - forgiven, before.owed - forgiven
    else:
        moved, owed = 0, before.owed
        kind = _seen_anew(before, command)
    clawback = Clawback(command.grant, command.total, owed, command.frozen, command.version)
    reopens = kind is EntryKind.RESTORED and moved and grant is None
    account, entry = record(
        account,
        kind,
        effective_at=now,
        recorded_at=now,
        key=command.key,
        request=command.request,
        lots=(Lot(granted.id, granted.kind, moved),) if moved else (),
        reopened=(replace(granted, remaining=moved, frozen=command.frozen),) if reopens else (),
        clawback=clawback,
        reason=command.reason,
        reference=command.reference,
    )
    return settle_after(account, entry, now, catalogue)


def _seen_anew(before: Clawback, command: ClawBack) -> EntryKind:
    if command.frozen is before.frozen:
        return EntryKind.CLAWBACK_CONFIRMED
    return EntryKind.FROZEN if command.frozen else EntryKind.THAWED
