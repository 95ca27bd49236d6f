"""Holds: credits set aside for work whose cost is not known yet (S12). Pure; `decide` calls it on settled accounts."""

from datetime import datetime, timedelta

from tallystick.domain.account import Account, EntryKind, Grant, Hold, Lot
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import Capture, ExtendHold, PlaceHold, Release
from tallystick.domain.errors import HoldNotOpen, Refusal, TooManyHolds
from tallystick.domain.lots import burn
from tallystick.domain.record import record
from tallystick.domain.refuse import insufficient
from tallystick.domain.settle import Decision, settle_after

MAX_HOLDS = 1_000
"""How many holds an account may have open at once, so that its state stays small."""


def place_hold(account: Account, command: PlaceHold, now: datetime, catalogue: Catalogue) -> Decision | Refusal:
    """Set credits aside in burn order."""
    if command.amount > account.available:
        return insufficient(account, command.amount, account.available, now, catalogue)
    if len(account.holds) >= MAX_HOLDS:
        return TooManyHolds(MAX_HOLDS)
    account, entry = record(
        account,
        EntryKind.HELD,
        effective_at=now,
        recorded_at=now,
        key=command.key,
        request=command.request,
        lots=burn(account.grants, command.amount),
        hold=account.seq + 1,
        hold_until=command.deadline(now),
        reason=command.operation,
    )
    return Decision(account, (entry,))


def extend_hold(account: Account, command: ExtendHold, now: datetime, catalogue: Catalogue) -> Decision | Refusal:
    """Set more aside in an open hold, or move its deadline, never to an earlier instant."""
    hold = _hold(account, command.hold)
    if hold is None:
        return HoldNotOpen(command.hold)
    amount = command.amount or 0
    if amount > account.available:
        return insufficient(account, amount, account.available, now, catalogue)
    until = hold.expires_at if command.seconds is None else now + timedelta(seconds=command.seconds)
    account, entry = record(
        account,
        EntryKind.HOLD_EXTENDED,
        effective_at=now,
        recorded_at=now,
        key=command.key,
        request=command.request,
        lots=burn(account.grants, amount),
        hold=hold.id,
        hold_until=max(until, hold.expires_at),
        reason=hold.operation,
    )
    return Decision(account, (entry,))


def capture(account: Account, command: Capture, now: datetime, catalogue: Catalogue) -> Decision | Refusal:
    """Consume credits of an open hold and release the rest."""
    hold = _hold(account, command.hold)
    if hold is None:
        return HoldNotOpen(command.hold)
    reachable = hold.amount + account.available
    if command.amount > reachable:
        return insufficient(account, command.amount, reachable, now, catalogue)
    account, entry = record(
        account,
        EntryKind.CAPTURED,
        effective_at=now,
        recorded_at=now,
        key=command.key,
        request=command.request,
        lots=_captured(account.grants, hold, command.amount),
        hold=hold.id,
        reason=hold.operation,
    )
    return settle_after(account, entry, now, catalogue)


def _captured(grants: tuple[Grant, ...], hold: Hold, amount: int) -> tuple[Lot, ...]:
    """First what the hold has set aside, in burn order, then what is available beside it (S12)."""
    held = {lot.grant_id: lot.amount for lot in hold.lots}
    taken: dict[int, int] = {}
    for grant in grants:
        if grant.id in held:
            taken[grant.id] = min(held[grant.id], amount)
            amount -= taken[grant.id]
    for lot in burn(grants, amount):
        taken[lot.grant_id] = taken.get(lot.grant_id, 0) + lot.amount
    return tuple(Lot(g.id, g.kind, taken[g.id]) for g in grants if taken.get(g.id))


def release(account: Account, command: Release, now: datetime, catalogue: Catalogue) -> Decision | Refusal:
    """Give back all that an open hold has set aside."""
    hold = _hold(account, command.hold)
    if hold is None:
        return HoldNotOpen(command.hold)
    account, entry = record(
        account,
        EntryKind.RELEASED,
        effective_at=now,
        recorded_at=now,
        key=command.key,
        request=command.request,
        hold=hold.id,
        reason=command.reason,
    )
    return settle_after(account, entry, now, catalogue)


def _hold(account: Account, id: int) -> Hold | None:
    return next((hold for hold in account.holds if hold.id == id), None)
