"""Giving back what was spent (S13) and taking back what was granted (S24). Pure; `decide` calls it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from tallystick.domain.account import Account, Entry, EntryKind, GrantKind, Lot
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import ClawBack, Reverse
from tallystick.domain.errors import AlreadyReversed, NotABonusGrant, NotReversible, Refusal, UnknownEntry
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
                reopened.append(replace(origin.grant, remaining=lot.amount))
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
    return current is None or grant.id < current.opened_by


def claw_back(account: Account, command: ClawBack, now: datetime, past: Past) -> Decision | Refusal:
    """Take credits back from a bonus grant; what is not there any more becomes debt."""
    origin = past.origins.get(command.grant)
    granted = None if origin is None else origin.grant
    if granted is None or granted.kind is GrantKind.ALLOWANCE or granted.remaining < command.amount:
        return NotABonusGrant(command.grant, command.amount)
    grant = next((g for g in account.grants if g.id == command.grant), None)
    taken = 0 if grant is None else min(grant.free, command.amount)
    account, entry = record(
        account,
        EntryKind.CLAWED_BACK,
        effective_at=now,
        recorded_at=now,
        key=command.key,
        request=command.request,
        lots=(Lot(granted.id, granted.kind, taken),) if taken else (),
        owed=command.amount - taken,
        owed_for=command.grant,
        reason=command.reason,
        reference=command.reference,
    )
    return Decision(account, (entry,))
