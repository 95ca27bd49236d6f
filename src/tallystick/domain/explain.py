"""Why an entry says what it says: the rule it follows, and the grants it moved with where they came from."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tallystick.domain.account import Account, Entry, EntryKind, GrantKind
from tallystick.domain.replay import replay

RULES = {
    EntryKind.ACCOUNT_OPENED: "An account starts on its plan, with the first allowance if the plan renews by itself.",
    EntryKind.PLAN_SET: "S17, S18: an upgrade adds its share of the period at once; bonus credits stay.",
    EntryKind.ALLOWANCE_OPENED: "S14, S15: the allowance of a new period opens when it begins or is paid.",
    EntryKind.ALLOWANCE_SKIPPED: "S15: this period, or a later one, was open already.",
    EntryKind.ALLOWANCE_PROLONGED: "S15, S17: more time was paid for; what is open runs to its end first.",
    EntryKind.BONUS_GRANTED: "Bonus credits never reset.",
    EntryKind.GRANT_SCHEDULED: "S2: a grant is usable from its effective_at.",
    EntryKind.GRANT_STARTED: "S2: a grant is usable from its effective_at.",
    EntryKind.LAPSED: "S2, S14: what is left of a grant lapses at its expires_at.",
    EntryKind.SPENT: "S10: priority first, then what expires first, then what took effect first, then the oldest.",
    EntryKind.REVERSED: "S13: credits return to the very grants they came from, unless those have lapsed.",
    EntryKind.HELD: "S12: a hold sets credits aside in burn order.",
    EntryKind.HOLD_EXTENDED: "S12: a hold may draw more, or last longer.",
    EntryKind.CAPTURED: "S12: a capture takes what was held first, then what is available; the rest is released.",
    EntryKind.RELEASED: "S12: a hold that is released, or whose deadline passes, gives everything back.",
    EntryKind.REMOVED: "An operator's correction, taken in burn order.",
    EntryKind.CLAWED_BACK: "S23, S24: taken from that grant first; what was used of it becomes debt.",
    EntryKind.RESTORED: "S23, S25: a refund that failed, or a dispute that was won, is undone; debt for it is forgiven.",
    EntryKind.FROZEN: "S25: while its payment is disputed, what remains of a grant is out of reach.",
    EntryKind.THAWED: "S25: the dispute is over, so what remains of the grant can be spent again.",
    EntryKind.CLAWBACK_CONFIRMED: "S27: the payment was looked at while another look was under way; this one counts.",
    EntryKind.CHECKPOINT: "S5: what came before is in the archive; this says what it came to, with a hash over it.",
    EntryKind.DEBT_REPAID: "S24: debt is repaid first from the next bonus grant.",
}
"""The rule behind each kind of entry."""


@dataclass(frozen=True, slots=True)
class GrantMoved:
    """One grant that an entry moved: how much of it, what remained before and after, and its source.

    `made_by` is the entry that made the grant, `source` that entry's reference or reason.
    """

    grant_id: int
    kind: GrantKind
    amount: int
    remained_before: int
    remained_after: int
    made_by: Entry
    source: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """An entry, the rule it follows, and the grants it moved, in the order in which it moved them."""

    entry: Entry
    rule: str
    grants: tuple[GrantMoved, ...]


def explain(begins: Account, history: Sequence[Entry], older: Sequence[Entry] = ()) -> Explanation:
    """Explain the last entry of `history`, which are the account's entries in order since it was `begins`.

    That is the blank account, or what it was after the entries that are in the archive; `older` are those from
    before that made grants which the entry moved.
    """
    entry = history[-1]
    made = {e.seq: e for e in (*older, *history)}
    state = replay(begins.id, history[:-1], begins)
    before = _remaining(state)
    after = _remaining(replay(begins.id, [entry], state))
    moved = []
    for lot in entry.lots:
        made_by = made[lot.grant_id]
        moved.append(
            GrantMoved(
                grant_id=lot.grant_id,
                kind=lot.kind,
                amount=lot.amount,
                remained_before=before.get(lot.grant_id, 0),
                remained_after=after.get(lot.grant_id, 0),
                made_by=made_by,
                source=made_by.reference or made_by.reason,
                expires_at=None if made_by.grant is None else made_by.grant.expires_at,
            )
        )
    return Explanation(entry, RULES[entry.kind], tuple(moved))


def _remaining(account: Account) -> dict[int, int]:
    return {grant.id: grant.remaining for grant in account.grants}
