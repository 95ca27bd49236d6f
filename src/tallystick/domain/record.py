"""What one line of a ledger does to an account: the only code that changes balances.

`decide` uses it to write new entries and `replay` to prove old ones, so the two cannot disagree. How lots
move between grants is in `lots`.
"""

from datetime import datetime

from tallystick.domain.account import (
    Account,
    Allowance,
    Checkpoint,
    Clawback,
    Entry,
    EntryKind,
    Grant,
    GrantKind,
    Hold,
    Lot,
    Scheduled,
)
from tallystick.domain.lots import (
    add,
    change_scheduled,
    end_allowance,
    freeze,
    give_back,
    let_go,
    set_aside,
    start,
    take,
    take_unheld,
)

# Taking from grants never brings a deadline nearer, so these leave `wakes_at` as it is.
_NO_NEW_DEADLINE = frozenset((EntryKind.SPENT, EntryKind.REMOVED))


def blank(account_id: str) -> Account:
    """The account before its first entry."""
    return Account(
        id=account_id,
        plan="",
        allowance=None,
        seq=0,
        monthly=0,
        bonus=0,
        held=0,
        debt=0,
        grants=(),
        scheduled=(),
    )


def record(
    account: Account,
    kind: EntryKind,
    *,
    effective_at: datetime,
    recorded_at: datetime,
    key: str | None = None,
    request: str | None = None,
    lots: tuple[Lot, ...] = (),
    grant: Grant | None = None,
    plan: str | None = None,
    allowance: Allowance | None = None,
    reason: str = "",
    reference: str | None = None,
    hold: int | None = None,
    hold_until: datetime | None = None,
    reverses: int | None = None,
    reopened: tuple[Grant, ...] = (),
    lapsed: tuple[Lot, ...] = (),
    clawback: Clawback | None = None,
    checkpoint: Checkpoint | None = None,
) -> tuple[Account, Entry]:
    """Write the next entry of `account`: returns the account after it, and the entry.

    The facts alone decide the effect. `lots` are taken from their grants, unless the kind says otherwise:
    a hold sets them aside, a reversal returns them, GRANT_STARTED names the scheduled grant that becomes
    usable. `grant` is added, or in a GRANT_SCHEDULED entry kept until it is effective together with the
    `allowance` it will open. `plan`, `allowance` and `clawback` replace what was there: what is owed changes with
    the latter. Raises ValueError when the facts do not fit the account, which `decide` never writes.
    """
    grants, scheduled, holds, clawbacks = account.grants, account.scheduled, account.holds, account.clawbacks
    monthly, bonus, held, debt = account.monthly, account.bonus, account.held, account.debt
    now_allowance = account.allowance if allowance is None else allowance
    archived = account.archived
    seq = account.seq + 1
    moved = -1
    match kind:
        case EntryKind.SPENT | EntryKind.REMOVED:
            grants = take(grants, lots)
        case EntryKind.HELD | EntryKind.HOLD_EXTENDED:
            if hold is None or hold_until is None or (hold == seq) != (kind is EntryKind.HELD):
                raise ValueError(f"a hold is named by the entry that made it, not {hold}")
            grants = set_aside(grants, lots)
            holds = _with_hold(holds, Hold(hold, lots, hold_until, reason), opened=hold == seq)
            held += _sum(lots)
            moved = 0
        case EntryKind.CAPTURED | EntryKind.RELEASED:
            ended, holds = _without_hold(holds, hold)
            grants = take_unheld(let_go(grants, ended.lots), lots)
            held = _aside(grants)
        case EntryKind.REVERSED:
            grants = give_back(grants, lots, reopened)
            held = _aside(grants)
            moved = 1
        case EntryKind.CLAWED_BACK | EntryKind.RESTORED | EntryKind.FROZEN | EntryKind.THAWED if clawback is not None:
            restores = kind is EntryKind.RESTORED
            moved = 1 if restores else -1
            if any(s.grant.id == clawback.grant_id for s in scheduled):
                # It counts for nothing yet, so no balance changes.
                change = moved * _sum(lots)
                scheduled = change_scheduled(scheduled, clawback.grant_id, change, clawback.frozen)
                moved = 0
            else:
                grants = give_back(grants, lots, reopened) if restores else take_unheld(grants, lots)
                grants = freeze(grants, clawback.grant_id, clawback.frozen)
                held = _aside(grants)
        case EntryKind.GRANT_STARTED:
            grants, scheduled = start(
                grants if allowance is None else end_allowance(grants, effective_at), scheduled, lots
            )
            held = _aside(grants)
            moved = 1
        case EntryKind.GRANT_SCHEDULED if grant is not None:
            scheduled = (*scheduled, Scheduled(grant, allowance))
            now_allowance = account.allowance
        case EntryKind.CHECKPOINT if checkpoint is not None:
            archived = checkpoint.up_to
            if not account.archived < archived <= account.seq or checkpoint.state.seq != archived:
                raise ValueError(f"entries up to {archived} cannot go to the archive")
        case _:
            grants = take(grants, lots)
            if grant is not None:
                if kind is EntryKind.ALLOWANCE_OPENED:
                    grants = end_allowance(grants, effective_at)
                grants = add(grants, grant)
                if grant.kind is GrantKind.ALLOWANCE:
                    monthly += grant.remaining
                else:
                    bonus += grant.remaining
    if clawback is not None:
        if not 0 <= clawback.owed <= clawback.total:
            raise ValueError(f"{clawback.owed} credits of grant {clawback.grant_id} are owed of {clawback.total}")
        debt += clawback.owed - account.clawback_of(clawback.grant_id).owed
        clawbacks = _with_clawback(clawbacks, clawback)
    if moved:
        for lot in lots:
            if lot.kind is GrantKind.ALLOWANCE:
                monthly += moved * lot.amount
            else:
                bonus += moved * lot.amount
    after = Account(
        account.id,
        account.plan if plan is None else plan,
        now_allowance,
        seq,
        monthly,
        bonus,
        held,
        debt,
        grants,
        scheduled,
        holds,
        clawbacks,
        archived,
        account.wakes_at if kind in _NO_NEW_DEADLINE else first_deadline(grants, scheduled, holds, now_allowance),
    )
    entry = Entry(
        account.id,
        seq,
        kind,
        monthly + bonus - account.monthly - account.bonus,
        monthly,
        bonus,
        held,
        debt,
        effective_at,
        recorded_at,
        key,
        request,
        lots,
        grant,
        plan,
        allowance,
        reason,
        reference,
        hold,
        hold_until,
        reverses,
        reopened,
        lapsed,
        clawback,
        debt - account.debt,
        checkpoint,
    )
    return after, entry


def first_deadline(
    grants: tuple[Grant, ...],
    scheduled: tuple[Scheduled, ...],
    holds: tuple[Hold, ...],
    allowance: Allowance | None,
) -> datetime | None:
    """The earliest instant at which time alone could change such an account: its `wakes_at`."""
    instants = [g.expires_at for g in grants if g.expires_at is not None]
    instants += [s.grant.effective_at for s in scheduled]
    instants += [h.expires_at for h in holds]
    if allowance is not None:
        instants.append(allowance.period.end)
    return min(instants, default=None)


def _sum(lots: tuple[Lot, ...]) -> int:
    return sum(lot.amount for lot in lots)


def _with_hold(holds: tuple[Hold, ...], part: Hold, *, opened: bool) -> tuple[Hold, ...]:
    """Add a hold, or what an open one of the same id sets aside in addition, until its new deadline."""
    if opened:
        return (*holds, part)
    before, _ = _without_hold(holds, part.id)
    amounts = {lot.grant_id: lot for lot in before.lots}
    for lot in part.lots:
        first = amounts.get(lot.grant_id)
        amounts[lot.grant_id] = lot if first is None else Lot(lot.grant_id, lot.kind, first.amount + lot.amount)
    after = Hold(before.id, tuple(amounts.values()), part.expires_at, before.operation)
    return tuple(after if h is before else h for h in holds)


def _without_hold(holds: tuple[Hold, ...], id: int | None) -> tuple[Hold, tuple[Hold, ...]]:
    ended = next((h for h in holds if h.id == id), None)
    if ended is None:
        raise ValueError(f"no open hold {id}")
    return ended, tuple(h for h in holds if h is not ended)


def _aside(grants: tuple[Grant, ...]) -> int:
    return sum(grant.aside for grant in grants)


def _with_clawback(clawbacks: tuple[Clawback, ...], after: Clawback) -> tuple[Clawback, ...]:
    """In the order in which they first came, so that the oldest debt is repaid first (S24)."""
    if any(c.grant_id == after.grant_id for c in clawbacks):
        return tuple(after if c.grant_id == after.grant_id else c for c in clawbacks)
    return (*clawbacks, after)
