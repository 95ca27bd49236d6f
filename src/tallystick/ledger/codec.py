"""Accounts and entries as rows, and back. Pure, and on the hot path: compact JSON, instants as microseconds.

Both stores share it, so that a ledger means the same on either database.
"""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from tallystick.domain.account import (
    Account,
    Allowance,
    Debt,
    Entry,
    EntryKind,
    Grant,
    GrantKind,
    Hold,
    Lot,
    Scheduled,
)
from tallystick.domain.periods import Period
from tallystick.domain.record import first_deadline

ACCOUNT_COLUMNS = (
    "id",
    "plan",
    "seq",
    "allowance_remaining",
    "bonus_credits",
    "held",
    "debt",
    "due_at",
    "state",
)
ENTRY_COLUMNS = (
    "account_id",
    "seq",
    "kind",
    "amount",
    "monthly",
    "bonus",
    "held",
    "debt",
    "effective_at",
    "recorded_at",
    "key",
    "request",
    "reverses",
    "detail",
)
_GRANT_KINDS = {kind.value: kind for kind in GrantKind}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_dump = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def account_row(account: Account, due_at: datetime | None) -> tuple[Any, ...]:
    """The values of ACCOUNT_COLUMNS. `due_at` is when time alone changes the account next."""
    state: dict[str, Any] = {
        "a": _allowance(account.allowance),
        "g": [_grant(grant) for grant in account.grants],
        "s": [[_grant(s.grant), _allowance(s.allowance)] for s in account.scheduled],
    }
    if account.holds:
        state["h"] = [[h.id, _lots(h.lots), _micros(h.expires_at), h.operation] for h in account.holds]
    if account.debts:
        state["d"] = [[debt.grant_id, debt.amount] for debt in account.debts]
    return (
        account.id,
        account.plan,
        account.seq,
        account.monthly,
        account.bonus,
        account.held,
        account.debt,
        due_at,
        _dump(state),
    )


def account_from(row: Any) -> Account:
    """The account of a row that has ACCOUNT_COLUMNS in their order."""
    id, plan, seq, monthly, bonus, held, debt, _due_at, text = row
    state = json.loads(text)
    allowance = _to_allowance(state["a"])
    grants = tuple(_to_grant(grant) for grant in state["g"])
    scheduled = tuple(Scheduled(_to_grant(grant), _to_allowance(a)) for grant, a in state["s"])
    holds = tuple(
        Hold(id, _to_lots(lots), _instant(until), operation) for id, lots, until, operation in state.get("h", ())
    )
    return Account(
        id=id,
        plan=plan,
        allowance=allowance,
        seq=seq,
        monthly=monthly,
        bonus=bonus,
        held=held,
        debt=debt,
        grants=grants,
        scheduled=scheduled,
        holds=holds,
        debts=tuple(Debt(grant_id, amount) for grant_id, amount in state.get("d", ())),
        wakes_at=first_deadline(grants, scheduled, holds, allowance),
    )


def entry_row(entry: Entry) -> tuple[Any, ...]:
    """The values of ENTRY_COLUMNS."""
    detail: dict[str, Any] = {}
    if entry.lots:
        detail["lots"] = _lots(entry.lots)
    if entry.grant is not None:
        detail["grant"] = _grant(entry.grant)
    if entry.plan is not None:
        detail["plan"] = entry.plan
    if entry.allowance is not None:
        detail["allowance"] = _allowance(entry.allowance)
    if entry.reason:
        detail["reason"] = entry.reason
    if entry.reference is not None:
        detail["reference"] = entry.reference
    if entry.hold is not None:
        detail["hold"] = entry.hold
    if entry.hold_until is not None:
        detail["hold_until"] = _micros(entry.hold_until)
    if entry.reopened:
        detail["reopened"] = [_grant(grant) for grant in entry.reopened]
    if entry.lapsed:
        detail["lapsed"] = _lots(entry.lapsed)
    if entry.owed_for is not None:
        detail["owed"] = [entry.owed_for, entry.owed]
    return (
        entry.account_id,
        entry.seq,
        entry.kind.value,
        entry.amount,
        entry.monthly,
        entry.bonus,
        entry.held,
        entry.debt,
        entry.effective_at,
        entry.recorded_at,
        entry.key,
        entry.request,
        entry.reverses,
        _dump(detail),
    )


def entry_from(row: Any) -> Entry:
    """The entry of a row that has ENTRY_COLUMNS in their order, its instants as datetimes."""
    (
        account_id,
        seq,
        kind,
        amount,
        monthly,
        bonus,
        held,
        debt,
        effective_at,
        recorded_at,
        key,
        request,
        reverses,
        text,
    ) = row
    detail = json.loads(text)
    grant = detail.get("grant")
    until = detail.get("hold_until")
    owed_for, owed = detail.get("owed", (None, 0))
    return Entry(
        account_id=account_id,
        seq=seq,
        kind=EntryKind(kind),
        amount=amount,
        monthly=monthly,
        bonus=bonus,
        held=held,
        debt=debt,
        effective_at=effective_at,
        recorded_at=recorded_at,
        key=key,
        request=request,
        lots=_to_lots(detail.get("lots", ())),
        grant=None if grant is None else _to_grant(grant),
        plan=detail.get("plan"),
        allowance=_to_allowance(detail.get("allowance")),
        reason=detail.get("reason", ""),
        reference=detail.get("reference"),
        hold=detail.get("hold"),
        hold_until=None if until is None else _instant(until),
        reverses=reverses,
        reopened=tuple(_to_grant(grant) for grant in detail.get("reopened", ())),
        lapsed=_to_lots(detail.get("lapsed", ())),
        owed=owed,
        owed_for=owed_for,
    )


def _micros(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND


def _instant(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _lots(lots: tuple[Lot, ...]) -> list[Any]:
    return [[lot.grant_id, lot.kind, lot.amount] for lot in lots]


def _to_lots(values: Iterable[Any]) -> tuple[Lot, ...]:
    return tuple(Lot(id, _GRANT_KINDS[kind], amount) for id, kind, amount in values)


def _grant(grant: Grant) -> list[Any]:
    values = [
        grant.id,
        grant.kind,
        grant.remaining,
        grant.priority,
        _micros(grant.effective_at),
        None if grant.expires_at is None else _micros(grant.expires_at),
    ]
    if grant.held:
        values.append(grant.held)
    return values


def _to_grant(values: list[Any]) -> Grant:
    id, kind, remaining, priority, effective, expires = values[:6]
    return Grant(
        id,
        _GRANT_KINDS[kind],
        remaining,
        priority,
        _instant(effective),
        None if expires is None else _instant(expires),
        values[6] if len(values) > 6 else 0,
    )


def _allowance(allowance: Allowance | None) -> list[Any] | None:
    if allowance is None:
        return None
    period = allowance.period
    return [
        allowance.plan,
        _micros(allowance.anchor),
        _micros(period.start),
        _micros(period.end),
        allowance.credits,
    ]


def _to_allowance(values: list[Any] | None) -> Allowance | None:
    if values is None:
        return None
    plan, anchor, start, end, credits = values
    return Allowance(plan, _instant(anchor), Period(_instant(start), _instant(end)), credits)
