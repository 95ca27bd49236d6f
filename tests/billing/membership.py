"""What a subscription should come to, written down in the plainest way: the model that random lives are held against.

It follows one account through time, and knows neither Stripe nor the ledger: only S14 to S17, and that Stripe tries
to collect an invoice again three, eight and fifteen days after the first time, and gives up an update that waits for
its payment after 23 hours.
"""

from calendar import monthrange
from dataclasses import dataclass, field
from datetime import datetime, timedelta

CREDITS = {"plus": 500, "pro": 2_000}
FREE = 25
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


@dataclass
class Running:
    """A subscription that has not ended. `becomes` is the plan that waits for the period's end.

    Nothing is billed before `billed_again`. What was paid for ends at `paid_until`.
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
    bills: list[Bill] = field(default_factory=list)

    @property
    def carries(self) -> str:
        """The plan it carries: an upgrade that is not paid has not been (S16)."""
        if self.status in ("incomplete", "unpaid", "paused"):
            return "free"
        return "plus" if any(bill.upgrades for bill in self.bills) else self.plan


class Membership:
    """An account's plan and monthly credits, of which none are spent once there are any.

    What cannot be collected in the end `ends_as` unpaid, or is cancelled.
    """

    def __init__(self, began: datetime, ends_as: str) -> None:
        self.now = self._began = began
        self.ends_as = ends_as
        self.card_is_good = True
        self.running: Running | None = None
        self._month: tuple[int, datetime, datetime] | None = None
        self._ever = False

    @property
    def plan(self) -> str:
        return "free" if self.running is None else self.running.carries

    @property
    def monthly(self) -> int:
        if self._month is not None:
            return self._month[0]
        if self.plan != "free":
            return 0
        # What FREE had at the beginning is spent.
        return FREE if self._ever or self.now >= months_after(self._began, 1) else 0

    @property
    def resets_at(self) -> datetime | None:
        """When the credits that were paid for lapse."""
        return None if self._month is None else self._month[2]

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

    def try_out(self, plan: str, months: int, days: int) -> None:
        """A trial, with its own allowance until it ends."""
        ends = self.now + timedelta(days=days)
        self.running = Running(plan, months, ends, ends, "trialing", paid_until=ends)
        self._ever = True
        self._month = (CREDITS[plan], self.now, ends)

    def upgrade(self, running: Running, how: str) -> None:
        """To PRO: if it is paid, when it is paid, or at once, whether it is paid or not."""
        if not self.card_is_good and how == "if it is paid":
            return
        bill = Bill("pro", self.now, running.ends, (), upgrades=True)
        if self.card_is_good:
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

    def cancel(self) -> None:
        self.running = None

    def pause(self, running: Running) -> None:
        """Until it is resumed, there is no plan."""
        running.status, running.billed_again = "paused", None

    def resume(self, running: Running) -> None:
        """A new month is paid. Where one runs still, it goes on to its end, and only the rest follows it (S17)."""
        running.status, running.anchor = "active", self.now
        running.ends = running.paid_until = months_after(self.now, running.months)
        if self._month is None:
            self._open(running)

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
            running.status = "active"
        running.plan, running.becomes = running.becomes or running.plan, ""
        running.ends = self._next(running, at)
        is_billed = running.billed_again is None or running.billed_again <= at
        if running.status == "unpaid" or not is_billed:
            return
        if self.card_is_good:
            self._open(running)
        else:
            running.status = "past_due"
            self._owe(running, tuple(at + wait for wait in TRIES))

    def _owe(self, running: Running, tries: tuple[datetime, ...]) -> None:
        running.bills.append(Bill(running.plan, self.now, running.ends, tries))

    def _paid(self, running: Running, bill: Bill) -> None:
        running.bills.remove(bill)
        if not running.bills:
            running.status = "active"
        if bill.upgrades:
            running.plan = "pro"
            self._raise(bill)
        elif bill.ends > self.now:
            self._open(running)

    def _raise(self, bill: Bill) -> None:
        """The share of an upgrade, counted from when it was billed, of the month that runs of what it was billed for (S17)."""
        if self._month is not None and self._month[2] <= bill.ends:
            credits, start, end = self._month
            share = (CREDITS["pro"] - CREDITS["plus"]) * (end - max(bill.made, start)) // (end - start)
            self._month = (credits + share, start, end)

    def _open(self, running: Running) -> None:
        self._ever = True
        running.paid_until = running.ends
        self._month = self._month_at(running, self.now)

    def _roll(self, now: datetime) -> None:
        """The next month of a paid year, FREE's, or none."""
        while self._month is not None and now >= self._month[2]:
            running, end = self.running, self._month[2]
            paid = running.paid_until if running is not None and running.carries != "free" else None
            goes_on = paid is not None and end < paid
            self._month = self._rest_of_month(running, end) if running is not None and goes_on else None

    def _month_at(self, running: Running, now: datetime) -> tuple[int, datetime, datetime]:
        n = next(n for n in range(1, 100) if months_after(running.anchor, n) > now)
        return CREDITS[running.carries], months_after(running.anchor, n - 1), months_after(running.anchor, n)

    def _rest_of_month(self, running: Running, since: datetime) -> tuple[int, datetime, datetime]:
        """The month that `since` is in; one that began before that has only the share that is left."""
        credits, start, end = self._month_at(running, since)
        return credits * (end - since) // (end - start), start, end

    def _next(self, running: Running, now: datetime) -> datetime:
        """The end of the period that is billed for at `now`."""
        ends = (months_after(running.anchor, n * running.months) for n in range(1, 100))
        return next(end for end in ends if end > now)
