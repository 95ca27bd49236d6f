"""What one account should have, worked out the plain way from SEMANTICS.md: a list of lots, and loops over it.

It shares nothing with the ledger but the words. It is told of commands that have to be accepted, and asked before
whether they are.
"""

from calendar import monthrange
from dataclasses import dataclass, field
from datetime import UTC, datetime

FOREVER = datetime.max.replace(tzinfo=UTC)
MONTHLY, PROMOTIONAL, BONUS = 10, 30, 50
"""The places in the burn order (S10)."""


@dataclass(eq=False)
class Lot:
    """Some credits of one origin. `era` counts allowances: those of an earlier one never come back."""

    place: int
    granted: int
    starts: datetime
    ends: datetime | None
    number: int
    era: int = 0
    left: int = field(init=False)
    held: int = 0
    frozen: bool = False
    started: bool = True

    def __post_init__(self) -> None:
        self.left = self.granted

    @property
    def free(self) -> int:
        return self.left - self.held if self.started and not self.frozen else 0

    @property
    def burns(self) -> tuple[int, datetime, datetime, int]:
        return self.place, self.ends or FOREVER, self.starts, self.number


@dataclass(eq=False)
class Hold:
    parts: dict[Lot, int]
    until: datetime

    @property
    def amount(self) -> int:
        return sum(self.parts.values())


@dataclass
class Claw:
    """What was taken back of a lot, and what of that is owed."""

    total: int = 0
    owed: int = 0


def month(anchor: datetime, n: int) -> datetime:
    """`n` months after the anchor, on the same day or the last one the month has (S3)."""
    years, index = divmod(anchor.month - 1 + n, 12)
    year, number = anchor.year + years, index + 1
    return anchor.replace(year=year, month=number, day=min(anchor.day, monthrange(year, number)[1]))


class Model:
    """One account. `sizes` has each plan's allowance; plans in `paid` open one only for what was paid (S15)."""

    def __init__(self, sizes: dict[str, int], paid: set[str], plan: str, now: datetime) -> None:
        self.sizes, self.paid, self.plan = sizes, paid, plan
        self.lots: list[Lot] = []
        self.holds: list[Hold] = []
        self.claws: dict[Lot, Claw] = {}
        self.era = 0
        self.anchor = now
        self.paid_for: tuple[datetime, datetime] | None = None
        self._open(plan, now, month(now, 1))

    # What it comes to (S6)

    @property
    def monthly(self) -> int:
        return sum(lot.left for lot in self.lots if lot.place == MONTHLY)

    @property
    def bonus(self) -> int:
        return sum(lot.left for lot in self.lots if lot.place != MONTHLY and lot.started)

    @property
    def available(self) -> int:
        return sum(lot.free for lot in self.lots)

    @property
    def debt(self) -> int:
        return sum(claw.owed for claw in self.claws.values())

    # Time

    def pass_time(self, now: datetime) -> None:
        """Everything up to now, each at its instant (S12, S14)."""
        while True:
            due: list[tuple[datetime, int, Hold | Lot]] = []
            due += [(hold.until, 0, hold) for hold in self.holds]
            due += [(lot.starts, 1, lot) for lot in self.lots if not lot.started]
            due = sorted((d for d in due if d[0] <= now), key=lambda d: d[:2])
            if not due:
                break
            what = due[0][2]
            if isinstance(what, Hold):
                self.release(what)
            else:
                what.started = True
                self._repay(what)
        if now >= self.until:
            self._next_month(now)
        self._lapse(now)

    def _next_month(self, now: datetime) -> None:
        if self.plan in self.paid and not self._is_paid_at(self.until):
            return
        if self.plan in self.paid and not self._is_paid_at(now):
            # All of it was missed, and its last month is over too.
            self._open(self.plan, self.until, self.until)
            self.paid_for = None
            return
        n = 0
        while month(self.anchor, n + 1) <= now:
            n += 1
        self._open(self.plan, month(self.anchor, n), month(self.anchor, n + 1))

    def _lapse(self, now: datetime) -> None:
        for lot in self.lots:
            over = (lot.ends is not None and lot.ends <= now) or (lot.place == MONTHLY and lot.era < self.era)
            if over and lot.started and not lot.frozen:
                lot.left = lot.held

    # Allowance

    def _open(self, plan: str, begins: datetime, ends: datetime) -> None:
        self.era += 1
        self.opened_for, self.begins, self.until, self.promised = plan, begins, ends, self.sizes[plan]
        self._lot(MONTHLY, self.sizes[plan], begins, ends)

    def _is_paid_at(self, instant: datetime) -> bool:
        return self.paid_for is not None and self.paid_for[0] <= instant < self.paid_for[1]

    def change_plan(self, plan: str, now: datetime) -> None:
        """More is added at once, for what is left of the period; less waits for its end (S17)."""
        self.plan = plan
        more = self.sizes[plan] - self.promised
        if now < self.until and more > 0 and (plan not in self.paid or self._is_paid_at(now)):
            self._lot(MONTHLY, more * (self.until - now) // (self.until - self.begins), now, self.until)
            self.opened_for, self.promised = plan, self.sizes[plan]
        self.pass_time(now)

    def pay(self, plan: str, begins: datetime, months: int, now: datetime) -> None:
        """A paid period opens its allowance at once, in the place of what there was; only once (S15)."""
        ends = month(begins, months)
        # What is longer may begin in the second in which a trial began that ended at once.
        known = self.paid_for is not None and self.opened_for == plan and (begins, ends) <= self.paid_for
        if ends <= now or known:
            return
        n = 0
        while month(begins, n + 1) <= now:
            n += 1
        for lot in self.lots:
            if lot.place == MONTHLY:
                # What a hold still needs of it burns before what takes its place.
                lot.ends = min(lot.ends or now, now)
        self._open(plan, month(begins, n), month(begins, n + 1))
        self.paid_for = (begins, ends)
        # A yearly one goes on month by month; after a monthly one, whatever follows counts from its end.
        self.anchor = begins if months > 1 else ends
        self._lapse(now)

    # Credits

    def grant(self, place: int, credits: int, starts: datetime, ends: datetime | None, now: datetime) -> Lot:
        lot = self._lot(place, credits, starts, ends, started=starts <= now)
        if lot.started:
            self._repay(lot)
        return lot

    def take(self, amount: int) -> dict[Lot, int]:
        """Out of the lots in burn order (S10)."""
        parts = self._choose(amount)
        for lot, part in parts.items():
            lot.left -= part
        return parts

    def give_back(self, parts: dict[Lot, int], now: datetime) -> None:
        """To the lots they came from; those that are over give nothing (S13)."""
        for lot, part in parts.items():
            lot.left += part
        self._repay_own()
        self._lapse(now)

    def hold(self, amount: int, until: datetime) -> Hold:
        hold = Hold({}, until)
        self.holds.append(hold)
        self.hold_more(hold, amount)
        return hold

    def hold_more(self, hold: Hold, amount: int) -> None:
        for lot, part in self._choose(amount).items():
            lot.held += part
            hold.parts[lot] = hold.parts.get(lot, 0) + part

    def capture(self, hold: Hold, amount: int, now: datetime) -> dict[Lot, int]:
        """First what it holds, then what there is besides; the rest is released (S12)."""
        taken: dict[Lot, int] = {}
        for lot in sorted(hold.parts, key=lambda lot: lot.burns):
            part = min(hold.parts[lot], amount)
            amount -= part
            taken[lot] = part
        for lot, part in self._choose(amount).items():
            taken[lot] = taken.get(lot, 0) + part
        self._unhold(hold)
        for lot, part in taken.items():
            lot.left -= part
        self._repay_own()
        self._lapse(now)
        return taken

    def release(self, hold: Hold) -> None:
        self._unhold(hold)
        self._repay_own()

    def claw_back(self, lot: Lot, total: int, frozen: bool, now: datetime) -> None:
        """So much is taken back of a lot in all; what is not there any more is owed (S23, S24, S25)."""
        claw = self.claws.setdefault(lot, Claw())
        more = total - claw.total
        if more > 0:
            there = min(lot.left - lot.held, more)
            lot.left -= there
            claw.owed += more - there
        else:
            forgiven = min(claw.owed, -more)
            claw.owed -= forgiven
            lot.left += -more - forgiven
        claw.total = total
        lot.frozen = frozen
        self._repay_own()
        self._lapse(now)

    def _lot(self, place: int, credits: int, starts: datetime, ends: datetime | None, started: bool = True) -> Lot:
        era = self.era if place == MONTHLY else 0
        lot = Lot(place, credits, starts, ends, len(self.lots), era)
        lot.started = started
        self.lots.append(lot)
        return lot

    def _choose(self, amount: int) -> dict[Lot, int]:
        parts = {}
        for lot in sorted(self.lots, key=lambda lot: lot.burns):
            if part := min(lot.free, amount):
                parts[lot] = part
                amount -= part
        assert amount == 0, "more than there is"
        return parts

    def _unhold(self, hold: Hold) -> None:
        self.holds.remove(hold)
        for lot, part in hold.parts.items():
            lot.held -= part

    def _repay(self, lot: Lot) -> None:
        """A bonus lot that arrives pays what is owed, the oldest first (S24)."""
        for claw in self.claws.values():
            part = min(lot.free, claw.owed)
            lot.left -= part
            claw.owed -= part

    def _repay_own(self) -> None:
        """What returns to a lot that was taken back was not theirs to have."""
        for lot, claw in self.claws.items():
            part = min(lot.free, claw.owed)
            lot.left -= part
            claw.owed -= part
