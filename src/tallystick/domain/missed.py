"""Periods that nobody looked in, so that they are not in the ledger: missed ones collapse into the current one (S14)."""

from collections.abc import Sequence
from datetime import timedelta

from tallystick.domain.account import Entry, EntryKind, GrantKind
from tallystick.domain.periods import period_containing


def may_have_missed(last: Entry, after: Sequence[Entry]) -> bool:
    """Whether a period may lie between `last` and the entries `after` it that was opened by nobody.

    What the account had in it no entry says; it follows from the state after `last`. `after` are the next entries, at
    least those until a period begins, or as many as are worth looking at. False only when there is no such period: a
    command would have opened it, and an allowance that lapses later had not ended yet.
    """
    for entry in after:
        if entry.key is not None:
            return False
        if entry.kind is EntryKind.LAPSED and any(lot.kind is GrantKind.ALLOWANCE for lot in entry.lots):
            return False
        if entry.kind is EntryKind.GRANT_STARTED and entry.allowance is not None:
            return True
        if entry.kind is EntryKind.ALLOWANCE_OPENED and entry.allowance is not None:
            start, anchor = entry.allowance.period.start, entry.allowance.anchor
            if start <= anchor:
                return False
            before = period_containing(anchor, start - timedelta.resolution)
            return last.recorded_at == entry.recorded_at or last.effective_at < before.start
    return bool(after)
