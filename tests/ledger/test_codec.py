"""An entry is the same after it was a row, on either database, in the packed archive and in its files."""

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tallystick.domain.account import (
    Account,
    Allowance,
    Checkpoint,
    Clawback,
    Entry,
    EntryKind,
    Grant,
    GrantKind,
    Lot,
)
from tallystick.domain.periods import Period
from tallystick.ledger.archive_files import line_of
from tallystick.ledger.codec import entry_from, entry_row, pack, unpack
from tallystick.ledger.sqlite_rows import read_entry, written_row

NOW = datetime(2026, 3, 31, 23, 59, 59, 123_456, tzinfo=UTC)
LATER = [NOW + timedelta(days=n) for n in range(9)]
GRANTS = [
    Grant(n, kind, n * 10, kind.priority, LATER[n], LATER[n + 1] if n % 2 else None, held=n)
    for n, kind in enumerate(GrantKind)
]
ALLOWANCE = Allowance("plus", LATER[1], Period(LATER[2], LATER[3]), 300, Period(LATER[4], LATER[5]), 7)
EVERYTHING = Entry(
    account_id='it\'s "me" \\ é',
    seq=41,
    kind=EntryKind.CLAWED_BACK,
    amount=-2,
    monthly=3,
    bonus=50,
    held=5,
    debt=6,
    effective_at=LATER[6],
    recorded_at=LATER[7],
    key="key",
    request='["Request",{"of":"☃"}]',
    lots=(Lot(1, GrantKind.BOUGHT, 8), Lot(2, GrantKind.ALLOWANCE, 9)),
    grant=GRANTS[1],
    plan="free",
    allowance=ALLOWANCE,
    reason="because",
    reference="pi_1",
    hold=10,
    hold_until=LATER[8],
    reverses=11,
    reopened=(GRANTS[2], replace(GRANTS[3], frozen=True)),
    lapsed=(Lot(12, GrantKind.GIFTED, 13),),
    clawback=Clawback(14, 15, 16, True, 17),
    owed=18,
    checkpoint=Checkpoint(19, "ab" * 32, Account("a", "plus", ALLOWANCE, 20, 21, 22, 23, 24, tuple(GRANTS[:2]), ())),
)
FORMS: dict[str, Callable[[Entry], Any]] = {
    "PostgreSQL": lambda entry: entry_from(entry_row(entry)),
    "SQLite": lambda entry: read_entry(written_row(entry, None, None)[: len(entry_row(entry))]),
    "packed": lambda entry: unpack(pack([entry]))[0],
    "a file of the archive": lambda entry: line_of(entry).entry(),
}


@pytest.mark.parametrize("form", FORMS)
def test_s5_an_entry_is_what_it_was_field_by_field(form: str) -> None:
    assert FORMS[form](EVERYTHING) == EVERYTHING
    least = Entry("a", 1, EntryKind.SPENT, -1, 2, 3, 0, 0, NOW, NOW)
    assert FORMS[form](least) == least


def test_the_entry_above_says_something_of_its_own_in_every_field() -> None:
    said = [getattr(EVERYTHING, field.name) for field in fields(Entry)]
    assert not [field.name for field, value in zip(fields(Entry), said, strict=True) if value == field.default]
    assert len(set(map(repr, said))) == len(said)
