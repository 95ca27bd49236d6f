"""How credits move between the grants of one account, as tuples in burn order.

Every function raises ValueError when the lots do not fit the grants: `decide` never asks for that, and
`replay` finds it in a ledger that was tampered with.
"""

from bisect import insort
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from tallystick.domain.account import Grant, GrantKind, Lot, Scheduled

Grants = tuple[Grant, ...]
_Change = Callable[[Grant, int], Grant]


def burn(grants: Grants, amount: int) -> tuple[Lot, ...]:
    """Which grants `amount` comes from, what is set aside left out (S10). There must be enough."""
    lots = []
    for grant in grants:
        if grant.frozen:
            continue
        taken = min(grant.remaining - grant.held, amount)
        if taken:
            lots.append(Lot(grant.id, grant.kind, taken))
            amount -= taken
        if amount == 0:
            break
    return tuple(lots)


def take(grants: Grants, lots: tuple[Lot, ...]) -> Grants:
    """Take `lots` out of what is free in their grants; an empty grant is dropped."""
    return _change(grants, lots, _taken)


def take_unheld(grants: Grants, lots: tuple[Lot, ...]) -> Grants:
    """Take `lots` out of what no hold has set aside, be it frozen or not (S12, S25)."""
    return _change(grants, lots, _taken_unheld)


def freeze(grants: Grants, grant_id: int, frozen: bool) -> Grants:
    """Put what remains of a grant out of reach, or within reach again (S25)."""
    return tuple(replace(g, frozen=frozen) if g.id == grant_id and g.frozen is not frozen else g for g in grants)


def set_aside(grants: Grants, lots: tuple[Lot, ...]) -> Grants:
    """Hold `lots` (S12)."""
    return _change(grants, lots, _held)


def let_go(grants: Grants, lots: tuple[Lot, ...]) -> Grants:
    """Undo `set_aside`."""
    return _change(grants, lots, _let_go)


def end_allowance(grants: Grants, at: datetime) -> Grants:
    """Let the allowance grants end at `at`, because another allowance takes their place.

    Only what a hold still needs is left of them then.
    """
    if not any(g.kind is GrantKind.ALLOWANCE and (g.expires_at or at) > at for g in grants):
        return grants
    ended = (
        replace(g, expires_at=at) if g.kind is GrantKind.ALLOWANCE and (g.expires_at or at) > at else g
        for g in grants
    )
    return tuple(sorted(ended, key=lambda g: g.burn_key))


def add(grants: Grants, grant: Grant | None) -> Grants:
    """Put a grant into its place in the burn order."""
    if grant is None or grant.remaining == 0:
        return grants
    if not grants or grants[-1].burn_key < grant.burn_key:
        return (*grants, grant)
    placed = list(grants)
    insort(placed, grant, key=lambda g: g.burn_key)
    return tuple(placed)


def start(
    grants: Grants, scheduled: tuple[Scheduled, ...], lots: tuple[Lot, ...]
) -> tuple[Grants, tuple[Scheduled, ...]]:
    """Make the scheduled grants that `lots` name usable."""
    for lot in lots:
        starting = next((s for s in scheduled if s.grant.id == lot.grant_id), None)
        if starting is None or starting.grant.remaining != lot.amount:
            raise ValueError(f"no scheduled grant {lot.grant_id} of {lot.amount} credits")
        grants = add(grants, starting.grant)
        scheduled = tuple(s for s in scheduled if s is not starting)
    return grants, scheduled


def change_scheduled(
    scheduled: tuple[Scheduled, ...], grant_id: int, change: int, frozen: bool
) -> tuple[Scheduled, ...]:
    """Put `change` credits into a grant that has not started, or take them out if it is negative (S23)."""
    changed = []
    for one in scheduled:
        if one.grant.id == grant_id:
            remaining = one.grant.remaining + change
            if remaining < 0:
                raise ValueError(f"scheduled grant {grant_id} has no {-change} credits left")
            one = replace(one, grant=replace(one.grant, remaining=remaining, frozen=frozen))
        changed.append(one)
    return tuple(changed)


def give_back(grants: Grants, lots: tuple[Lot, ...], reopened: Grants) -> Grants:
    """Return `lots` to the grants they came from; those that are gone meanwhile are `reopened` (S13)."""
    gone = {grant.id: grant for grant in reopened}
    still_open = []
    for lot in lots:
        grant = gone.pop(lot.grant_id, None)
        if grant is None:
            still_open.append(lot)
            continue
        if (grant.remaining, grant.kind) != (lot.amount, lot.kind):
            raise ValueError(f"grant {grant.id} was reopened with {grant.remaining} credits, not {lot.amount}")
        grants = add(grants, grant)
    if gone:
        raise ValueError(f"grants {', '.join(map(str, sorted(gone)))} were reopened for nothing")
    return _change(grants, tuple(still_open), _given_back)


def _change(grants: Grants, lots: tuple[Lot, ...], change: _Change) -> Grants:
    if not lots:
        return grants
    if len(lots) == 1 and grants and grants[0].id == lots[0].grant_id:
        # Nearly every spend: one lot of the grant that burns first.
        after = _changed(grants[0], lots[0], change)
        return (after, *grants[1:]) if after.remaining else grants[1:]
    wanted = {lot.grant_id: lot for lot in lots}
    if len(wanted) != len(lots):
        raise ValueError("a grant is named twice")
    changed = []
    for n, grant in enumerate(grants):
        lot = wanted.pop(grant.id, None)
        if lot is None:
            changed.append(grant)
            continue
        after = _changed(grant, lot, change)
        if after.remaining:
            changed.append(after)
        if not wanted:
            return (*changed, *grants[n + 1 :])
    raise ValueError(f"no open grant {', '.join(str(id) for id in sorted(wanted))}")


def _changed(grant: Grant, lot: Lot, change: _Change) -> Grant:
    if lot.kind is not grant.kind:
        raise ValueError(f"grant {grant.id} is of kind {grant.kind}, not {lot.kind}")
    if lot.amount < 0:
        raise ValueError(f"grant {grant.id} cannot move {lot.amount} credits")
    return change(grant, lot.amount)


def _with(grant: Grant, remaining: int, held: int) -> Grant:
    return Grant(
        grant.id, grant.kind, remaining, grant.priority, grant.effective_at, grant.expires_at, held, grant.frozen
    )


def _taken(grant: Grant, amount: int) -> Grant:
    if amount > grant.free:
        raise ValueError(f"grant {grant.id} has {grant.free} free credits left, not {amount}")
    return _with(grant, grant.remaining - amount, grant.held)


def _taken_unheld(grant: Grant, amount: int) -> Grant:
    if amount > grant.unheld:
        raise ValueError(f"grant {grant.id} has {grant.unheld} credits left that are not held, not {amount}")
    return _with(grant, grant.remaining - amount, grant.held)


def _held(grant: Grant, amount: int) -> Grant:
    if amount > grant.free:
        raise ValueError(f"grant {grant.id} has {grant.free} free credits left, not {amount}")
    return _with(grant, grant.remaining, grant.held + amount)


def _let_go(grant: Grant, amount: int) -> Grant:
    if amount > grant.held:
        raise ValueError(f"grant {grant.id} has {grant.held} held credits, not {amount}")
    return _with(grant, grant.remaining, grant.held - amount)


def _given_back(grant: Grant, amount: int) -> Grant:
    return _with(grant, grant.remaining + amount, grant.held)
