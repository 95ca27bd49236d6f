"""What one line of a ledger does to an account: the only code that changes balances.

`decide` uses it to write new entries and `replay` to prove old ones, so the two cannot disagree.
"""

from datetime import datetime

from tallystick.domain.account import Account, Allowance, Entry, EntryKind, Grant, GrantKind, Lot, Scheduled


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
) -> tuple[Account, Entry]:
    """Write the next entry of `account`: returns the account after it, and the entry.

    The facts alone decide the effect. `lots` are taken from their grants; in a GRANT_STARTED entry they
    name the scheduled grant that becomes usable. `grant` is added, or in a GRANT_SCHEDULED entry kept
    until it is effective together with the `allowance` it will open. `plan` and `allowance` replace what
    was there. Raises ValueError when lots do not fit the account's grants, which `decide` never writes.
    """
    grants, scheduled = account.grants, account.scheduled
    now_allowance = account.allowance if allowance is None else allowance
    if kind is EntryKind.GRANT_STARTED:
        grants, scheduled = _start(grants, scheduled, lots)
    elif kind is EntryKind.GRANT_SCHEDULED and grant is not None:
        scheduled = (*scheduled, Scheduled(grant, allowance))
        now_allowance = account.allowance
    else:
        grants = _add(_take(grants, lots), grant)
    monthly = sum(g.remaining for g in grants if g.kind is GrantKind.ALLOWANCE)
    bonus = sum(g.remaining for g in grants if g.kind is not GrantKind.ALLOWANCE)
    after = Account(
        id=account.id,
        plan=account.plan if plan is None else plan,
        allowance=now_allowance,
        seq=account.seq + 1,
        monthly=monthly,
        bonus=bonus,
        held=account.held,
        debt=account.debt,
        grants=grants,
        scheduled=scheduled,
    )
    entry = Entry(
        account_id=account.id,
        seq=after.seq,
        kind=kind,
        amount=monthly + bonus - account.monthly - account.bonus,
        monthly=monthly,
        bonus=bonus,
        held=after.held,
        debt=after.debt,
        effective_at=effective_at,
        recorded_at=recorded_at,
        key=key,
        request=request,
        lots=lots,
        grant=grant,
        plan=plan,
        allowance=allowance,
        reason=reason,
        reference=reference,
    )
    return after, entry


def _take(grants: tuple[Grant, ...], lots: tuple[Lot, ...]) -> tuple[Grant, ...]:
    if not lots:
        return grants
    wanted = {lot.grant_id: lot for lot in lots}
    left = []
    for grant in grants:
        lot = wanted.pop(grant.id, None)
        taken = 0 if lot is None else lot.amount
        if taken > grant.remaining:
            raise ValueError(f"grant {grant.id} has {grant.remaining} credits left, not {taken}")
        if lot is not None and lot.kind is not grant.kind:
            raise ValueError(f"grant {grant.id} is of kind {grant.kind}, not {lot.kind}")
        if taken == grant.remaining:
            continue
        left.append(_with_remaining(grant, grant.remaining - taken) if taken else grant)
    if wanted:
        raise ValueError(f"no open grant {', '.join(str(id) for id in sorted(wanted))}")
    return tuple(left)


def _add(grants: tuple[Grant, ...], grant: Grant | None) -> tuple[Grant, ...]:
    if grant is None or grant.remaining == 0:
        return grants
    return tuple(sorted((*grants, grant), key=lambda g: g.burn_key))


def _start(
    grants: tuple[Grant, ...], scheduled: tuple[Scheduled, ...], lots: tuple[Lot, ...]
) -> tuple[tuple[Grant, ...], tuple[Scheduled, ...]]:
    for lot in lots:
        starting = next((s for s in scheduled if s.grant.id == lot.grant_id), None)
        if starting is None or starting.grant.remaining != lot.amount:
            raise ValueError(f"no scheduled grant {lot.grant_id} of {lot.amount} credits")
        grants = _add(grants, starting.grant)
        scheduled = tuple(s for s in scheduled if s is not starting)
    return grants, scheduled


def _with_remaining(grant: Grant, remaining: int) -> Grant:
    return Grant(grant.id, grant.kind, remaining, grant.priority, grant.effective_at, grant.expires_at)
