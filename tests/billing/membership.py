"""What a subscription should come to, written down in the plainest way: the model that random lives are held against.

It follows one account through time, and knows neither Stripe nor the ledger: only S14 to S17, and that Stripe tries
to collect an invoice again three, eight and fifteen days after the first time.
"""

from calendar import monthrange
from dataclasses import dataclass
from datetime import datetime, timedelta

CREDITS = {"plus": 500, "pro": 2_000}
FREE = 25
FIRST_PAYMENT = timedelta(hours=23)
TRIES = tuple(timedelta(days=days) for days in (3, 8, 15))


def months_after(anchor: datetime, n: int) -> datetime:
    year, month = divmod(anchor.year * 12 + anchor.month - 1 + n, 12)
    return anchor.replace(year=year, month=month + 1, day=min(anchor.day, monthrange(year, month + 1)[1]))


@dataclass
class Running:
    """A subscription that has not ended. `becomes` is the plan that waits for the period's end."""

    plan: str
    months: int
    anchor: datetime
    ends: datetime
    status: str = "active"
    cancels: bool = False
    becomes: str = ""
    tries: tuple[datetime, ...] = ()


class Membership:
    """An account's plan and monthly credits, of which none are spent once there are any."""

    def __init__(self, began: datetime) -> None:
        self.now = self._began = began
        self.card_is_good = True
        self.running: Running | None = None
        self._month: tuple[int, datetime, datetime] | None = None
        self._ever = False

    @property
    def plan(self) -> str:
        live = self.running is not None and self.running.status != "incomplete"
        return self.running.plan if live and self.running else "free"

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
        new = Running(plan, months, self.now, months_after(self.now, months))
        self.running = new
        if self.card_is_good:
            self._open()
        else:
            new.status, new.tries = "incomplete", (self.now + FIRST_PAYMENT,)

    def upgrade(self, running: Running) -> None:
        assert self._month is not None
        credits, start, end = self._month
        running.plan = "pro"
        self._month = (credits + (CREDITS["pro"] - CREDITS["plus"]) * (end - self.now) // (end - start), start, end)

    def to_the_year(self, running: Running) -> None:
        running.months = 12
        running.ends = self._next(running, self.now)

    def cancel(self) -> None:
        self.running = None

    def pay(self, running: Running) -> None:
        """What is open is paid."""
        running.status, running.tries = "active", ()
        self._open()

    def _due(self) -> datetime | None:
        if self.running is None:
            return None
        return self.running.tries[0] if self.running.tries else self.running.ends

    def _happen(self, at: datetime) -> None:
        running = self.running
        assert running is not None
        if running.status == "incomplete" or (running.status == "active" and running.cancels):
            self.running = None
        elif running.status == "active":
            running.plan, running.becomes = running.becomes or running.plan, ""
            running.ends = self._next(running, at)
            if self.card_is_good:
                self._open()
            else:
                running.status, running.tries = "past_due", tuple(at + wait for wait in TRIES)
        elif self.card_is_good:
            self.pay(running)
        else:
            running.tries = running.tries[1:]
            if not running.tries:
                self.running = None

    def _open(self) -> None:
        assert self.running is not None
        self._ever = True
        self._month = self._month_at(self.running, self.now)

    def _roll(self, now: datetime) -> None:
        """The next month of a paid year, FREE's, or none."""
        while self._month is not None and now >= self._month[2]:
            running, end = self.running, self._month[2]
            goes_on = running is not None and running.status == "active" and end < running.ends
            self._month = self._month_at(running, end) if running is not None and goes_on else None

    def _month_at(self, running: Running, now: datetime) -> tuple[int, datetime, datetime]:
        n = next(n for n in range(1, 100) if months_after(running.anchor, n) > now)
        return CREDITS[running.plan], months_after(running.anchor, n - 1), months_after(running.anchor, n)

    def _next(self, running: Running, now: datetime) -> datetime:
        """The end of the period that is billed for at `now`."""
        ends = (months_after(running.anchor, n * running.months) for n in range(1, 100))
        return next(end for end in ends if end > now)
