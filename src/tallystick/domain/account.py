"""The state of one account and the lines of its ledger, as plain data.

What moves credits is in `decide`; what a line does to the state is in `record`.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from tallystick.domain.frozen import cheaply_made
from tallystick.domain.periods import Period

LAST_ENTRY = 2**63 - 1
"""The largest number that an entry can have: the largest that both databases hold."""

_NEVER = datetime.max.replace(tzinfo=UTC)


class GrantKind(StrEnum):
    """Where a lot of credits came from. Everything but `allowance` is bonus credits."""

    ALLOWANCE = "allowance"
    BOUGHT = "bought"
    GIFTED = "gifted"
    PROMOTIONAL = "promotional"
    ADJUSTED = "adjusted"

    @property
    def priority(self) -> int:
        """The kind's place in the burn order: lower burns first (S10)."""
        if self is GrantKind.ALLOWANCE:
            return 10
        return 30 if self is GrantKind.PROMOTIONAL else 50


@cheaply_made
@dataclass(frozen=True, slots=True)
class Grant:
    """One lot of credits. `id` is the number of the entry that made it, unique within its account.

    `held` of what remains is set aside by holds (S12). While its payment is disputed it is `frozen`: nothing
    of it can be spent or held anew (S25).
    """

    id: int
    kind: GrantKind
    remaining: int
    priority: int
    effective_at: datetime
    expires_at: datetime | None
    held: int = 0
    frozen: bool = False

    @property
    def free(self) -> int:
        """What can be spent of it."""
        return 0 if self.frozen else self.remaining - self.held

    @property
    def unheld(self) -> int:
        """What no hold has set aside."""
        return self.remaining - self.held

    @property
    def aside(self) -> int:
        """What is set aside of it, by holds or because it is frozen: its part of the account's `held` (S6)."""
        return self.remaining if self.frozen else self.held

    @property
    def burn_key(self) -> tuple[int, datetime, datetime, int]:
        """Sorts grants into burn order (S10)."""
        return (self.priority, self.expires_at or _NEVER, self.effective_at, self.id)


@cheaply_made
@dataclass(frozen=True, slots=True)
class Lot:
    """So many credits of one grant: what an entry took from it or put into it.

    The grant's kind stands here too, so that an entry alone says what was monthly and what was bonus.
    """

    grant_id: int
    kind: GrantKind
    amount: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Credits set aside until `expires_at` for work whose cost is not known yet (S12).

    `id` is the number of the entry that made it. `lots` say how much of which grants, in burn order.
    """

    id: int
    lots: tuple[Lot, ...]
    expires_at: datetime
    operation: str

    @property
    def amount(self) -> int:
        """How many credits it sets aside."""
        return sum(lot.amount for lot in self.lots)


@dataclass(frozen=True, slots=True)
class Clawback:
    """How much of one bonus grant has been taken back, all in all (S23, S25).

    `owed` of the `total` had been used by then and is still debt (S24). `frozen` says whether what remains
    of the grant is out of reach. `version` is the highest that a ClawBack of this grant came with.
    """

    grant_id: int
    total: int = 0
    owed: int = 0
    frozen: bool = False
    version: int = 0


class EntryKind(StrEnum):
    """What an entry says has happened."""

    ACCOUNT_OPENED = "account_opened"
    PLAN_SET = "plan_set"
    ALLOWANCE_OPENED = "allowance_opened"
    ALLOWANCE_SKIPPED = "allowance_skipped"
    ALLOWANCE_PROLONGED = "allowance_prolonged"
    BONUS_GRANTED = "bonus_granted"
    GRANT_SCHEDULED = "grant_scheduled"
    GRANT_STARTED = "grant_started"
    LAPSED = "lapsed"
    SPENT = "spent"
    REVERSED = "reversed"
    HELD = "held"
    HOLD_EXTENDED = "hold_extended"
    CAPTURED = "captured"
    RELEASED = "released"
    REMOVED = "removed"
    CLAWED_BACK = "clawed_back"
    RESTORED = "restored"
    FROZEN = "frozen"
    THAWED = "thawed"
    CLAWBACK_CONFIRMED = "clawback_confirmed"
    DEBT_REPAID = "debt_repaid"
    CHECKPOINT = "checkpoint"


@cheaply_made
@dataclass(frozen=True, slots=True)
class Allowance:
    """The period in which the current allowance is usable, and what was promised for it.

    `plan` is the plan it was opened for. `anchor` is what the account's next periods are counted from (S3).
    `credits` is the size promised so far, which an upgrade inside the period raises; it never falls before
    the period's end, so switching back and forth creates nothing (S17). `paid` is the time that the last
    invoice paid for: while it runs, a paid plan opens an allowance each month (S15). `opened_by` is the
    number of the entry that made its first grant: allowance grants before that one belong to another.
    """

    plan: str
    anchor: datetime
    period: Period
    credits: int
    paid: Period | None = None
    opened_by: int = 0

    def is_paid_at(self, instant: datetime) -> bool:
        """Whether `instant` lies in the time that was paid for."""
        return self.paid is not None and instant in self.paid


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A grant that is not effective yet; `allowance` says which one it opens, if it opens one."""

    grant: Grant
    allowance: Allowance | None


@cheaply_made
@dataclass(frozen=True, slots=True)
class Account:
    """Everything `decide` needs to know of one account.

    `grants` are usable now, none of them empty, in burn order; `scheduled` are not yet effective. A grant
    that is over stays among `grants` while a hold needs it. `seq` is the number of the account's last
    entry (S5). `allowance` is None until the first one opens. All amounts are credits. Entries up to number
    `archived` are in the archive. Before `wakes_at` time alone changes nothing; it may be earlier than the first
    change, never later.
    """

    id: str
    plan: str
    allowance: Allowance | None
    seq: int
    monthly: int
    bonus: int
    held: int
    debt: int
    grants: tuple[Grant, ...]
    scheduled: tuple[Scheduled, ...]
    holds: tuple[Hold, ...] = ()
    clawbacks: tuple[Clawback, ...] = ()
    archived: int = 0
    wakes_at: datetime | None = field(default=None, compare=False)

    @property
    def available(self) -> int:
        """What can be spent: monthly + bonus - held (S6)."""
        return self.monthly + self.bonus - self.held

    @property
    def frozen(self) -> int:
        """How much of `held` is out of reach because its payment is disputed (S25)."""
        return sum(grant.unheld for grant in self.grants if grant.frozen)

    def clawback_of(self, grant_id: int) -> Clawback:
        """What has been taken back of a grant so far."""
        return next((c for c in self.clawbacks if c.grant_id == grant_id), Clawback(grant_id))

    def resets_at(self, now: datetime) -> datetime | None:
        """When the allowance that is open at `now` ends, or None when none is open."""
        if self.allowance is None or now not in self.allowance.period:
            return None
        return self.allowance.period.end


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Says that entries up to number `up_to` went to the archive, and what they came to (S5).

    `hash` is over all of them, from the first; `state` is the account after them.
    """

    up_to: int
    hash: str
    state: Account


@cheaply_made
@dataclass(frozen=True, slots=True)
class Entry:
    """One immutable line of an account's ledger, with the balances after it (S4, S5).

    `amount` is the change of monthly plus bonus credits; holds change `held` alone. `effective_at` is the instant from which it
    counts; for what time does by itself that is the exact boundary, while `recorded_at` is when it was
    written down. `lots` says which grants it took from, set aside, returned to or started, and how
    much of each (S10). The entry of a command carries its idempotency `key` and the `request` it answered
    (S7). `hold` is the id of the hold it is about, `hold_until` that hold's deadline. A reversal names the
    entry it `reverses`, the grants it `reopened`, and what did not come back because its grant had
    `lapsed` (S13). `clawback` is what is taken back of a grant from now on, `owed` what became debt by it,
    negative where debt was repaid or forgiven (S23, S24). A `checkpoint` stands for the entries that are in the
    archive.
    """

    account_id: str
    seq: int
    kind: EntryKind
    amount: int
    monthly: int
    bonus: int
    held: int
    debt: int
    effective_at: datetime
    recorded_at: datetime
    key: str | None = None
    request: str | None = None
    lots: tuple[Lot, ...] = ()
    grant: Grant | None = None
    plan: str | None = None
    allowance: Allowance | None = None
    reason: str = ""
    reference: str | None = None
    hold: int | None = None
    hold_until: datetime | None = None
    reverses: int | None = None
    reopened: tuple[Grant, ...] = ()
    lapsed: tuple[Lot, ...] = ()
    clawback: Clawback | None = None
    owed: int = 0
    checkpoint: Checkpoint | None = None

    @property
    def available(self) -> int:
        """What could be spent after this entry (S6)."""
        return self.monthly + self.bonus - self.held

    @property
    def from_monthly(self) -> int:
        """How many of the credits in `lots` are monthly ones; the rest are bonus credits."""
        return sum(lot.amount for lot in self.lots if lot.kind is GrantKind.ALLOWANCE)

    @property
    def from_bonus(self) -> int:
        """How many of the credits in `lots` are bonus credits."""
        return sum(lot.amount for lot in self.lots if lot.kind is not GrantKind.ALLOWANCE)
