"""What a subscription should come to, written down in the plainest way: the model that random lives are held against.

It follows one account through time, and knows neither Stripe nor the ledger: only S14 to S17, and that Stripe tries
to collect an invoice again three, eight and fifteen days after the first time, and gives up an update that waits for
its payment after 23 hours.
"""

from calendar import monthrange
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

FREE = 25
CREDITS = {"free": FREE, "plus": 500, "pro": 2_000}
WAITS = timedelta(hours=23)
"""How long a first payment may take, and one that an update waits for."""

TRIES = tuple(timedelta(days=days) for days in (3, 8, 15))


def months_after(anchor: datetime, n: int) -> datetime:
    year, month = divmod(anchor.year * 12 + anchor.month - 1 + n, 12)
    return anchor.replace(year=year, month=month + 1, day=min(anchor.day, monthrange(year, month + 1)[1]))


@dataclass
class Bill:
    """What could not be paid so far: a period until `ends`, or an upgrade within one, since it was `made`.

    `tries` are the instants at which it is tried again. One that nothing but itself `waits` for is given up then.
    """

    plan: str
    made: datetime
    ends: datetime
    tries: tuple[datetime, ...]
    upgrades: bool = False
    waits: bool = False


@dataclass(frozen=True)
class Month:
    """Monthly credits that were paid for, or FREE's where the plan `rests`: from `began` to the `end` of a month.

    It began at its `start`, or later where another one ran into it.
    """

    credits: int
    start: datetime
    end: datetime
    began: datetime
    rests: bool = False


@dataclass
class Running:
    """A subscription that has not ended. `becomes` is the plan that waits for the period's end.

    Nothing is billed before `billed_again`. What was paid for ends at `paid_until`. A trial that ends `without` a
    card is paused then, or cancelled.
    """

    plan: str
    months: int
    anchor: datetime
    ends: datetime
    status: str = "active"
    cancels: bool = False
    becomes: str = ""
    billed_again: datetime | None = None
    paid_until: datetime | None = None
    without: str = ""
    bills: list[Bill] = field(default_factory=list)

    @property
    def carries(self) -> str:
        """The plan it carries: an upgrade that is not paid has not been (S16)."""
        if self.status in ("incomplete", "unpaid", "paused"):
            return "free"
        return "plus" if any(bill.upgrades for bill in self.bills) else self.plan

    def is_held(self, now: datetime) -> bool:
        """Whether nobody is to pay anything."""
        return self.billed_again is not None and self.billed_again > now


class Membership:
    """An account's plan and monthly credits, of which none are spent once there are any.

    What cannot be collected in the end `ends_as` unpaid, or is cancelled.
    """

    def __init__(self, began: datetime, ends_as: str) -> None:
        self.now = self._began = began
        self.ends_as = ends_as
        self.card_is_good = self.has_card = True
        self.running: Running | None = None
        self._month: Month | None = None
        self._ever = False

    @property
    def plan(self) -> str:
        return "free" if self.running is None else self.running.carries

    @property
    def monthly(self) -> int:
        if self._month is not None:
            return self._month.credits
        if self.plan != "free":
            return 0
        # What FREE had at the beginning is spent.
        return FREE if self._ever or self.now >= months_after(self._began, 1) else 0

    @property
    def resets_at(self) -> datetime | None:
        """When the credits that were paid for lapse."""
        return None if self._month is None else self._month.end

    def pass_to(self, now: datetime) -> None:
        while (due := self._due()) is not None and due <= now:
            self._roll(due)
            self.now = due
            self._happen(due)
        self.now = now
        self._roll(now)

    def subscribe(self, plan: str, months: int) -> None:
        self.running = Running(plan, months, self.now, months_after(self.now, months))
        if self.card_is_good:
            self._open(self.running)
        else:
            self.running.status = "incomplete"
            self._owe(self.running, (self.now + WAITS,))

    def try_out(self, plan: str, months: int, days: int, without: str = "") -> None:
        """A trial, with its own allowance until it ends. Where `without` says what then, there is no card."""
        ends = self.now + timedelta(days=days)
        self.running = Running(plan, months, ends, ends, "trialing", paid_until=ends, without=without)
        if without:
            self.card_is_good = self.has_card = False
        self._ever = True
        self._month = Month(CREDITS[plan], self.now, ends, self.now)

    def upgrade(self, running: Running, how: str) -> None:
        """To PRO: if it is paid, when it is paid, or at once, whether it is paid or not."""
        if not self.card_is_good and how == "if it is paid":
            return
        bill = Bill("pro", self.now, running.ends, (), upgrades=True)
        if self.card_is_good or running.is_held(self.now):
            running.plan = "pro"
            self._raise(bill)
        elif how == "when it is paid":
            running.bills.append(bill)
            bill.waits, bill.tries = True, (self.now + WAITS,)
        else:
            running.plan, running.status = "pro", "past_due"
            running.bills.append(bill)
            bill.tries = tuple(self.now + wait for wait in TRIES)

    def to_the_year(self, running: Running) -> None:
        running.months = 12
        running.ends = running.paid_until = self._next(running, self.now)
        if self._month is None:
            self._open(running)

    def cancel(self) -> None:
        self.running = None

    def pause(self, running: Running) -> None:
        """Until it is resumed, there is no plan."""
        running.status, running.billed_again = "paused", None

    def resume(self, running: Running, *, stays: bool = False) -> None:
        """A new period is paid, or the rest of the one that runs, where its billing date `stays`.

        Where a month runs still, it goes on to its end, and only the rest follows it (S17).
        """
        running.status = "active"
        if not stays:
            running.anchor = self.now
            running.ends = running.paid_until = months_after(self.now, running.months)
        if self._month is None and not stays:
            self._open(running)
        elif self._month is not None and self._month.rests:
            self._go_on(running, self._month)

    def pay(self, running: Running) -> None:
        """What is open is paid, the oldest first."""
        for bill in tuple(running.bills):
            self._paid(running, bill)

    def _due(self) -> datetime | None:
        running = self.running
        if running is None:
            return None
        times = [bill.tries[0] for bill in running.bills if bill.tries]
        if running.status not in ("incomplete", "paused"):
            times.append(running.ends)
        return min(times, default=None)

    def _happen(self, at: datetime) -> None:
        running = self.running
        assert running is not None
        bill = next((bill for bill in running.bills if bill.tries[:1] == (at,)), None)
        if bill is not None:
            self._try_again(running, bill)
        elif running.cancels:
            self.running = None
        else:
            self._renew(running, at)

    def _try_again(self, running: Running, bill: Bill) -> None:
        bill.tries = bill.tries[1:]
        if bill.waits:
            running.bills.remove(bill)
        elif running.status == "incomplete":
            self.running = None
        elif self.card_is_good:
            self._paid(running, bill)
        elif not bill.tries:
            if self.ends_as == "unpaid":
                running.status = "unpaid"
            else:
                self.running = None

    def _renew(self, running: Running, at: datetime) -> None:
        if running.status == "trialing":
            if not self.has_card:
                self._end_without_card(running)
                return
            running.status = "active"
        running.plan, running.becomes = running.becomes or running.plan, ""
        running.ends = self._next(running, at)
        if running.status == "unpaid" or running.is_held(at):
            return
        if self.card_is_good:
            self._open(running)
        else:
            running.status = "past_due"
            self._owe(running, tuple(at + wait for wait in TRIES))

    def _end_without_card(self, running: Running) -> None:
        if running.without == "pause":
            self.pause(running)
        else:
            self.running = None

    def _owe(self, running: Running, tries: tuple[datetime, ...]) -> None:
        running.bills.append(Bill(running.plan, self.now, running.ends, tries))

    def _paid(self, running: Running, bill: Bill) -> None:
        running.bills.remove(bill)
        if not running.bills:
            running.status = "active"
        if bill.upgrades:
            running.plan = "pro"
            if self._month is not None and self._month.rests:
                self._go_on(running, self._month)
            else:
                self._raise(bill)
        elif bill.ends > self.now:
            self._open(running)

    def _raise(self, bill: Bill) -> None:
        """The share of an upgrade, counted from when it was billed, of the month that runs of what it was billed for (S17)."""
        month = self._month
        if month is not None and month.end <= bill.ends:
            share = (CREDITS["pro"] - CREDITS["plus"]) * (month.end - max(bill.made, month.start))
            self._month = replace(month, credits=month.credits + share // (month.end - month.start))

    def _go_on(self, running: Running, month: Month) -> None:
        """The plan's share of the month that runs, of which there was FREE's only (S17)."""
        plan, left = CREDITS[running.carries], month.end - self.now
        whole = month.end - month.start
        share = max(plan * left // whole, FREE) if self.now == month.began else FREE + (plan - FREE) * left // whole
        self._month = replace(month, credits=share, rests=False)

    def _open(self, running: Running) -> None:
        self._ever = True
        running.paid_until = running.ends
        self._month = self._month_at(running, self.now)

    def _roll(self, now: datetime) -> None:
        """The next month of what was paid for, FREE's while that rests, or none."""
        while self._month is not None and now >= self._month.end:
            running, end = self.running, self._month.end
            paid = None if running is None else running.paid_until
            goes_on = paid is not None and end < paid
            self._month = self._rest_of_month(running, end) if running is not None and goes_on else None

    def _month_at(self, running: Running, now: datetime) -> Month:
        n = next(n for n in range(1, 100) if months_after(running.anchor, n) > now)
        start, end = months_after(running.anchor, n - 1), months_after(running.anchor, n)
        return Month(CREDITS[running.carries], start, end, start, rests=running.carries == "free")

    def _rest_of_month(self, running: Running, since: datetime) -> Month:
        """The month that `since` is in; one that began before that has only the share that is left, FREE's all."""
        month = self._month_at(running, since)
        share = month.credits * (month.end - since) // (month.end - month.start)
        return replace(month, credits=month.credits if month.rests else share, began=since)

    def _next(self, running: Running, now: datetime) -> datetime:
        """The end of the period that is billed for at `now`."""
        ends = (months_after(running.anchor, n * running.months) for n in range(1, 100))
        return next(end for end in ends if end > now)
