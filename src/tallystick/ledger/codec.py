"""Accounts and entries as rows, and back. Pure, and on the hot path: compact JSON, instants as microseconds.

Both stores share it, so that a ledger means the same on either database.
"""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from json.encoder import encode_basestring as quoted
from typing import Any
from zlib import compress, decompress

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
from tallystick.domain.periods import Period
from tallystick.domain.record import first_deadline
from tallystick.domain.replay import LedgerMismatch

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
# What reading raises where a row says something that was never written.
_DAMAGED = (ValueError, TypeError, LookupError, AttributeError, OverflowError)
_ENTRY_KINDS = {kind.value: kind for kind in EntryKind}
_GRANT_KINDS = {kind.value: kind for kind in GrantKind}
_parse = json.JSONDecoder().raw_decode
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def account_row(account: Account, due_at: datetime | None) -> tuple[Any, ...]:
    """The values of ACCOUNT_COLUMNS. `due_at` is when time alone changes the account next."""
    return (
        account.id,
        account.plan,
        account.seq,
        account.monthly,
        account.bonus,
        account.held,
        account.debt,
        due_at,
        state_text(account),
    )


def state_text(account: Account) -> str:
    """What an account's row says beyond its numbers: allowance, grants, holds and debts."""
    scheduled = [f"[{_grant(s.grant)},{_allowance(s.allowance)}]" for s in account.scheduled]
    state = f'{{"a":{_allowance(account.allowance)},"g":{_list(map(_grant, account.grants))},"s":{_list(scheduled)}'
    if account.holds:
        holds = [f"[{h.id},{_lots(h.lots)},{_micros(h.expires_at)},{quoted(h.operation)}]" for h in account.holds]
        state += f',"h":{_list(holds)}'
    if account.clawbacks:
        state += f',"c":{_list(map(_clawback, account.clawbacks))}'
    if account.archived:
        state += f',"n":{account.archived}'
    return state + "}"


def account_from(row: Any) -> Account:
    """The account of a row that has ACCOUNT_COLUMNS in their order. Raises LedgerMismatch when it cannot be read."""
    try:
        return _account(row)
    except _DAMAGED as error:
        raise LedgerMismatch(f"Account {row[0]}: its row cannot be read ({error!r:.120}).") from error


def _account(row: Any) -> Account:
    id, plan, seq, monthly, bonus, held, debt, _due_at, text = row
    state = _read(text)
    allowance = _to_allowance(state["a"])
    grants = tuple([_to_grant(grant) for grant in state["g"]])
    scheduled = tuple([Scheduled(_to_grant(grant), _to_allowance(a)) for grant, a in state["s"]])
    holds = tuple(
        [Hold(id, _to_lots(lots), _instant(until), operation) for id, lots, until, operation in state.get("h", ())]
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
        clawbacks=tuple(map(_to_clawback, state.get("c", ()))),
        archived=state.get("n", 0),
        wakes_at=first_deadline(grants, scheduled, holds, allowance),
    )


def _read(text: str) -> Any:
    """What JSON without blanks around it says. Looking for those is half of what `json.loads` does."""
    value, end = _parse(text)
    if end != len(text):
        raise ValueError("something comes after its JSON")
    return value


def proof_text(account: Account) -> str:
    """A proven account as text, to be kept."""
    return json.dumps(account_row(account, None))


def account_from_proof(account_id: str, text: str) -> Account:
    """The account of `proof_text`. Raises LedgerMismatch when it cannot be read."""
    try:
        return _account(json.loads(text))
    except _DAMAGED as error:
        raise LedgerMismatch(f"Account {account_id}: its last proof cannot be read ({error!r:.120}).") from error


def key_digest(key: str) -> int:
    """A number by which an archived key is looked up. 64 bits: rarely two keys of an account share one."""
    return int.from_bytes(sha256(key.encode()).digest()[:8], signed=True)


def pack(entries: Iterable[Entry]) -> bytes:
    """Entries of one account as a few bytes each."""
    return compress(json.dumps([entry_row(entry, _micros) for entry in entries]).encode(), 9)


def unpack(packed: bytes) -> list[Entry]:
    """The entries of `pack`."""
    return [entry_from(row, _instant) for row in json.loads(decompress(packed))]


def _as_it_is(instant: datetime) -> datetime:
    return instant


def entry_row(entry: Entry, written: Callable[[datetime], Any] = _as_it_is) -> tuple[Any, ...]:
    """The values of ENTRY_COLUMNS, its instants as `written` makes them."""
    detail = []
    if entry.lots:
        detail.append(f'"lots":{_lots(entry.lots)}')
    if entry.grant is not None:
        detail.append(f'"grant":{_grant(entry.grant)}')
    if entry.plan is not None:
        detail.append(f'"plan":{quoted(entry.plan)}')
    if entry.allowance is not None:
        detail.append(f'"allowance":{_allowance(entry.allowance)}')
    if entry.reason:
        detail.append(f'"reason":{quoted(entry.reason)}')
    if entry.reference is not None:
        detail.append(f'"reference":{quoted(entry.reference)}')
    if entry.hold is not None:
        detail.append(f'"hold":{entry.hold}')
    if entry.hold_until is not None:
        detail.append(f'"hold_until":{_micros(entry.hold_until)}')
    if entry.reopened:
        detail.append(f'"reopened":{_list(map(_grant, entry.reopened))}')
    if entry.lapsed:
        detail.append(f'"lapsed":{_lots(entry.lapsed)}')
    if entry.clawback is not None:
        detail.append(f'"clawback":{_clawback(entry.clawback)},"owed":{entry.owed}')
    if entry.checkpoint is not None:
        c = entry.checkpoint
        detail.append(f'"checkpoint":{{"up_to":{c.up_to},"hash":{quoted(c.hash)},"state":{proof_text(c.state)}}}')
    return (
        entry.account_id,
        entry.seq,
        # A plain str: for any other type the driver of SQLite looks for an adapter.
        f"{entry.kind}",
        entry.amount,
        entry.monthly,
        entry.bonus,
        entry.held,
        entry.debt,
        written(entry.effective_at),
        written(entry.recorded_at),
        entry.key,
        entry.request,
        entry.reverses,
        f"{{{','.join(detail)}}}",
    )


def entry_from(row: Any, read: Callable[[Any], datetime] = _as_it_is) -> Entry:
    """The entry of a row that has ENTRY_COLUMNS in their order, whose instants `read` understands.

    Raises LedgerMismatch when it cannot be read.
    """
    try:
        return _entry(row, read)
    except _DAMAGED as error:
        raise LedgerMismatch(f"Account {row[0]}, entry {row[1]}: it cannot be read ({error!r:.120}).") from error


def _entry(row: Any, read: Callable[[Any], datetime]) -> Entry:
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
    detail = _read(text)
    grant = detail.get("grant")
    until = detail.get("hold_until")
    clawback = detail.get("clawback")
    checkpoint = detail.get("checkpoint")
    # In the order of the fields: half as dear as by their names, and a proof reads millions.
    return Entry(
        account_id,
        seq,
        _ENTRY_KINDS.get(kind) or EntryKind(kind),
        amount,
        monthly,
        bonus,
        held,
        debt,
        read(effective_at),
        read(recorded_at),
        key,
        request,
        _to_lots(detail.get("lots", ())),
        None if grant is None else _to_grant(grant),
        detail.get("plan"),
        _to_allowance(detail.get("allowance")),
        detail.get("reason", ""),
        detail.get("reference"),
        detail.get("hold"),
        None if until is None else _instant(until),
        reverses,
        tuple([_to_grant(grant) for grant in detail.get("reopened", ())]),
        _to_lots(detail.get("lapsed", ())),
        None if clawback is None else _to_clawback(clawback),
        detail.get("owed", 0),
        None if checkpoint is None else _to_checkpoint(checkpoint),
    )


# The same instants come again and again: the ends of periods, the moment of a batch.
@lru_cache(4_096)
def _micros(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND


@lru_cache(4_096)
def _instant(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _list(values: Iterable[str]) -> str:
    return f"[{','.join(values)}]"


def _lots(lots: tuple[Lot, ...]) -> str:
    return _list([f'[{lot.grant_id},"{lot.kind}",{lot.amount}]' for lot in lots])


def _to_lots(values: Iterable[Any]) -> tuple[Lot, ...]:
    return tuple([Lot(id, _GRANT_KINDS[kind], amount) for id, kind, amount in values])


def _grant(grant: Grant) -> str:
    expires = "null" if grant.expires_at is None else _micros(grant.expires_at)
    held = f",{grant.held}" if grant.held or grant.frozen else ""
    frozen = ",1" if grant.frozen else ""
    return (
        f'[{grant.id},"{grant.kind}",{grant.remaining},{grant.priority},'
        f"{_micros(grant.effective_at)},{expires}{held}{frozen}]"
    )


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
        len(values) > 7,
    )


def _clawback(clawback: Clawback) -> str:
    c = clawback
    return f"[{c.grant_id},{c.total},{c.owed},{int(c.frozen)},{c.version}]"


def _to_clawback(values: list[int]) -> Clawback:
    grant_id, total, owed, frozen, version = values
    return Clawback(grant_id, total, owed, bool(frozen), version)


def _to_checkpoint(values: dict[str, Any]) -> Checkpoint:
    return Checkpoint(values["up_to"], values["hash"], _account(values["state"]))


def _allowance(allowance: Allowance | None) -> str:
    if allowance is None:
        return "null"
    period, paid = allowance.period, allowance.paid
    until = "null,null" if paid is None else f"{_micros(paid.start)},{_micros(paid.end)}"
    return (
        f"[{quoted(allowance.plan)},{_micros(allowance.anchor)},"
        f"{_micros(period.start)},{_micros(period.end)},{allowance.credits},{until},{allowance.opened_by}]"
    )


def _to_allowance(values: list[Any] | None) -> Allowance | None:
    if values is None:
        return None
    plan, anchor, start, end, credits = values[:5]
    paid_from, paid_until, opened_by = values[5:] or (None, None, 0)
    return Allowance(
        plan,
        _instant(anchor),
        Period(_instant(start), _instant(end)),
        credits,
        None if paid_from is None else Period(_instant(paid_from), _instant(paid_until)),
        opened_by,
    )
