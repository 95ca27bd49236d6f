"""Instants and allowance periods (S2, S3). Reads no clock: every instant is given."""

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tallystick.domain.errors import InvalidInstant, shown

_LONGEST_MONTH = timedelta(days=31)


def require_instant(value: object, name: str) -> datetime:
    """Return `value` in UTC, or raise InvalidInstant when it is no datetime or has no timezone (S2)."""
    if not isinstance(value, datetime):
        raise InvalidInstant(f"{name} must be a datetime, not {shown(value)}. Nothing was changed.", name=name)
    if value.tzinfo is None:
        raise InvalidInstant(
            f"{name} needs a timezone: give an aware datetime, best in UTC. Nothing was changed.", name=name
        )
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise InvalidInstant(
            f"{name} lies outside the years 1 to 9999 in UTC: {value}. Nothing was changed.", name=name
        ) from None


@dataclass(frozen=True, slots=True)
class Period:
    """The half-open interval `[start, end)`, in UTC, in which one allowance is usable."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", require_instant(self.start, "start"))
        object.__setattr__(self, "end", require_instant(self.end, "end"))
        if self.end <= self.start:
            raise InvalidInstant(f"A period must end after it starts: {self.start} to {self.end}.")

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end


def add_months(anchor: datetime, months: int) -> datetime:
    """The same day and time `months` later, clamped to that month's last day (S3)."""
    year, month = divmod(anchor.year * 12 + anchor.month - 1 + months, 12)
    return anchor.replace(year=year, month=month + 1, day=min(anchor.day, monthrange(year, month + 1)[1]))


def period_of(anchor: datetime, n: int) -> Period:
    """Period `n` of an anchor, computed from the anchor and never chained (S3)."""
    return Period(add_months(anchor, n), add_months(anchor, n + 1))


def period_containing(anchor: datetime, instant: datetime) -> Period:
    """The anchor's period in which `instant` lies. An instant before the anchor is an error."""
    if instant < anchor:
        raise InvalidInstant(f"{instant} lies before the anchor {anchor}.")
    n = max(0, (instant - anchor) // _LONGEST_MONTH)
    while instant >= add_months(anchor, n + 1):
        n += 1
    return period_of(anchor, n)


def share(credits: int, period: Period, since: datetime) -> int:
    """What a period's credits come to for the time from `since` to its end, rounded down (S17)."""
    return credits * (period.end - since) // (period.end - period.start)
